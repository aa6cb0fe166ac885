"""Licenses are printed when weights first come to this machine, and not again."""

import pytest

from fergi_reward.hub.licenses import say_license
from fergi_reward.scorers.checkpoints import Checkpoint


@pytest.fixture(autouse=True)
def nothing_told_yet():
    say_license.cache_clear()


def told(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if "license" in line]


def test_of_a_scorer(hub, capsys):
    place = Checkpoint("yuvalkirstain/PickScore_v1", "main")
    for _ in range(2):
        place.file("config.json")
    assert told(capsys) == ["downloaded yuvalkirstain/PickScore_v1; license: none stated (its code: MIT)"]
    say_license.cache_clear()  # as in the next process, which finds the file in the cache
    place.file("config.json")
    assert told(capsys) == []


def test_of_a_repository_that_is_not_known(capsys):
    say_license("some\x1bbody/else")
    assert capsys.readouterr().err == "downloaded some\\x1bbody/else; license: not known here: see its page\n"
