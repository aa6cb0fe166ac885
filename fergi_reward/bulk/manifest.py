"""The rows to score: an image and its prompt each, streamed from a CSV or a folder."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.errors import FergiRewardError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class Row:
    """An image and its prompt: the number from 0, what the image is called, its file or the bytes of it, the prompt."""

    number: int
    image: str
    source: Path | bytes
    prompt: str


def read_manifest(path: Path) -> Iterator[Row]:
    """Stream a CSV with the columns `image` and `prompt`; images are relative to it.

    Raises:
        FergiRewardError: It cannot be read, lacks a column, or a row lacks a value.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"image", "prompt"} - set(reader.fieldnames or ())
            if missing:
                raise FergiRewardError(
                    f"{path} needs the columns image and prompt; {', '.join(sorted(missing))} missing"
                )
            for number, row in enumerate(reader):
                if not row["image"] or row["prompt"] is None:
                    raise FergiRewardError(f"{path}, row {reader.line_num}: image or prompt is missing")
                yield Row(number, row["image"], path.parent / row["image"], row["prompt"])
    except (OSError, UnicodeDecodeError) as error:
        raise FergiRewardError(f"{path} cannot be read ({error}): give a CSV with the columns image, prompt") from error


def folder_rows(folder: Path, prompts: Sequence[str]) -> Iterator[Row]:
    """The pictures of a folder in the order of their names, with one prompt each or one for all.

    Raises:
        FergiRewardError: There are no pictures, or another number of prompts.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not paths:
        raise FergiRewardError(f"{folder} holds no pictures ({', '.join(sorted(PICTURES))})")
    if len(prompts) not in (1, len(paths)):
        raise FergiRewardError(
            f"got {len(prompts)} prompts for the {len(paths)} pictures of {folder}: give one each or one"
        )
    for number, path in enumerate(paths):
        yield Row(number, path.name, path, prompts[number if len(prompts) > 1 else 0])
