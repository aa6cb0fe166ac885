"""The golden cases: what the original packages gave the small reference models."""

import json
from pathlib import Path

import pytest


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
