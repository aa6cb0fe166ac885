"""`make wheelhouse`: the wheels that a GPU machine without a network lacks, in at most 40 MB."""

import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
# Also in docs/OFFLINE.md.
PRESENT = [
    *("torch", "torchvision", "transformers", "accelerate", "peft", "timm", "huggingface_hub", "safetensors"),
    *("numpy", "pandas", "scipy", "pyarrow", "pillow", "click", "tabulate", "pyyaml", "tqdm", "pytest", "hypothesis"),
    "setuptools",
]
TARGET = {"python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux", "extra": ""}
# Takes the place of Python: it notes its arguments and makes the wheels that pip would.
PYTHON = """#!/bin/sh
echo "$@" >> {calls}
case "$*" in
  -c*) echo 3.11 ;;
  *"pip wheel"*) mkdir -p build/wheel && touch build/wheel/fergi_reward-1-py3-none-any.whl ;;
  *"pip download"*) mkdir wheelhouse && truncate -s {size} wheelhouse/one.whl && touch wheelhouse/two.whl ;;
esac
"""


def needed(names):
    """The packages that come with these on the target, by what is installed here."""
    found, coming = set(), [Requirement(name) for name in names]
    while coming:
        requirement = coming.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        try:
            texts = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        coming += [known for text in texts if applies(known := Requirement(text), requirement.extras)]
    return found


def applies(requirement, extras):
    environments = [TARGET | {"extra": extra} for extra in ("", *extras)]
    return requirement.marker is None or any(map(requirement.marker.evaluate, environments))


def test_with_what_is_present_the_wheels_are_all_that_training_serving_and_testing_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = re.search(r"^LACKING := (.*?)(?<!\\)$", MAKEFILE, re.M | re.S).group(1).replace("\\\n", " ").split()
    extras = project["optional-dependencies"]
    wanted = needed([*project["dependencies"], *extras["train"], *extras["serve"], *extras["test"]])
    without = needed(["tensorboard"]) - needed(["tensorboardX", "protobuf", *PRESENT])  # another writer of its logs
    lacking = wanted - without - needed(PRESENT)
    assert "diffusers" in lacking and "torch" not in lacking
    assert lacking - set(map(canonicalize_name, listed)) == set()


def test_the_page_asks_for_what_is_present():
    page = (ROOT / "docs/OFFLINE.md").read_text(encoding="utf-8")
    asked = re.search(r"^pip show (.*?) > /dev/null$", page, re.M | re.S).group(1)
    assert sorted(asked.replace("\\\n", " ").split()) == sorted(PRESENT)


@pytest.fixture
def make(tmp_path):
    """A function that makes the wheelhouse with a stand-in for Python: the process and pip's arguments."""
    shutil.copy(ROOT / "Makefile", tmp_path)

    def run(size, *options):
        calls, python = tmp_path / "calls", tmp_path / "python"
        python.write_text(PYTHON.format(calls=calls, size=size))
        python.chmod(0o755)
        command = ["make", "-s", "wheelhouse", f"PYTHON={python}", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done, calls.read_text().splitlines()[-1].split()

    return run


@pytest.mark.parametrize(
    ("size", "options", "made"),
    [("39M", [], False), ("38M", [], True), ("90M", ["FULL=1"], True)],
)
def test_the_sizes_are_printed_last_and_more_than_40_mb_is_an_error(make, size, options, made, tmp_path):
    done, _ = make(size, *options)
    assert (done.returncode == 0) == made, done.stdout
    assert re.search(r"wheelhouse/one.whl\n.*wheelhouse/two.whl\n.* total\n", done.stdout)
    assert ("more than 40 MB" in done.stdout) != made
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "wheelhouse", check=False).returncode == 0


def test_it_asks_for_the_wheels_of_another_python(make):
    _, asked = make("1M", "PYTHON_VERSION=3.12")
    assert asked[asked.index("--python-version") + 1] == "3.12"
    assert {"--only-binary=:all:", "--no-deps", "build/wheel/fergi_reward-1-py3-none-any.whl", "trl"} <= set(asked)
    _, asked = make("1M", "FULL=1")
    assert asked[asked.index("--python-version") + 1] == "3.11"  # this one's own
    assert asked[-1] == "build/wheel/fergi_reward-1-py3-none-any.whl[train,serve,test]" and "--no-deps" not in asked
