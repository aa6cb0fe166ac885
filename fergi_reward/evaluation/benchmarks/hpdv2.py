"""HPD v2, test: 400 prompts with 9 images each, ranked by several annotators (Wu et al., arXiv 2306.09341).

On the hub (`zhwang/HPDv2`, described in its README and in that of github.com/tgxs002/HPSv2): `test.json`, a list of
`{"prompt", "image_path": [names], "rank": [the mean ranking, lower is better], "raw_annotations"}`, and the pictures in
`test.tar.gz` as `test/NAME`; a folder may have them unpacked.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.benchmarks.place import Place
from fergi_reward.evaluation.benchmarks.rankings import Benchmark, Judged, Ranking, usable_rankings
from fergi_reward.evaluation.preferences_result import PublishedFigure
from fergi_reward.files.json_files import read_json

HUB_ID = "zhwang/HPDv2"
SOURCE = "README of github.com/tgxs002/HPSv2"
PUBLISHED = {
    "aesthetic": 0.768,
    "image_reward": 0.740,
    "HPS": 0.776,
    "pickscore": 0.798,
    "hps_v2": 0.833,
    "hps_v2.1": 0.841,
    "one human": 0.781,
}
PROTOCOL = (
    "Published: the share of a prompt's pairs that are not turned around, equal ranks counted as right, averaged over "
    "prompts; the column 'as published' is that. The accuracy is of pairs of different rank, over all prompts.",
    "Ranks are the mean ranking of all annotators; one human is one annotator against the others.",
    "The pictures come in the sizes of the models that drew them, and each scorer resizes them its own way.",
    "HPS v2 was trained on other prompts of this dataset; the other scorers were not.",
)


def read(place: str | None) -> Benchmark:
    """Read the annotations.

    Raises:
        FergiRewardError: They are not there, or not in this layout.
    """
    where = Place(place or HUB_ID)
    path = where.file("test.json")
    rankings, exclusions = usable_rankings(_ranking(entry, path) for entry in _entries(path))

    def pictures() -> Iterator[tuple[str, str, Path | bytes]]:
        bases = _bases(where)
        for ranking in rankings:
            for image in ranking.images:
                found = (base / image for base in bases if (base / image).is_file())
                yield image, ranking.prompt, next(found, bases[0] / image)

    return Benchmark(
        name="hpdv2",
        title="HPD v2",
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
    """The mean over prompts of the share of pairs that are not turned around; pairs of equal rank cannot be."""
    kept = np.concatenate([judged.margins > 0, np.ones(len(judged.tied_margins))])
    _, prompts = np.unique(np.concatenate([judged.units, judged.tied_units]), return_inverse=True)
    return float((np.bincount(prompts, kept) / np.bincount(prompts)).mean())


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = read_json(path)
    except (OSError, ValueError) as error:
        raise FergiRewardError(f"{path} is not JSON ({error}): download it again") from error
    if not isinstance(entries, list) or not entries:
        raise FergiRewardError(f"{path} should hold a list of rankings, and does not: is it another file?")
    return entries


def _ranking(entry: dict[str, Any], path: Path) -> Ranking:
    try:
        prompt, names, ranks = entry["prompt"] or "", entry["image_path"], entry["rank"]
        return Ranking(str(prompt), tuple(map(str, names)), tuple(map(float, ranks)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FergiRewardError(
            f"{path}: a ranking needs prompt, image_path and rank (numbers), got {str(entry)[:80]!r}"
        ) from error


def _bases(where: Place) -> list[Path]:
    """Where pictures may lie: names are relative to the dataset or to its folder `test`."""
    root = where.folder if where.folder and (where.folder / "test").is_dir() else where.unpacked("test.tar.gz")
    return [root / "test", root]
