"""Weights that somebody chose, and a reward that moves and shows itself as a module does."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fergi_reward.calibration.by_hand import by_hand
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import as_scorer
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny

PIXELS = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PROMPTS = ["a cat", "a dog", "a cat"]


class Contrast(nn.Module):
    """A scorer with a weight."""

    name = "contrast"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, pixels, prompts):
        return self.weight * pixels.std(dim=(1, 2, 3))


def brightness(pixels, prompts):
    return pixels.mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def tower():
    return tiny.pickscore(seed=0)


def test_raw_weights_add_the_scores_as_they_are(tower):
    reward = CombinedReward({"pickscore": (tower, 0.7), "mine": (brightness, 0.3), "contrast": (Contrast(), -1)})
    output = reward(PIXELS, PROMPTS)
    expected = 0.7 * tower(PIXELS, PROMPTS) + 0.3 * brightness(PIXELS, PROMPTS) - Contrast()(PIXELS, PROMPTS)
    torch.testing.assert_close(output.total, expected)
    assert reward.names == ["pickscore", "mine", "contrast"]
    described = reward.describe()
    assert described["calibration"]["protocol"] == "by hand, raw"
    assert described["scorers"]["mine"] == {"name": "mine", "origin": "given in Python", "counts": "as it is"}
    pixels = PIXELS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(pixels, PROMPTS).total.sum(), pixels)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(reward.score(PIXELS, PROMPTS).total, expected.detach(), rtol=1e-4, atol=1e-4)


def test_a_reward_says_which_of_its_weights_are_those_that_were_published(monkeypatch):
    places = emoji.checkpoints()
    named = CombinedReward({"hps_v2": 1.0, "pickscore": 1.0}, checkpoints={"pickscore": places["pickscore"]})
    assert named.describe()["published"] == ["hps_v2"]
    monkeypatch.setattr(PickScorer, "default_checkpoint", str(places["pickscore"]))
    loaded = {"pickscore": (load_scorer("pickscore"), 1.0), "hps_v2": (load_scorer("hps_v2", places["hps_v2"]), 1.0)}
    assert CombinedReward({**loaded, "mine": (brightness, 1.0)}).describe()["published"] == ["pickscore"]


def test_standardised_weights_take_means_from_numbers_or_from_a_calibration(tower):
    weights = {"pickscore": (tower, 0.7), "mine": (brightness, 0.3)}
    by_numbers = CombinedReward(weights, standardise={"pickscore": (20.0, 2.0), "mine": (0.5, 0.1)})
    raw = tower(PIXELS, PROMPTS), brightness(PIXELS, PROMPTS)
    torch.testing.assert_close(by_numbers(PIXELS, PROMPTS).total, 0.7 * (raw[0] - 20) / 2 + 0.3 * (raw[1] - 0.5) / 0.1)
    fitted = Calibration(
        "test", "test", (Fit("a", (Term("pickscore", 20.0, 2.0, 9.0), Term("mine", 0.5, 0.1, 9.0))),), {}, "0", "", 0
    )
    of_calibration = CombinedReward(weights, standardise=fitted, uncertainty_penalty=0.1)
    assert of_calibration.describe()["terms"] == by_numbers.describe()["terms"]
    assert of_calibration.describe()["calibration"]["protocol"] == "by hand, standardised"


def test_a_calibration_by_hand_is_a_file_like_any_other(tmp_path):
    made = by_hand({"pickscore": 1, "mine": np.float32(-0.5)}, {"pickscore": (20, 2), "mine": (0.5, 0.1)})
    made.save(tmp_path / "hand.json")
    assert Calibration.load(tmp_path / "hand.json") == made
    with pytest.raises(FergiRewardError, match="au4 is an action unit"):
        by_hand({"au4": 1.0})


@pytest.mark.parametrize(
    ("weights", "more", "sentence"),
    [
        (
            {"clip": math.nan, "pickscore": "0.5"},
            {},
            r"weight of clip is nan, .*; the weight of pickscore is '0.5', must",
        ),
        ({"clip": True}, {}, "weight of clip is True"),
        ({}, {}, "there are no weights"),
        ({"pickscore": 1.0}, {"standardise": {"mine": (0, 1)}}, "to standardise pickscore takes its mean"),
        ({"pickscore": 1.0}, {"standardise": {"pickscore": (0, 0)}}, r"standard deviation, got \(0, 0\)"),
        ({"pickscore": 1.0}, {"calibration": by_hand({"pickscore": 1.0})}, "give one of the two"),
        (["pickscore"], {}, "give one of the two"),
        ({"pickscore": 1.0, "clip": 1.0}, {"uncertainty_penalty": 1.0}, "uncertainty_penalty compares standardised"),
        ({"clip": (brightness,)}, {}, "clip must have a weight: "),
        ({"hps_v2": 1.0, "hps_v2.0": 1.0}, {}, "two scorers are called hps_v2"),
        ([as_scorer(brightness), brightness], {"calibration": by_hand({"brightness": 1.0})}, "two scorers are called"),
        ("clip", {"calibration": by_hand({"clip": 1.0})}, "scorers is 'clip', must be a list of scorers"),
        (brightness, {"calibration": by_hand({"clip": 1.0})}, "must be a list of scorers, or a mapping"),
        ({"hpsv4": 1.0}, {}, "there is no scorer 'hpsv4'"),
    ],
)
def test_weights_that_cannot_be_used_are_one_sentence(weights, more, sentence):
    with pytest.raises(FergiRewardError, match=sentence) as caught:
        CombinedReward(weights, **more)
    assert "\n" not in str(caught.value)


def test_a_reward_moves_and_shows_itself_as_a_module_does():
    contrast = Contrast()
    reward = CombinedReward({"contrast": (contrast, 0.7), "mine": (brightness, 0.3)})
    assert repr(reward) == "CombinedReward(contrast 0.7, mine 0.3; weights by hand, raw)"
    assert reward.device == torch.device("cpu")
    contrast.train()
    assert reward.eval() is reward and not contrast.training
    assert reward.to("meta") is reward
    assert reward.device == contrast.weight.device == torch.device("meta")
    assert not [name for name in dir(reward) if name.startswith("_") and not name.endswith("__")]


def test_a_reward_of_names_has_a_device_before_anything_is_loaded():
    reward = CombinedReward({"pickscore": 1.0}, device="cpu").to("meta")
    assert reward.device == torch.device("meta")


def test_what_is_parked_stays_parked_and_visits_another_device():
    contrast = Contrast()
    reward = CombinedReward({"contrast": (contrast, 1.0)}, offload=True).to("cpu")
    torch.testing.assert_close(reward.score(PIXELS, "a cat").total, contrast(PIXELS, []).detach())
    assert contrast.weight.device == torch.device("cpu")


def test_a_gradient_that_would_lack_a_term_is_refused_by_name():
    words = as_scorer(brightness, name="words", is_differentiable=False)
    reward = CombinedReward({"contrast": (Contrast(), 1.0), "words": (words, 1.0)})
    pixels = PIXELS.clone().requires_grad_()
    with pytest.raises(FergiRewardError, match="no gradient goes through words"):
        reward(pixels, PROMPTS)
    with torch.no_grad():
        torch.testing.assert_close(reward(pixels, PROMPTS).total, reward.score(PIXELS, PROMPTS).total)


def test_weights_copied_from_the_shipped_calibration_are_not_those_of_raw_scores():
    shipped = Calibration.shipped()
    fitted = {term.name: term.weight for term in shipped.fit_for(["image_reward", "pickscore", "hps_v2"]).terms}
    rounded = {name: float(f"{weight:.4g}") for name, weight in fitted.items()}
    for weights in (fitted, rounded):
        with pytest.raises(FergiRewardError, match=r"those of the shipped calibration, .* give standardise="):
            CombinedReward(weights)
        copied = CombinedReward(weights, standardise=shipped).describe()
        assert copied["scale"] == "each term adds weight x (score - mean) / std"
    CombinedReward({"image_reward": 0.3, "pickscore": 0.7, "hps_v2": 1.0})
    CombinedReward({"pickscore": fitted["pickscore"]})
