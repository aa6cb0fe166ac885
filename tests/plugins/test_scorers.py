"""Scorers of other people, found by entry points, by a path and in Python."""

import sys

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import Registry
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.registry import REGISTRY, load_scorer, register_scorer, term_name
from fergi_reward.toy import emoji
from tests.command_line import invoke

PIXELS = torch.stack([torch.full((3, 4, 4), value) for value in (0.25, 0.75)])
PATH = "somebodys_rewards:contrast"


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [("brightness", [0.25, 0.75]), ("darkness", [-0.25, -0.75]), ("words", [2.25, 2.75]), (PATH, [0.0, 0.0])],
)
def test_every_kind_of_entry_point_gives_a_scorer_of_that_name(name, by_hand):
    scorer = load_scorer(name)
    assert scorer.name == term_name(name) == name
    assert scorer(PIXELS, "two words").tolist() == by_hand
    assert not any(parameter.requires_grad for parameter in scorer.parameters())


def test_a_checkpoint_reaches_who_takes_one_and_nobody_else():
    assert load_scorer("darkness", "2.0")(PIXELS, "").tolist() == [-0.5, -1.5]
    with pytest.raises(FergiRewardError, match=r"'brightness' of somebodys-rewards 1.2 takes no checkpoint"):
        load_scorer("brightness", "2.0")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "broken",
            r"'broken' of somebodys-rewards 1.2 cannot be imported from somebodys_rewards.broken:Scorer \(Runt",
        ),
        ("missing", r"'missing' of somebodys-rewards 1.2 cannot be imported .* no attribute 'Missing'"),
        ("nothing", r"nothing \(somebodys-rewards 1.2\) is None, must be an object that is called"),
        ("brightnes", r"no scorer 'brightnes': did you mean brightness\? installed are image_reward, .* broken"),
        (
            "not_there:Mine",
            r"^the scorer 'not_there:Mine' cannot be imported \(Mod[^:]*: No module named 'not_there'\): install its",
        ),
        ("somebodys_rewards:Brightnes", r"cannot be imported: somebodys_rewards has no Brightnes, did you mean Brigh"),
        ("sys:exit", r"'sys:exit' \(sys:exit\) failed: SystemExit"),
        ("somebodys_rewards:Loss", r"'somebodys_rewards:Loss' \(somebodys_rewards:Loss\) failed: TypeError: .*scale"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence_that_names_the_package(name, sentence):
    with pytest.raises(FergiRewardError, match=sentence) as caught:
        load_scorer(name)
    assert "\n" not in str(caught.value)


def test_what_lies_in_the_current_folder_is_found_and_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    before = list(sys.path)
    for module in ("my_rewards_here", "somebodys_rewards"):
        (tmp_path / f"{module}.py").write_text("def red(pixels, prompts):\n    return pixels[:, 0].mean((1, 2))\n")
    assert load_scorer("somebodys_rewards:Brightness")(PIXELS, "").tolist() == [0.25, 0.75]
    assert sys.path == before
    assert load_scorer("my_rewards_here:red")(PIXELS, "").tolist() == [0.25, 0.75]
    assert sys.path == [*before, str(tmp_path)]


def test_a_package_cannot_take_a_built_in_name_and_a_broken_one_hinders_nobody():
    assert isinstance(load_scorer("pickscore", emoji.checkpoints()["pickscore"]), TowerScorer)
    assert "somebodys_rewards.broken" not in sys.modules


def test_two_packages_of_one_name_are_both_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert REGISTRY.installed()["brightness"]  # looked at before the second one came
    folder = tmp_path / "another-0.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 0.1\n")
    (folder / "entry_points.txt").write_text("[fergi_reward.scorers]\nbrightness = elsewhere:Other\n")
    with pytest.raises(
        FergiRewardError, match=r"2 packages have a scorer 'brightness': .*another 0.1.*elsewhere:Other"
    ):
        load_scorer("brightness")
    assert load_scorer("somebodys_rewards:Brightness")(PIXELS, "").tolist() == [0.25, 0.75]


def test_a_scorer_is_registered_in_python_and_again_but_not_over_others(monkeypatch):
    monkeypatch.setattr(REGISTRY, "_registered", {})
    register_scorer("mine", lambda pixels, prompts: pixels[:, 0, 0, 0])
    assert load_scorer("mine")(PIXELS, "").tolist() == [0.25, 0.75]
    register_scorer("mine", lambda pixels, prompts: -pixels[:, 0, 0, 0])
    assert load_scorer("mine")(PIXELS, "").tolist() == [-0.25, -0.75]
    for taken in ("pickscore", "brightness"):
        with pytest.raises(FergiRewardError, match=f"{taken!r} cannot be registered as a scorer, it is taken"):
            register_scorer(taken, lambda pixels, prompts: pixels)


def test_the_names_of_a_registry_are_those_of_its_group():
    assert Registry("thing", {"built_in": "json:dumps"}).names() == ["built_in"]
    assert Registry("backend", {"blind": "json:dumps"}).names() == ["blind", "lightness"]


def test_the_command_lists_them_without_importing_them():
    shown = invoke(["scorers"]).output
    assert "| darkness   | somebodys-rewards 1.2 | somebodys_rewards:load_darkness |" in shown
    assert shown.count("somebodys_rewards:Brightness") == 1  # not under the built-in name that it took, too
    assert "somebodys_rewards.broken" not in sys.modules
