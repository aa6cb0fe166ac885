"""Trainers by name: the built-in ones, and what another's must have."""

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.registry import TRAINERS, find_options, find_trainer


@pytest.fixture
def registered(monkeypatch):
    """A function that registers a trainer for this test alone."""
    monkeypatch.setattr(TRAINERS, "_registered", {})
    return TRAINERS.register


@pytest.mark.parametrize("name", TRAINERS.builtin)
def test_a_built_in_trainer_names_its_options_and_what_it_learns_from(name):
    trainer = find_trainer(name).target
    assert issubclass(trainer.config_class, TrainerConfig)
    assert trainer.learns_from == ("pairs" if name == "diffusion_dpo" else "reward")
    assert trainer.config_class.needs_gradient == (name == "reward_backprop")
    assert find_options(name) == (trainer.learns_from, trainer.config_class)


class Lacking:
    config_class = int
    learns_from = "reward"


def test_what_is_no_trainer_is_refused_with_all_that_it_lacks(registered):
    registered("mine", Lacking)
    with pytest.raises(FergiRewardError) as caught:
        find_trainer("mine")
    sentence = "the trainer 'mine' (register()) must have a config_class that is a TrainerConfig and a method train"
    assert str(caught.value) == sentence
    with pytest.raises(FergiRewardError, match="there is no trainer 'dppo': did you mean ddpo"):
        find_trainer("dppo")
