"""Every method trains every family of flow matching, resumes to the bit, and diffusers loads the adapter."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig, FlowGRPOTrainer
from fergi_reward.trainers.nft import NFTConfig, NFTTrainer
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer
from tests.tiny_families import NEWER, TOKENS, drawn, noise_for

# Their lengths differ, so that batches are padded.
PROMPTS = ["a cat", "a blue house on a long road by the sea"]
SAMPLED = {"sample_group_size": 2, "sample_batch_size": 4, "sample_num_batches_per_epoch": 1, "sample_num_steps": 3}
METHODS = {
    "flow_grpo": (FlowGRPOTrainer, FlowGRPOConfig, SAMPLED | {"sample_eta": 0.5, "train_clip_range": 1e-2}),
    "nft": (NFTTrainer, NFTConfig, SAMPLED),
    "reward_backprop": (RewardBackpropTrainer, RewardBackpropConfig, {"sample_num_steps": 3}),
    "diffusion_dpo": (DiffusionDPOTrainer, DiffusionDPOConfig, {"train_updates_per_epoch": 1, "sample_num_steps": 2}),
}
SMALL = {
    "num_epochs": 2,
    "save_freq": 1,
    "train_batch_size": 2,
    "train_learning_rate": 1e-2,
    "sample_guidance_scale": 2.0,
    "gradient_checkpointing": True,
    "grid_num_images": 0,
    "log_with": "none",
}


def pairs():
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)) for _ in range(8)]
    rows = zip(PROMPTS * 2, pictures[::2], pictures[1::2], strict=True)
    return PairTable([{"caption": text, "jpg_0": one, "jpg_1": other, "label_0": 1} for text, one, other in rows], "p")


def trained(method, kind, reward, folder, **options):
    trainer, config, own = METHODS[method]
    config = config(**SMALL | own | options, max_sequence_length=TOKENS.get(kind), output_dir=str(folder))
    given = (pairs(), kind(), PROMPTS) if method == "diffusion_dpo" else (reward, kind(), PROMPTS)
    run = trainer(config, *given)
    return run, run.train()


def metrics_of(run):
    return [json.loads(line) | {"seconds": 0} for line in run.loop.run.metrics_file.read_text().splitlines()]


# FLUX.1's other methods have tests of their own.
@pytest.mark.parametrize(("kind", "method"), [*product(NEWER, METHODS), (tiny.flux, "diffusion_dpo")])
def test_two_epochs_resume_to_the_bit_and_diffusers_loads_the_adapter(method, kind, redness, tmp_path):
    whole, folder = trained(method, kind, redness, tmp_path / "whole")
    assert all(line["grad_norm"] > 0 for line in metrics_of(whole))
    checkpoint = str(whole.loop.run.checkpoints.folder / "epoch_0001")
    resumed, _ = trained(method, kind, redness, tmp_path / "resumed", resume_from=checkpoint)
    assert metrics_of(resumed)[-1] == metrics_of(whole)[-1]
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters, resumed.model.parameters, strict=True))
    fresh = kind()
    noise = noise_for(family_of(fresh), 1)

    def cat(pipeline):
        return drawn(pipeline, ["a cat"], noise, 2.0, tokens=TOKENS.get(kind))

    before, ours = cat(fresh), cat(whole.model.pipeline)
    fresh.load_lora_weights(folder)
    torch.testing.assert_close(cat(fresh), ours, rtol=0, atol=1e-6)
    assert (ours - before).abs().max() > 1e-4
