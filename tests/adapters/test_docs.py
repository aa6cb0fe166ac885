"""docs/ADAPTERS.md says what is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from fergi_reward import adapters
from fergi_reward.trainers.group_normalization import group_normalized

TEXT = (Path(__file__).parents[2] / "docs" / "ADAPTERS.md").read_text()


def test_every_adapter_is_in_the_table_and_has_lines_to_paste():
    rows, blocks = re.findall(r"^\| .*", TEXT, re.M), re.findall(r"```python\n(.*?)```", TEXT, re.S)
    for name in vars(adapters):
        if name[0].isupper():
            assert sum(f"`{name}`" in row for row in rows) == 1
            assert any(name in block for block in blocks)


def test_what_the_lines_import_is_there():
    imports = re.findall(r"from (fergi_reward[\w.]*) import (.*)", TEXT)
    assert len(imports) > 10
    for module, names in imports:
        assert all(hasattr(import_module(module), name) for name in re.findall(r"\w+", names.split("`")[0]))


def test_the_weights_of_a_reward_are_those_of_its_terms(reward, pixels, prompts):
    output = reward.score(pixels, prompts)
    weights = {name: term["weight"] for name, term in reward.describe()["terms"].items()}
    advantages = group_normalized(output.terms, prompts, weights, output.missing)
    # A group of one has nothing to be compared with, and two differ by as much up as down.
    assert advantages[1].item() == pytest.approx(0, abs=1e-4)
    assert advantages[0].item() == pytest.approx(-advantages[2].item(), abs=1e-4)
    assert advantages.square().mean().item() == pytest.approx(1, abs=1e-3)
