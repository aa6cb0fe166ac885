"""A tiny pipeline and a reward that needs no model."""

import pytest
import torch
from accelerate.state import AcceleratorState

from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.flow_grpo import FlowGRPOTrainer
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer

PROMPTS = ["a red cat", "a blue house"]


@pytest.fixture
def pipeline():
    return tiny.stable_diffusion(seed=0)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps one state a process, mixed precision included."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def redness():
    """How much more red than green or blue the pixels are, on average."""
    return lambda pixels, prompts: pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))


SMALL = {
    "num_epochs": 1,
    "sample_num_steps": 3,
    "sample_guidance_scale": 2.0,
    "train_batch_size": 4,
    "train_learning_rate": 5e-3,
    "grid_num_images": 0,
    "log_with": "none",
}


@pytest.fixture(scope="session")
def ddpo_trainer(redness):
    """A function: a DDPO trainer of a run small enough for a test; keyword arguments change its options."""

    def build(pipeline, output_dir, reward=redness, judges=None, **options):
        small = {**SMALL, "sample_batch_size": 4, "sample_num_batches_per_epoch": 1, "train_clip_range": 1e-2}
        config = DDPOConfig(**{**small, "output_dir": str(output_dir), **options})
        return DDPOTrainer(config, reward, pipeline, PROMPTS, judges)

    return build


@pytest.fixture
def trainer_of(tmp_path, request, ddpo_trainer, redness):
    """The same with a pipeline and a folder of the test's own."""

    def build(reward=redness, pipeline=None, judges=None, output_dir=tmp_path / "run", **options):
        pipeline = pipeline or request.getfixturevalue("pipeline")
        return ddpo_trainer(pipeline, output_dir, reward, judges, **options)

    return build


@pytest.fixture
def backprop_trainer_of(tmp_path, request, redness):
    """The same for reward backpropagation."""

    def build(reward=redness, pipeline=None, judges=None, **options):
        pipeline = pipeline or request.getfixturevalue("pipeline")
        small = {**SMALL, "output_dir": str(tmp_path / "run")}
        return RewardBackpropTrainer(RewardBackpropConfig(**{**small, **options}), reward, pipeline, PROMPTS, judges)

    return build


@pytest.fixture
def flow_trainer_of(tmp_path, redness):
    """The same for Flow-GRPO or DiffusionNFT, on a Stable Diffusion 3: two groups of four."""

    def build(reward=redness, pipeline=None, judges=None, trainer=FlowGRPOTrainer, **options):
        small = {
            **SMALL,
            "sample_num_steps": 5,
            "sample_eta": 0.5,
            "sample_guidance_scale": 1.0,
            "sample_group_size": 4,
            "sample_batch_size": 8,
            "sample_num_batches_per_epoch": 1,
            "picture_num_steps": 6,
            "output_dir": str(tmp_path / "run"),
            **({"train_clip_range": 1e-2} if trainer is FlowGRPOTrainer else {}),
        }
        pipeline = pipeline or tiny.stable_diffusion_3(seed=0)
        return trainer(trainer.config_class(**{**small, **options}), reward, pipeline, PROMPTS, judges)

    return build


@pytest.fixture
def start_latents():
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
