"""Annotated pairs as the table that Diffusion-DPO trainers read: a caption, two pictures, and which one is better.

The columns are those of `yuvalkirstain/pickapic_v2`; `datasets.load_dataset(FOLDER)` reads it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fergi_reward.errors import FergiRewardError
from fergi_reward.files import written_whole

COLUMNS = ("user", "session", "image", "file", "prompt")
FILE = Path("data") / "train-00000.parquet"
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Picture:
    """Where a picture is, and what it was drawn for."""

    path: Path
    prompt: str


def read_pictures(path: Path) -> dict[Key, Picture]:
    """By user, session and image, the pictures that a CSV lists; files are relative to it.

    Raises:
        FergiRewardError: It cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise FergiRewardError(f"{path} needs the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing")
            return {
                (row["user"], row["session"], row["image"]): Picture(path.parent / row["file"], row["prompt"])
                for row in reader
            }
    except (OSError, UnicodeDecodeError) as error:
        raise FergiRewardError(f"{path} cannot be read ({error}): give a CSV of pictures") from error


def write_dataset(pairs: pd.DataFrame, pictures: dict[Key, Picture], folder: Path, seed: int) -> None:
    """Write the pairs with the bytes of their pictures.

    Args:
        pairs: As `Annotation.pairs` has them.
        pictures: Of every image in them.
        folder: Gets `data/train-00000.parquet` with the columns `caption`, `jpg_0`, `jpg_1`, `label_0` (1 where the
            first picture is the better one, else 0) and `confidence`.
        seed: Of which picture comes first, so that no trainer learns that it is always the better one.

    Raises:
        FergiRewardError: A picture is not listed or cannot be read.
    """
    better_first = np.random.default_rng(seed).random(len(pairs)) < 0.5
    rows = []
    for pair, first in zip(pairs.itertuples(), better_first.tolist(), strict=True):
        better, worse = (
            _found(pictures, (str(pair.user), str(pair.session), str(image))) for image in (pair.better, pair.worse)
        )
        sides = (better, worse) if first else (worse, better)
        rows.append([better.prompt, *map(_bytes, sides), float(first), pair.confidence])
    table = pd.DataFrame(rows, columns=["caption", "jpg_0", "jpg_1", "label_0", "confidence"])
    with written_whole(folder / FILE) as temporary:
        table.to_parquet(temporary, index=False)


def _found(pictures: dict[Key, Picture], key: Key) -> Picture:
    if key not in pictures:
        raise FergiRewardError(f"no picture is listed for user {key[0]}, session {key[1]}, image {key[2]}: add its row")
    return pictures[key]


def _bytes(picture: Picture) -> bytes:
    try:
        return picture.path.read_bytes()
    except OSError as error:
        raise FergiRewardError(f"{picture.path} cannot be read ({error.strerror}): check its row") from error
