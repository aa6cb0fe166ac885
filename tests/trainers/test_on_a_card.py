"""Every trainer on a pretended GPU: devices and dtypes stay apart, and no denoising step makes the program wait."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from accelerate import PartialState
from PIL import Image

from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig, FlowGRPOTrainer
from fergi_reward.trainers.nft import NFTConfig, NFTTrainer
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer
from tests.pretended_gpu import CARD

PROMPTS = ["a red cat", "a blue house"]
SMALL = {
    "num_epochs": 1,
    "sample_num_steps": 3,
    "sample_guidance_scale": 2.0,
    "train_batch_size": 2,
    "grid_num_images": 0,
    "judge_num_images": 2,
    "judge_freq": 1,
    "save_freq": 1,
    "log_with": "none",
}
SAMPLING = {"sample_batch_size": 2, "sample_num_batches_per_epoch": 1, "train_kl_beta": 0.1}
GROUPS = {**SAMPLING, "sample_group_size": 2, "picture_num_steps": 2, "sample_eta": 0.3}
NFT = {**GROUPS, "sample_eta": 0.0, "nft_old_decay": 0.5}
TRAINERS = {
    "ddpo": (DDPOConfig, DDPOTrainer, SAMPLING),
    "flow_grpo": (FlowGRPOConfig, FlowGRPOTrainer, GROUPS),
    "nft": (NFTConfig, NFTTrainer, NFT),
    "reward_backprop": (RewardBackpropConfig, RewardBackpropTrainer, {"backprop_steps_max": 2}),
    "diffusion_dpo": (DiffusionDPOConfig, DiffusionDPOTrainer, {"train_updates_per_epoch": 1, "held_out_freq": 1}),
}
AGAIN = {"checkpoint_steps": True, "backprop_steps_each_batch": True, "train_warmup_steps": 1}
PUBLISHED = {"train_optimizer": "adafactor", "train_warmup_steps": 1, "caption_dropout": 0.5, "random_flip": "picture"}
RUNS = [
    ("ddpo", tiny.stable_diffusion_xl, "fp16", {"async_reward_computation": True, "sample_num_steps": 2}),
    ("flow_grpo", tiny.flux, "fp16", {"ema_decay": 0.5, "train_batch_size": 1}),
    ("nft", tiny.stable_diffusion_3, "bf16", {"grid_num_images": 1}),
    ("reward_backprop", tiny.stable_diffusion, "bf16", {"full_finetuning": True, "sample_num_steps": 2, **AGAIN}),
    ("diffusion_dpo", tiny.stable_diffusion_xl, "bf16", {"offload_encoders": True, "sample_num_steps": 1, **PUBLISHED}),
    ("diffusion_dpo", tiny.stable_diffusion_3, "fp16", {"train_gradient_accumulation_steps": 2, "sample_num_steps": 1}),
]
# What these keep besides their weights and the optimiser's moments is of the card, too, or is loaded in its own way.
RESUMED = ("nft", "reward_backprop", "diffusion_dpo")


@pytest.fixture
def training_card(card):
    """The pretended GPU, on which accelerate trains."""
    state = PartialState(cpu=True)
    state.device, state._cpu = CARD, False
    return card


def pairs():
    draws = np.random.default_rng(0)
    pictures = [Image.fromarray(draws.integers(0, 255, (64, 80, 3), np.uint8)) for _ in range(4)]
    sides = zip(pictures[::2], pictures[1::2], PROMPTS, strict=True)
    rows = [{"caption": caption, "jpg_0": left, "jpg_1": right, "label_0": 1} for left, right, caption in sides]
    return PairTable(rows, "noise")


def trainer_of(name, pipeline, folder, scorers_on=CARD, **options):
    config_class, trainer_class, own = TRAINERS[name]
    config = config_class(**{**SMALL, **own, **options, "output_dir": str(folder)})
    judges = {"clip": tiny.clip().to(scorers_on)}
    if name == "diffusion_dpo":
        return trainer_class(config, pairs(), pipeline, PROMPTS, judges, pairs())
    return trainer_class(config, tiny.pickscore().to(scorers_on), pipeline, PROMPTS, judges)


def waits_by_step(trainer, card):
    """A list that fills with what the program waits for between two calls of the network in an epoch.

    Diffusion-DPO encodes the captions of each batch: that tokens go to the card is a wait of diffusers' own.
    """
    steps, marks, epoch = [], [], trainer.epoch
    trainer.model.family.network.register_forward_pre_hook(lambda *_: marks.append(len(card.waits)))

    def watched(number):
        marks.clear()
        metrics = epoch(number)
        steps.extend(
            [wait for wait in card.waits[start:end] if "/pipelines.py" not in wait.place]
            for start, end in pairwise(marks)
        )
        return metrics

    trainer.epoch = watched
    return steps


@pytest.mark.parametrize(("name", "kind", "precision", "options"), RUNS)
def test_a_run_and_for_some_what_resumes_it(training_card, tmp_path, name, kind, precision, options):
    options = {**options, "mixed_precision": precision}
    trainer = trainer_of(name, kind(), tmp_path, **options)
    steps = waits_by_step(trainer, training_card)
    trainer.train()
    pipeline = trainer.model.pipeline
    homes = {
        part: next(part.parameters()).device.type
        for part in (family_of(pipeline).network, *family_of(pipeline).other_models)
    }
    parked = family_of(pipeline).text_encoders if options.get("offload_encoders") else []
    assert {part for part, home in homes.items() if home == "cpu"} == set(parked)
    # The program waits once where pictures are rewarded or held-out pairs begin; in fp16 for the scaler at an update.
    *others, _ = sorted(map(len, steps))
    assert all(waits <= (precision == "fp16") for waits in others)
    if name in RESUMED:
        trainer_of(name, kind(), tmp_path, **options, num_epochs=2, resume_from=str(tmp_path)).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == ([0, 1, 2] if name in RESUMED else [0, 1])
    # In fp16 the first gradients may overflow: the scaler then skips the update, and takes a smaller scale.
    skipped = {"grad_norm"} if precision == "fp16" else set()
    told = [value for line in lines for name, value in line.items() if name not in skipped]
    assert all(value is not None and np.isfinite(value) for value in told)
    if "approx_kl" in lines[1] and "train_batch_size" not in options:  # the importance ratio of the first update is 1
        assert lines[1]["approx_kl"] == lines[1]["clip_fraction"] == 0


@pytest.mark.parametrize("full", [False, True])
def test_convolutions_compute_in_the_layout_of_cudnn(full, training_card, tmp_path):
    trainer = trainer_of("ddpo", tiny.stable_diffusion(), tmp_path, full_finetuning=full)
    network = trainer.model.family.network
    weights = [part.weight for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert any(min(weight.shape) > 1 for weight in weights)  # those of one pixel are in both layouts


@pytest.fixture
def _attention_as_before():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.usefixtures("_attention_as_before")
@pytest.mark.parametrize(("kind", "allowed"), [(tiny.stable_diffusion_3, True), (tiny.flux, False)])
def test_flux_is_trained_without_the_attention_that_failed_there(kind, allowed, tmp_path):
    trainer_of("reward_backprop", kind(), tmp_path, scorers_on="cpu")
    assert torch.backends.cuda.cudnn_sdp_enabled() == allowed


@pytest.mark.parametrize(("name", "background"), [("ddpo", True), ("reward_backprop", False)])
def test_scorers_on_another_device_give_the_same_figures(name, background, training_card, tmp_path):
    """The card refuses what is on two devices: pixels must go there, rewards and gradients come back."""
    options = {"async_reward_computation": True} if background else {}
    found = []
    for place in (CARD, "cpu"):
        folder = tmp_path / str(place)
        trainer_of(name, tiny.stable_diffusion(), folder, place, sample_num_steps=2, **options).train()
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        found.append({key: value for key, value in json.loads(lines[-1]).items() if key != "seconds"})
    assert found[0]["grad_norm"] > 0
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-7)
