"""A judge that the reward weighs is known by its name, as the same object, and by its weights."""

from types import SimpleNamespace

import pytest
import torch

from fergi_reward import CombinedReward, as_scorer
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.registry import REGISTRY, register_scorer
from fergi_reward.scorers.scorer_set import ParkedScorer
from fergi_reward.toy import tiny
from fergi_reward.trainers.held_out import check_held_out


def greenness(pixels, prompts):
    return pixels[:, 1].mean((1, 2))


class Bright:
    def ask(self, pixels, prompts):
        return pixels.mean((1, 2, 3))


BRIGHT = Bright()


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ({"pickscore": greenness}, "pickscore cannot judge what it rewards.*weighs hps_v2, pickscore"),
        ({"reward": greenness}, "a judge is called 'reward'"),
    ],
)
def test_a_judge_must_be_held_out(judges, message):
    with pytest.raises(FergiRewardError, match=message):
        check_held_out(judges, SimpleNamespace(names=["pickscore", "hps_v2"]))


@pytest.mark.parametrize(
    ("rewarded", "judge", "called"),
    [
        (greenness, greenness, "greenness"),
        (BRIGHT.ask, BRIGHT.ask, "ask"),
        (greenness, as_scorer(greenness, "other"), "greenness"),
        (tiny.clip(), tiny.clip(), "clip"),
        (tiny.clip(), tiny.clip().to(torch.bfloat16), "clip"),
        (tiny.clip(), as_scorer(tiny.clip(), "renamed"), "clip"),
        (tiny.clip(), ParkedScorer(tiny.clip(), torch.device("cpu")), "clip"),
        (tiny.clip(), CombinedReward({"x": (greenness, 1.0), "y": (tiny.clip(), 1.0)}), "clip"),
    ],
)
def test_a_judge_under_another_name_is_refused(rewarded, judge, called):
    reward = CombinedReward({"mine": (rewarded, 0.3), "pickscore": (tiny.pickscore(), 1.0)})
    with pytest.raises(FergiRewardError, match=f"judge cannot judge what it rewards: it is (mine|{called}), which"):
        check_held_out({"judge": judge}, reward)


def test_scorers_of_the_reward_that_are_not_loaded_yet_are_compared(monkeypatch):
    monkeypatch.setattr(REGISTRY, "_registered", {})
    register_scorer("loaded_later", tiny.clip)
    reward = CombinedReward({"loaded_later": 1.0, "green": (greenness, 1.0)})
    with pytest.raises(FergiRewardError, match="judge cannot judge what it rewards: it is loaded_later"):
        check_held_out({"judge": tiny.clip()}, reward)


def test_other_weights_and_other_functions_may_judge():
    reward = CombinedReward({"mine": (greenness, 0.3), "clip": (tiny.clip(), 1.0)})
    others = {"a": tiny.clip(seed=1), "b": tiny.pickscore(), "c": lambda pixels, prompts: pixels[:, 1].mean((1, 2))}
    check_held_out({**others, "d": BRIGHT.ask, "e": CombinedReward({"x": (BRIGHT.ask, 1.0)})}, reward)
    check_held_out({"a": tiny.clip(seed=1), "b": greenness}, tiny.clip())
    check_held_out({"a": tiny.clip()}, None)
