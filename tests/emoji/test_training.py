"""The emoji world as a training program names it."""

import pytest
import torch

from fergi_reward.emoji import SCORERS
from fergi_reward.emoji.pictures import OBJECT_NAMES, scene_of
from fergi_reward.errors import FergiRewardError
from fergi_reward.trainers.program import ScriptArguments, load_reward
from fergi_reward.trainers.samples import read_prompts

PROMPTS = "configs/prompts/emoji.txt"


def test_the_model_emoji_brings_its_scorers_and_calibration(pytestconfig: pytest.Config) -> None:
    prompts = read_prompts(pytestconfig.rootpath / PROMPTS)
    output = load_reward(ScriptArguments(model="emoji"))(torch.rand(len(prompts), 3, 32, 32), prompts)
    assert set(output.terms) == set(SCORERS)
    assert output.total.shape == (32,)
    with pytest.raises(FergiRewardError, match=r"the toy emoji has no scorer 'hps_v2\.1'"):
        load_reward(ScriptArguments(model="emoji", scorers=["hps_v2.1"]))


def test_it_trains_on_every_object_and_on_nothing_held_out(pytestconfig: pytest.Config) -> None:
    scenes = [scene_of(prompt) for prompt in read_prompts(pytestconfig.rootpath / PROMPTS)]
    assert {scene.object for scene in scenes} == set(range(len(OBJECT_NAMES)))
    assert not any(scene.is_held_out for scene in scenes)
