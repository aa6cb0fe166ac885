"""Every trainer on every family that it names, tiny: two epochs, broken off, resumed to the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig, FlowGRPOTrainer
from fergi_reward.trainers.nft import NFTConfig, NFTTrainer
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer
from fergi_reward.trainers.rollout import step_order

PROMPTS = ["a red cat", "a blue house"]
UNETS = {"sd15": tiny.stable_diffusion, "sdxl": tiny.stable_diffusion_xl}
FLOWS = {"sd3": tiny.stable_diffusion_3, "flux": tiny.flux}
COMMON: dict[str, Any] = {
    "num_epochs": 2,
    "save_freq": 1,
    "sample_num_steps": 4,
    "sample_guidance_scale": 2.0,
    "train_batch_size": 2,
    "train_learning_rate": 1e-3,
    "grid_num_images": 2,
    "judge_num_images": 2,
    "judge_freq": 1,
    "log_with": "none",
    "ema_decay": 0.5,
}
SAMPLED = {"sample_batch_size": 2, "sample_num_batches_per_epoch": 2, "train_kl_beta": 0.1}
CASES = [
    *(("ddpo", family) for family in UNETS),
    *((method, family) for method in ("grpo", "nft") for family in FLOWS),
    *(("backprop", family) for family in {**UNETS, **FLOWS}),
    *(("dpo", family) for family in [*UNETS, "sd3"]),  # FLUX's noise depends on the resolution
]


@pytest.fixture(autouse=True)
def _same_kernels() -> Iterator[None]:
    """Among several GPU kernels for one operation, use those whose sums do not depend on the order of the threads.

    Of the fused kernels for attention the backward passes do, where PyTorch is only to warn.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    with sdpa_kernel(SDPBackend.MATH):
        yield
    torch.use_deterministic_algorithms(False)


def redness(pixels: torch.Tensor, prompts: object) -> torch.Tensor:
    return pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))


def greenness(pixels: torch.Tensor, prompts: object) -> torch.Tensor:
    return pixels[:, 1].mean((1, 2))


def trainer(method: str, family: str, folder: Path, **options: Any) -> Any:
    pipeline = {**UNETS, **FLOWS}[family](seed=0)
    settings = {**COMMON, "output_dir": str(folder), **options}
    judges = {"green": greenness}
    if method == "ddpo":
        return DDPOTrainer(DDPOConfig(**settings, **SAMPLED), redness, pipeline, PROMPTS, judges)
    flow = {**settings, **SAMPLED, "sample_group_size": 2, "picture_num_steps": 3, "sample_eta": 0.5}
    if method == "grpo":
        return FlowGRPOTrainer(FlowGRPOConfig(**flow), redness, pipeline, PROMPTS, judges)
    if method == "nft":
        return NFTTrainer(NFTConfig(**{**flow, "train_kl_beta": 0.0}), redness, pipeline, PROMPTS, judges)
    if method == "backprop":
        config = RewardBackpropConfig(**settings, backprop_steps_max=2)
        return RewardBackpropTrainer(config, redness, pipeline, PROMPTS, judges)
    config = DiffusionDPOConfig(**settings, train_updates_per_epoch=2, held_out_freq=1)
    return DiffusionDPOTrainer(config, pairs(), pipeline, PROMPTS, judges, pairs())


def pairs() -> PairTable:
    draw = np.random.default_rng(0)
    drawn = [Image.fromarray(draw.integers(0, 256, (70, 90, 3), dtype=np.uint8)) for _ in range(12)]
    rows = [
        {"caption": PROMPTS[row % 2], "jpg_0": drawn[2 * row], "jpg_1": drawn[2 * row + 1], "label_0": row % 2}
        for row in range(6)
    ]
    return PairTable(rows, "pairs")


@pytest.mark.parametrize(("method", "family"), CASES)
def test_broken_off_and_resumed_it_gives_the_same_bits(method, family, tmp_path, measured) -> None:
    precision = "fp16" if CASES.index((method, family)) % 2 else "bf16"
    whole = trainer(method, family, tmp_path / "whole", mixed_precision=precision)
    frozen = frozen_values(whole)
    whole.train()
    assert {value.device.type for value in frozen_values(whole)} == {"cuda"}
    assert all(torch.equal(now, before.to(now)) for now, before in zip(frozen_values(whole), frozen, strict=True))

    broken = trainer(method, family, tmp_path / "broken", mixed_precision=precision)
    epoch = broken.epoch
    broken.epoch = lambda number: epoch(number) if number == 0 else 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        broken.train()
    resumed = trainer(
        method, family, tmp_path / "broken", mixed_precision=precision, resume_from=str(tmp_path / "broken")
    )
    resumed.train()
    different = [
        (one - other).abs().max().item()
        for one, other in zip(whole.model.parameters, resumed.model.parameters, strict=True)
        if not torch.equal(one, other)
    ]
    measured(f"weights that differ after resuming, {precision}", len(different), 0)
    assert different == []
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    figures = [figure for line in lines for figure in line.items()]
    # What is not finite is null. In fp16 the first gradients may be too large: that update is left out, and the next
    # ones are scaled by half.
    assert [name for name, value in figures if value is None and (name, precision) != ("grad_norm", "fp16")] == []


def frozen_values(of: Any) -> list[torch.Tensor]:
    trained = {id(parameter) for parameter in of.model.parameters}
    parts = [of.model.family.network, *of.model.family.other_models]
    return [value.detach().clone() for part in parts for value in part.parameters() if id(value) not in trained]


@pytest.mark.parametrize(("method", "family"), CASES[:4])
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_the_importance_ratio_is_1_before_the_first_update(method, family, precision, tmp_path, measured) -> None:
    """Sampling and training see each image in batches of one size: the same kernels, the same bits."""
    built = trainer(method, family, tmp_path, mixed_precision=precision)
    experience, _ = built.collect(0)
    trained_steps = built.random_steps if method == "ddpo" else built.random_steps(0)
    steps, rows = step_order(built.config, trained_steps, 0, 0, experience.indices), torch.arange(2)
    with torch.no_grad():
        figures = [built.loss(experience, rows, steps[rows, column])[1] for column in range(steps.shape[1])]
    worst = max(abs(figure["approx_kl"].item()) for figure in figures)
    measured(f"approximate KL before the first update, {precision}", worst, 0)
    assert worst == 0


def test_a_program_that_is_killed_resumes(tmp_path: Path) -> None:
    """As a user has it: SIGKILL after the first checkpoint, and the same command again."""
    root, folder = Path(__file__).parents[2], tmp_path / "run"
    command = [sys.executable, str(root / "training" / "ddpo.py"), "--model", "tiny", "--num_epochs", "30"]
    command += ["--save_freq", "1", "--sample_num_steps", "3", "--grid_num_images", "0", "--log_with", "none"]
    command += ["--output_dir", str(folder)]
    place = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    running = subprocess.Popen(command, cwd=root, env=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list(folder.glob("checkpoints/epoch_*")) and running.poll() is None:
        time.sleep(0.05)
    assert running.poll() is None, running.communicate()[1][-2000:]
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    more = [*command, "--resume_from", str(folder)]
    ended = subprocess.run(more, cwd=root, env=place, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 30
