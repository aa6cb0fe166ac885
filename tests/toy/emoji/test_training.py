"""The emoji world as a training program names it."""

from pathlib import Path

import pytest
import torch
from diffusers.utils.logging import is_progress_bar_enabled

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.files.prompts import read_prompts
from fergi_reward.toy.emoji import SCORERS
from fergi_reward.toy.emoji.pictures import OBJECT_NAMES, scene_of
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.options import RewardTrainingOptions

PROMPTS = "configs/prompts/emoji.txt"


def test_the_model_emoji_brings_its_scorers_and_calibration(pytestconfig: pytest.Config) -> None:
    prompts = read_prompts(pytestconfig.rootpath / PROMPTS)
    output = load_reward(RewardTrainingOptions(model="emoji"))(torch.rand(len(prompts), 3, 32, 32), prompts)
    assert set(output.terms) == set(SCORERS)
    assert output.total.shape == (32,)
    with pytest.raises(FergiRewardError, match=r"the toy emoji has no scorer 'hps_v2\.1'"):
        load_reward(RewardTrainingOptions(model="emoji", scorers=["hps_v2.1"]))


def test_loading_draws_no_bar_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    load_pipeline("emoji")
    assert capsys.readouterr().err == ""
    assert is_progress_bar_enabled()


def test_it_trains_on_every_object_and_on_nothing_held_out(pytestconfig: pytest.Config) -> None:
    scenes = [scene_of(prompt) for prompt in read_prompts(pytestconfig.rootpath / PROMPTS)]
    assert {scene.object for scene in scenes} == set(range(len(OBJECT_NAMES)))
    assert not any(scene.is_held_out for scene in scenes)


def test_a_short_run_leaves_an_adapter_that_plain_diffusers_loads(tmp_path: Path) -> None:
    config = DDPOConfig(
        output_dir=str(tmp_path),
        num_epochs=1,
        sample_num_steps=2,
        sample_guidance_scale=1.0,
        sample_batch_size=2,
        sample_num_batches_per_epoch=1,
        train_batch_size=2,
        grid_num_images=0,
        log_with="none",
    )
    prompts = ["a cat on a red background", "a dog on a blue background"]
    adapter = DDPOTrainer(
        config, load_reward(RewardTrainingOptions(model="emoji")), load_pipeline("emoji"), prompts
    ).train()
    pipeline = load_pipeline("emoji")
    pipeline.load_lora_weights(adapter)
    assert pipeline.get_active_adapters()
