"""Somebody's trainer, by the registry: it runs, resumes and is rehearsed like a built-in one."""

import pytest
import torch
from accelerate.state import AcceleratorState

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import tiny
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.registry import TRAINERS, find_trainer

SMALL = {"sample_num_steps": 2, "sample_guidance_scale": 1.0, "train_batch_size": 2, "grid_num_images": 0}
SMALL |= {"train_gradient_accumulation_steps": 2, "train_learning_rate": 1e-2, "log_with": "none", "save_freq": 1}


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def redness(pixels, prompts):
    return pixels[:, 0].mean((1, 2)) - pixels[:, 1:].mean((1, 2, 3))


def trainer_in(folder, **options):
    trainer = find_trainer("best_kept").target
    config = trainer.config_class(**SMALL, output_dir=str(folder), **options)
    return trainer(config, redness, tiny.stable_diffusion(seed=0), ["a red cat", "a blue house"])


def test_it_is_found_by_its_name_with_who_brings_it():
    assert "best_kept" in TRAINERS.names()
    assert find_trainer("best_kept").origin == "somebodys-rewards 1.2"
    with pytest.raises(FergiRewardError, match=r"'brightest' \(somebodys-rewards 1.2\) must have a config_class"):
        find_trainer("brightest")


def test_resumed_it_is_bitwise_the_run_that_was_not(tmp_path):
    whole = trainer_in(tmp_path / "whole", num_epochs=2)
    folder = whole.train()
    assert {path.name for path in folder.iterdir()} >= {"README.md", "pytorch_lora_weights.safetensors"}
    checkpoint = str(tmp_path / "whole" / "checkpoints" / "epoch_0001")
    resumed = trainer_in(tmp_path / "resumed", num_epochs=2, resume_from=checkpoint)
    resumed.train()
    ours, theirs = resumed.loop.model.parameters, whole.loop.model.parameters
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    assert any(parameter.any() for parameter in ours[1::2])  # a fresh adapter's second matrices are zero
    assert resumed.kept.counts == whole.kept.counts
    assert sum(resumed.kept.counts.values()) == 4


def test_a_dry_run_asks_its_configuration():
    config_class = find_trainer("best_kept").target.config_class
    one, two = (dry_run(config_class(train_batch_size=size), tiny.stable_diffusion(), {}) for size in (1, 2))
    # 100 epochs of one batch; what a prediction keeps for its gradient is proportional to the batch.
    assert (one.images, two.images, two.updates) == (100, 200, 100)
    assert two.training == pytest.approx(2 * one.training, rel=0.05)


def test_a_part_of_a_checkpoint_cannot_take_the_place_of_the_loops_own(tmp_path):
    trainer = trainer_in(tmp_path / "run", num_epochs=1)
    with pytest.raises(FergiRewardError, match="cannot be called optimizer, seen: the loop has parts of these names"):
        trainer.loop.run_epochs(trainer.epoch, str, {"optimizer": trainer.kept, "seen": trainer.kept})
