"""The lines on group normalisation in docs/ADAPTERS.md give what the reward weighs."""

import pytest

from fergi_reward.adapters.group_normalization import group_normalized


def test_the_weights_of_a_reward_are_those_of_its_terms(reward, pixels, prompts):
    output = reward.score(pixels, prompts)
    weights = {name: term["weight"] for name, term in reward.describe()["terms"].items()}
    advantages = group_normalized(output.terms, prompts, weights, output.missing)
    # A group of one has nothing to be compared with, and two differ by as much up as down.
    assert advantages[1].item() == pytest.approx(0, abs=1e-4)
    assert advantages[0].item() == pytest.approx(-advantages[2].item(), abs=1e-4)
    assert advantages.square().mean().item() == pytest.approx(1, abs=1e-3)
