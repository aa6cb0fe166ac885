"""One way to give options: the same record from the command line, a YAML file and Python."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fergi_reward.cli.command import Answer, command, read_options
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.options import Options, OptionsError, option, required
from tests.command_line import commands, invoke


@dataclass(frozen=True, kw_only=True)
class Example(Options):
    images: Path = required("Where.")
    names: Sequence[str] | None = option(None, "Several.", old=("name",), repeated=True)
    weights: Mapping[str, float] | None = option(None, "By name.")
    batch_size: int = option(8, "How many.", at_least=1)
    share: float = option(0.5, "A part.", above=0, below=1)
    kind: Literal["a", "b"] = option("a", "Which.")
    fast: bool = option(True, "Whether.")


def read(*words):
    (example,) = read_options([Example], list(words))
    return example


def test_the_command_line_a_file_and_python_make_the_same_record(tmp_path):
    expected = Example(images=Path("x"), names=["a", "b"], weights={"a": 0.5, "b": -2}, batch_size=3, fast=False)
    words = ["--images", "x", "--names", "a,b", "--weights", "a=0.5,b=-2", "--batch-size", "3", "--no-fast"]
    assert read(*words) == expected
    (tmp_path / "c.yaml").write_text(
        "images: x\nnames: [a, b]\nweights: {a: 0.5, b: -2}\nbatch-size: 3\nfast: false\nshare: null\n"
    )
    assert read("--config", str(tmp_path / "c.yaml")) == expected
    assert read("--config", str(tmp_path / "c.yaml"), "--names=c", "--batch_size", "5").names == ["c"]


def test_the_last_of_an_option_that_is_given_twice_counts():
    assert read("--images", "x", "--batch-size", "3", "--images", "y", "--batch-size", "4").batch_size == 4


@pytest.mark.parametrize(
    ("words", "now"),
    [
        (["--names", "a", "b"], ["--names", "a,b"]),
        (["--names", "a", "--names", "b"], ["--names", "a,b"]),
        (["--name", "a", "--name=b"], ["--names", "a,b"]),
        (["--fast", "False"], ["--no-fast"]),
        (["--fast", "True"], ["--fast"]),
    ],
)
def test_old_spellings_mean_the_same_and_warn(words, now, capsys):
    expected = read("--images", "x", *now)
    assert capsys.readouterr().err == ""
    assert read("--images", "x", *words) == expected
    assert capsys.readouterr().err.startswith("warning: ")


def test_all_mistakes_are_in_one_message(tmp_path):
    (tmp_path / "c.yaml").write_text("batchsize: 3\nkind: c\n")
    words = ["--config", str(tmp_path / "c.yaml"), "--shar", "1", "--weights", "a", "--batch-size", "soon"]
    with pytest.raises(FergiRewardError) as caught:
        read(*words)
    message = str(caught.value)
    for clause in (
        "unknown option '--shar': did you mean '--share'? ",
        f"{tmp_path / 'c.yaml'}: unknown option 'batchsize'",
    ):
        assert clause in message
    assert "--images is missing" in message
    with pytest.raises(OptionsError) as caught:
        Example(images=Path("x"), batch_size=0, share=1.0)
    assert caught.value.problems == (
        "batch_size is 0, must be at least 1",
        "share is 1.0, must be above 0 and below 1",
    )
    with pytest.raises(FergiRewardError, match=r"weights is 'a', must be NAME=.*; batch_size is 'soon'.*; kind is 'c'"):
        read("--images", "x", "--weights", "a", "--batch-size", "soon", "--kind", "c")


@dataclass(frozen=True)
class Kinds(Options):
    whole: int | None = None
    number: float = 0.0
    switch: bool = False
    place: Path | None = None
    names: Sequence[str] | None = None
    numbers: Sequence[float] | None = None
    either: int | str | None = None
    kind: Literal["a", "b"] | None = None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("whole", "abc", "a whole number"),
        ("whole", 1.5, "a whole number"),
        ("number", "abc", "a number"),
        ("number", float("inf"), "a finite number"),
        ("switch", "perhaps", "true or false"),
        ("place", 3, "a path"),
        ("names", 3, "a list of texts"),
        ("numbers", ["a"], "a list of numbers"),
        ("either", 1.5, "a whole number or text"),
        ("kind", "c", "one of a, b"),
    ],
)
def test_a_wrong_type_is_named_in_words(name, value, words):
    with pytest.raises(OptionsError) as caught:
        Kinds(**{name: value})
    assert caught.value.problems == (f"{name} is {value!r}, must be {words}",)


@pytest.mark.parametrize("value", ["a=1,a=2", "a=", "=1", "a=nan", "a=x", ","])
def test_pairs_that_are_none_are_refused(value):
    with pytest.raises(FergiRewardError, match=r"weights is .*NAME="):
        read("--images", "x", "--weights", value)


def test_every_command_has_help_and_the_common_options():
    for name, made in commands().items():
        assert {"config", "json", "quiet"} <= set(made.options), name
        for option_name, item in made.options.items():
            is_ours = name != "train prompt_grpo" or option_name in ("model", "rewriter", "scorers")
            assert item.metadata.get("help", "").strip() or not is_ours, (name, option_name)


def test_help_imports_nothing_heavy():
    code = """
import sys
from fergi_reward.cli.app import run
from fergi_reward.trainers.registry import TRAINERS
for words in ["--help"], ["score", "--help"], ["evaluate", "models", "-h"], ["train", "--help"], ["--version"]:
    run(words)
for name in TRAINERS.builtin:
    run(["train", name, "--help"])
print(*sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "pandas", "transformers", "diffusers", "trl"} & set(shown.splitlines()[-1].split())


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """A folder with two pictures, and a scorer of somebody's own."""
    monkeypatch.chdir(tmp_path)
    for name, grey in (("a.png", 51), ("b.png", 102)):
        Image.new("RGB", (8, 8), (grey,) * 3).save(name)
    pd.DataFrame({"image": ["a.png", "b.png"], "prompt": "a cat"}).to_csv("m.csv", index=False)
    Path("my_rewards.py").write_text("def grey(pixels, prompts):\n    return pixels.mean((1, 2, 3))\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    return ["score", "--images", "m.csv", "--device", "cpu", "--out", "s.csv"]


def test_weights_by_hand_weigh_raw_scores(scored):
    result = invoke([*scored, "--weights", "my_rewards:grey=-2", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "scored": 2,
        "kept": 0,
        "failed": 0,
        "out": "s.csv",
        "scorers": ["my_rewards:grey"],
    }
    table = pd.read_csv("s.csv")
    assert table["my_rewards:grey"].tolist() == pytest.approx([0.2, 0.4])
    assert table["reward"].tolist() == pytest.approx([-0.4, -0.8])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--weights", "clip=1", "--calibration", "shipped"], "weights and calibration are both given"),
        (["--standardise", "shipped"], "standardise is 'shipped' without weights"),
        (["--weights", "pickscor=1"], "there is no scorer 'pickscor': did you mean pickscore?"),
        (["--weights", "clip=1", "--scorers", "pickscore"], "--weights names clip, which --scorers does not"),
        (["--weights", "clip=1", "--standardise", "shipped"], "to standardise clip takes its mean"),
    ],
)
def test_weights_that_cannot_be_used(scored, options, sentence):
    result = invoke([*scored, *options])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr


def test_quiet_leaves_the_result_and_json_leaves_standard_output_to_it(tmp_path):
    command = ["data", "simulate", "--participants", 3, "--sessions", 1]
    quiet = invoke([*command, "--out", tmp_path / "a", "--quiet"])
    assert quiet.stdout.startswith("a simulated FERGI") and quiet.stderr == ""
    shown = invoke([*command, "--out", tmp_path / "b", "--json"])
    assert json.loads(shown.stdout)["participants"] == 3


def test_json_has_numbers_also_of_numpy_and_null_for_what_is_not_finite(capsys):
    @command
    def figures() -> Answer:
        values = {"count": np.int64(3), "share": np.float32(0.5), "nan": float("nan"), "ci95": (0.1, np.inf)}
        return Answer("text", {**values, "place": Path("x"), "by_name": {"a": np.array([1, 2])}})

    figures.command.answer({"json": True}, [])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "count": 3,
        "share": 0.5,
        "nan": None,
        "ci95": [0.1, None],
        "place": "x",
        "by_name": {"a": [1, 2]},
    }


def test_a_shipped_configuration_works_from_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(["train", "ddpo", "--config", "ddpo_tiny", "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 24 * 32
    result = invoke(["train", "ddpo", "--config", "ddpo_tny"])
    assert result.exit_code == 2 and "did you mean ddpo_tiny? give a file, or one of alignprop_sd15," in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["scor"], "error: unknown command 'scor': did you mean score?"),
        (["train", "ddp"], "error: unknown command 'ddp': did you mean ddpo?"),
        (["train", "my_package:Nothing"], "cannot be imported"),
        (["score", "extra", "--images", "x"], "unexpected argument 'extra'"),
        (["score", "--images"], "--images requires an argument"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence):
    result = invoke(words)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert sentence in result.output


def test_pydantic_that_somebody_imported_changes_nothing(tmp_path):
    pytest.importorskip("pydantic")
    result = invoke(["data", "simulate", "--out", tmp_path / "a", "--participants", 3, "--sessions", 1])
    assert result.exit_code == 0, result.output
    with pytest.raises(FergiRewardError, match="--images is missing"):
        read("--names", "none")
    assert read("--images", "none", "--names", "null").names == ["null"]
