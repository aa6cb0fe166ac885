"""Checkpoints of the small reference models, written once a session."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoints(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint folder per scorer, in the hub's layout."""
    folder = tmp_path_factory.mktemp("checkpoints")
    subprocess.run([sys.executable, reference / "make_checkpoints.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def cases(reference: Path) -> list[tuple[str, Path, str]]:
    """Every golden case: the prompt's name, the image's path, the prompt."""
    listed = json.loads((reference / "cases.json").read_text())
    return [
        (name, reference / "images" / image, prompt)
        for name, prompt in listed["prompts"].items()
        for image in listed["images"]
    ]


@pytest.fixture(scope="session")
def golden(reference: Path, cases: list[tuple[str, Path, str]]) -> dict[str, list[float | None]]:
    """The original packages' score of each case, by column; None where the original crashes."""
    stored = json.loads((reference / "golden.json").read_text())
    return {column: [values["score"][name][path.name] for name, path, _ in cases] for column, values in stored.items()}
