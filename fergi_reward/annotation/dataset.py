"""Annotated pairs as the table that Diffusion-DPO trainers read: a caption, two pictures, and which one is better.

The columns are those of `yuvalkirstain/pickapic_v2`; `datasets.load_dataset(FOLDER)` reads it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fergi_reward.data.shown_pictures import Key, Picture, picture_bytes, picture_of
from fergi_reward.files.atomic import atomic_path

COLUMNS = ["caption", "jpg_0", "jpg_1", "label_0", "confidence", "user", "signals", "au_source"]
FILE = Path("data") / "train-00000.parquet"


def write_dataset(pairs: pd.DataFrame, pictures: Mapping[Key, Picture], folder: Path | str, seed: int) -> None:
    """Write the pairs with the bytes of their pictures.

    Args:
        pairs: As `Outcome.annotation` has them.
        pictures: The picture of every image in them.
        folder: Gets `data/train-00000.parquet` with the columns `caption`, `jpg_0`, `jpg_1`, `label_0` (1 where the
            first picture is the better one, else 0) and `confidence`; and, which no trainer reads, `user`:
            whose pair it is, so that `forget` finds it; `signals` and `au_source`: what says so, and what measured it.
        seed: Decides which picture comes first, so that no trainer learns that it is always the better one.

    Raises:
        FergiRewardError: A picture is not listed or cannot be read.
    """
    better_first = np.random.default_rng(seed).random(len(pairs)) < 0.5
    rows = []
    for pair, first in zip(pairs.itertuples(), better_first.tolist(), strict=True):
        better, worse = (
            picture_of(pictures, (str(pair.user), str(pair.session), str(image))) for image in (pair.better, pair.worse)
        )
        sides = (better, worse) if first else (worse, better)
        said = [float(first), pair.confidence, pair.user, pair.signals, pair.au_source]
        rows.append([better.prompt, *map(picture_bytes, sides), *said])
    table = pd.DataFrame(rows, columns=COLUMNS)
    with atomic_path(Path(folder) / FILE, private=True) as temporary:
        table.to_parquet(temporary, index=False)
