"""ImageRewardDB, test: 466 prompts with 4 to 9 images each, ranked by an expert (Xu et al., arXiv 2304.05977).

On the hub (`zai-org/ImageRewardDB`, formerly of `THUDM`; described in its README): `metadata-test.parquet`, a row an
image with the columns `image_path`, `prompt_id`, `prompt` and `rank` (1 is the best; equal ranks are ties) and others.
`image_path` is such as `images/test/test_1/NAME.webp`; the pictures are in `images/test/test_1.zip` and so on, and a
folder may have them unpacked.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.benchmarks.place import Place
from fergi_reward.evaluation.benchmarks.rankings import Benchmark, Judged, Ranking, usable_rankings
from fergi_reward.evaluation.preferences_result import PublishedFigure

HUB_ID = "zai-org/ImageRewardDB"
SOURCE = "README of github.com/tgxs002/HPSv2"
COLUMNS = ["image_path", "prompt_id", "prompt", "rank"]
PUBLISHED = {
    "aesthetic": 0.574,
    "image_reward": 0.651,
    "HPS": 0.612,
    "pickscore": 0.629,
    "hps_v2": 0.657,
    "hps_v2.1": 0.668,
    "one human": 0.653,
}
PROTOCOL = (
    "Published: pairs of different rank only, a scorer's tie counted as wrong, as in the accuracy here. ImageReward's "
    "own test counts all pairs; the authors of HPS v2, whose table this is, average over prompts, as does the column "
    "'as published'.",
    "Published on the test.json of ImageReward's repository; the hub's test split has the same 466 prompts.",
    "The pictures come in the sizes of DiffusionDB, and each scorer resizes them its own way.",
    "ImageReward was trained on other prompts of this dataset; the other scorers were not.",
)


def read(place: str | None) -> Benchmark:
    """Read the annotations.

    Raises:
        FergiRewardError: They are not there, or not in this layout.
    """
    where = Place(place or HUB_ID)
    table = _metadata(where.file("metadata-test.parquet"))
    found = (
        Ranking(str(images["prompt"].iloc[0]), tuple(images["image_path"]), tuple(images["rank"].astype(float)))
        for _, images in table.groupby("prompt_id", sort=False, dropna=False)
    )
    rankings, exclusions = usable_rankings(found)

    def pictures() -> Iterator[tuple[str, str, Path | bytes]]:
        find = cache(lambda folder: _folder(where, folder))
        for ranking in rankings:
            for image in ranking.images:
                yield image, ranking.prompt, find(Path(image).parent) / Path(image).name

    return Benchmark(
        name="imagerewarddb",
        title="ImageRewardDB",
        place=where.name,
        split="test",
        rankings=rankings,
        pictures=pictures,
        exclusions=exclusions,
        published=[PublishedFigure(model, accuracy, SOURCE) for model, accuracy in PUBLISHED.items()],
        protocol=PROTOCOL,
        as_published=as_published,
    )


def as_published(judged: Judged, tuning: Judged) -> float:
    """The mean over prompts of the share of pairs of different rank in the right order."""
    _, prompts = np.unique(judged.units, return_inverse=True)
    return float((np.bincount(prompts, judged.margins > 0) / np.bincount(prompts)).mean())


def _metadata(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path, columns=COLUMNS)
        return table.fillna({"prompt": ""}).astype({"image_path": str, "prompt": str, "rank": float})
    except Exception as error:  # of pyarrow, pandas and numpy, for whatever the file holds
        raise FergiRewardError(
            f"{path} cannot be read as a table with the columns {', '.join(COLUMNS)} ({error})"
        ) from error


def _folder(where: Place, folder: Path) -> Path:
    """Where the pictures of `images/test/test_1` are: there, or in what `images/test/test_1.zip` holds."""
    if where.folder and (where.folder / folder).is_dir():
        return where.folder / folder
    root = where.unpacked(f"{folder.as_posix()}.zip")
    return next((inner for inner in (root / folder, root / folder.name) if inner.is_dir()), root)
