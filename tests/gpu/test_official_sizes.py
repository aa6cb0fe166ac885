"""Updates of published models with random weights: finite, only the adapter moves, memory as the dry run says."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.published import on_meta
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig, FlowGRPOTrainer
from fergi_reward.trainers.nft import NFTConfig, NFTTrainer
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer

SD15, SDXL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
SD35, FLUX = "stabilityai/stable-diffusion-3.5-medium", "black-forest-labs/FLUX.1-dev"
FLUX2, KLEIN = "black-forest-labs/FLUX.2-dev", "black-forest-labs/FLUX.2-klein-base-4B"
SANA, QWEN = "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers", "Qwen/Qwen-Image"
Z_IMAGE = "Tongyi-MAI/Z-Image"
CHECKPOINTED = (KLEIN, QWEN, Z_IMAGE, FLUX2)  # their activations would fill the card
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
PROMPTS = ["a red cat on a table", "a lake at night"]
Measured = Callable[..., None]


@dataclass(frozen=True)
class Case:
    """A model, a method, a precision, the side of its pictures in pixels, and what its frozen weights are kept in."""

    model: str
    method: str
    precision: str
    side: int
    frozen: str = "float"

    def __str__(self) -> str:
        in_4_bits = f"-{self.frozen}" if self.frozen != "float" else ""
        return f"{self.model.rpartition('/')[2]}-{self.method}-{self.precision}-{self.side}{in_4_bits}"


CASES = [
    Case(SD15, "ddpo", "bf16", 512),
    Case(SD15, "ddpo", "fp16", 512),
    Case(SD15, "backprop", "bf16", 512),
    Case(SD15, "dpo", "fp16", 512),
    Case(SDXL, "ddpo", "bf16", 1024),
    Case(SDXL, "ddpo", "fp16", 1024),
    Case(SD35, "grpo", "bf16", 512),
    Case(SD35, "grpo", "fp16", 1024),
    Case(SD35, "nft", "bf16", 1024),
    Case(FLUX, "grpo", "bf16", 512),
    Case(FLUX, "nft", "bf16", 512),
    Case(SDXL, "backprop", "bf16", 1024),
    Case(SDXL, "dpo", "fp16", 1024),
    Case(SD35, "backprop", "bf16", 512),
    Case(SD35, "dpo", "bf16", 1024),
    Case(SANA, "grpo", "bf16", 1024),
    Case(Z_IMAGE, "grpo", "bf16", 1024),
    Case(KLEIN, "grpo", "bf16", 1024),
    Case(QWEN, "grpo", "bf16", 512),
    Case(FLUX2, "grpo", "bf16", 512),
    Case(SD35, "grpo", "bf16", 512, "nf4"),
    Case(FLUX, "grpo", "bf16", 512, "nf4"),
    Case(QWEN, "grpo", "bf16", 512, "nf4"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_updates(case: Case, tmp_path: Path, measured: Measured) -> None:
    from official_models import official_pipeline

    if case.frozen == "nf4":
        pytest.importorskip("bitsandbytes", reason="the extra quantise brings it")
    expected = dry_run(config_of(case, tmp_path / "dry"), on_meta(case.model), {})
    # Weights are drawn before they are quantised.
    free, needed = torch.cuda.mem_get_info()[0], max(1.15 * expected.peak, 2.1 * expected.parameters)
    if free < needed:
        pytest.skip(f"{free / 1e9:.0f} GB are free on the card, {needed / 1e9:.0f} are needed")
    pipeline = official_pipeline(case.model, "cuda", DTYPES[case.precision])
    built = trainer_of(case, tmp_path / "run", pipeline)
    frozen, before = sums(built), [value.detach().clone() for value in built.model.parameters]
    torch.cuda.reset_peak_memory_stats()
    built.train()
    peak = torch.cuda.max_memory_allocated()
    measured(f"{case}: peak GB", peak / 1e9, expected.peak / 1e9)
    epochs = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured(f"{case}: updates", sum(figures["grad_norm"] is not None for figures in epochs), len(epochs))
    assert None not in epochs[-1].values(), epochs[-1]  # what is not finite
    assert any(not torch.equal(one, other) for one, other in zip(before, built.model.parameters, strict=True))
    assert all(value.isfinite().all() for value in built.model.parameters)
    assert sums(built) == frozen
    divergence = max(abs(epoch.get("approx_kl", 0)) for epoch in epochs)  # an epoch has one update
    measured(f"{case}: approximate KL before an update", divergence, 0)
    assert divergence == 0
    assert abs(peak / expected.peak - 1) <= 0.15, f"{peak / 1e9:.1f} GB, the dry run says {expected.peak / 1e9:.1f}"


def config_of(case: Case, folder: Path) -> TrainerConfig:
    """With more epochs in fp16: updates with too large gradients are left out, and the next ones scaled by half."""
    epochs = 6 if case.precision == "fp16" else 1
    common: dict[str, Any] = {"output_dir": str(folder), "num_epochs": epochs, "mixed_precision": case.precision}
    common |= {"sample_num_steps": 4, "train_batch_size": 2, "grid_num_images": 0, "log_with": "none", "seed": 1}
    common |= {"resolution": case.side, "frozen_weights": case.frozen}
    common["gradient_checkpointing"] = case.method == "backprop" or case.model in CHECKPOINTED
    sampled = {"sample_batch_size": 2, "sample_num_batches_per_epoch": 1}
    if case.method == "ddpo":
        return DDPOConfig(**common, **sampled)
    if case.method in ("grpo", "nft"):
        flow = {**common, **sampled, "sample_group_size": 2, "picture_num_steps": 4, "sample_eta": 0.7}
        return FlowGRPOConfig(**flow) if case.method == "grpo" else NFTConfig(**flow)
    if case.method == "backprop":
        return RewardBackpropConfig(**common)
    return DiffusionDPOConfig(**common, train_updates_per_epoch=1)


def trainer_of(case: Case, folder: Path, pipeline: Pipeline) -> Any:
    config = config_of(case, folder)
    if isinstance(config, DDPOConfig):
        return DDPOTrainer(config, redness, pipeline, PROMPTS)
    if isinstance(config, FlowGRPOConfig):
        return FlowGRPOTrainer(config, redness, pipeline, PROMPTS)
    if isinstance(config, NFTConfig):
        return NFTTrainer(config, redness, pipeline, PROMPTS)
    if isinstance(config, RewardBackpropConfig):
        return RewardBackpropTrainer(config, redness, pipeline, PROMPTS)
    assert isinstance(config, DiffusionDPOConfig)
    return DiffusionDPOTrainer(config, pairs(case.side), pipeline, PROMPTS, {})


def redness(pixels: torch.Tensor, prompts: object) -> torch.Tensor:
    return pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))


def pairs(side: int) -> PairTable:
    draw = np.random.default_rng(0)
    drawn = [Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(4)]
    rows = [
        {"caption": PROMPTS[row], "jpg_0": drawn[2 * row], "jpg_1": drawn[2 * row + 1], "label_0": row}
        for row in range(2)
    ]
    return PairTable(rows, "pairs")


def sums(of: Any) -> list[int]:
    """What tells whether a frozen weight has changed: the sum of each one's bits."""
    trained = {id(parameter) for parameter in of.model.parameters}
    parts = [of.model.family.network, *of.model.family.other_models]
    values = [value for part in parts for value in part.parameters() if id(value) not in trained]
    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32}
    return torch.stack([value.view(kinds[value.element_size()]).sum(dtype=torch.int64) for value in values]).tolist()
