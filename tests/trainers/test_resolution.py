"""All pictures of a run are of its `resolution`."""

import pytest
import torch
from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.dry_run import dry_run


def test_what_is_rewarded_judged_and_drawn_is_of_the_resolution(trainer_of, redness):
    seen = set()

    def reward(pixels, prompts):
        seen.add(("reward", *pixels.shape[1:]))
        return redness(pixels, prompts)

    def judge(pixels, prompts):
        seen.add(("judge", *pixels.shape[1:]))
        return redness(pixels, prompts)

    options = {"resolution": 32, "grid_num_images": 2, "judge_num_images": 2, "judges": {"red": judge}}
    folder = trainer_of(reward=reward, **options).train()
    assert seen == {("reward", 3, 32, 32), ("judge", 3, 32, 32)}
    assert "height=32, width=32" in (folder / "README.md").read_text()
    # A tile as wide as its caption, square as the picture is, over three lines of text.
    with Image.open(folder.parent / "grids" / "epoch_0001.png") as grid:
        assert grid.height == 224 + 3 * 18


def test_a_run_resumes_at_its_resolution_only(trainer_of, tmp_path):
    trainer_of(resolution=32).train()
    again = {"pipeline": tiny.stable_diffusion(seed=0), "resume_from": str(tmp_path / "run"), "num_epochs": 2}
    with pytest.raises(FergiRewardError, match=r"as another run: resolution 32 -> 64; give what it was"):
        trainer_of(resolution=64, **again).train()


def test_the_native_resolution_changes_no_bit(trainer_of, tmp_path):
    plain, stated = (
        trainer_of(pipeline=tiny.stable_diffusion(seed=0), output_dir=tmp_path / str(side), resolution=side)
        for side in (None, 64)
    )
    for trainer in (plain, stated):
        trainer.train()
    pairs = zip(plain.model.parameters, stated.model.parameters, strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_a_dry_run_counts_it_and_refuses_what_cannot_be_drawn():
    small, native = (dry_run(DDPOConfig(resolution=side), tiny.stable_diffusion(), {}) for side in (32, None))
    assert small.training < native.training and small.sampling < native.sampling
    with pytest.raises(FergiRewardError, match=r"resolution is 33, .* a multiple of 8, such as 32"):
        dry_run(DDPOConfig(resolution=33), tiny.stable_diffusion(), {})
