"""Pick-a-Pic v2: choices of a web page's users between two images of their prompt (Kirstain et al., arXiv 2305.01569).

On the hub (`yuvalkirstain/pickapic_v2`, described in its README): Parquet files `data/SPLIT-*.parquet`, a row a choice
between two images, with the columns `caption`, `image_0_uid`, `image_1_uid`, `jpg_0` and `jpg_1` (the bytes of the
pictures), `label_0` and `label_1` (1 the preferred, 0.5 both: a tie), `has_label`, and others that are not needed. The
pictures are streamed. The split `test_unique`, on which figures are published, has 500 prompts with a choice each; the
split `test` has 20,716 choices.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.benchmarks.place import Place, datasets_module, unreachable
from fergi_reward.evaluation.benchmarks.rankings import Benchmark, Judged, Ranking, usable_rankings
from fergi_reward.evaluation.preferences_result import PublishedFigure

HUB_ID = "yuvalkirstain/pickapic_v2"
TUNING = "validation_unique"
SOURCE = "Kirstain et al., arXiv 2305.01569, table 1"
LABELS = ["caption", "image_0_uid", "image_1_uid", "label_0", "has_label"]
PUBLISHED = {"pickscore": 0.702, "one human": 0.680, "CLIP-H": 0.608}
PROTOCOL = (
    "Published: a scorer may call a tie, below a threshold chosen on the split validation_unique; a choice is worth 1 "
    "where scorer and person agree, 1/2 where just one of them calls a tie. The column 'as published' is that, the "
    "threshold one of the tenths of the distribution of margins (in the paper: of probabilities). The accuracy leaves "
    "the person's ties out.",
    "Published on test_unique of version 1 of the dataset; that of version 2 has as many choices.",
    "The pictures are stored as they were drawn, and each scorer resizes them its own way.",
    "PickScore was trained on other prompts of this dataset; the other scorers were not.",
)


def read(place: str | None, split: str = "test_unique") -> Benchmark:
    """Read the labels.

    Raises:
        FergiRewardError: They are not there, or not in this layout.
    """
    where = Place(place or HUB_ID)
    splits = _splits(where, LABELS)
    if split not in splits:
        raise FergiRewardError(f"{where.name} has no split {split}, it has {', '.join(splits) or 'none'}")
    tuning = TUNING if TUNING in splits else None
    rankings, exclusions = usable_rankings(map(_ranking, _rows(splits, split, where)))
    tuned, _ = usable_rankings(map(_ranking, _rows(splits, tuning, where)))

    def pictures() -> Iterator[tuple[str, str, Path | bytes]]:
        streamed = _splits(where, ["caption", "image_0_uid", "image_1_uid", "jpg_0", "jpg_1"])
        for row in chain(_rows(streamed, split, where), _rows(streamed, tuning, where)):
            for side in "01":
                yield str(row[f"image_{side}_uid"]), str(row["caption"] or ""), row[f"jpg_{side}"] or b""

    return Benchmark(
        name="pickapic" if split == "test_unique" else f"pickapic_{split}",
        title="Pick-a-Pic v2",
        place=where.name,
        split=split,
        rankings=rankings,
        pictures=pictures,
        exclusions=exclusions,
        published=[PublishedFigure(model, accuracy, SOURCE) for model, accuracy in PUBLISHED.items()],
        protocol=PROTOCOL,
        as_published=as_published,
        tuning=tuned,
    )


def read_test(place: str | None) -> Benchmark:
    """The labels of the split `test`, as `read` reads them."""
    return read(place, "test")


def as_published(judged: Judged, tuning: Judged) -> float | None:
    """Accuracy where a scorer may call ties, below the threshold that is best on the tuning split."""
    margins = np.abs(np.concatenate([tuning.margins, tuning.tied_margins]))
    if not len(margins):
        return None
    thresholds = np.quantile(margins, np.arange(10) / 10, method="inverted_cdf")
    best = max([0.0, *thresholds.tolist()], key=lambda threshold: accuracy_with_ties(tuning, threshold))
    return accuracy_with_ties(judged, best)


def accuracy_with_ties(judged: Judged, threshold: float) -> float:
    """1 for agreement, 1/2 where just one of scorer and person calls a tie, 0 for the wrong order.

    Args:
        judged: Margins of a scorer.
        threshold: It calls a tie where a margin is not above it, in size.
    """
    tie, tie_of_tied = np.abs(judged.margins) <= threshold, np.abs(judged.tied_margins) <= threshold
    worth = np.where(tie, 0.5, judged.margins > 0)
    return float(np.concatenate([worth, np.where(tie_of_tied, 1.0, 0.5)]).mean())


def _splits(where: Place, columns: list[str]) -> Mapping[str, Any]:
    """The streamed splits by name, with these columns only."""
    try:
        return datasets_module().load_dataset(where.name, streaming=True, columns=columns)
    except FergiRewardError:
        raise
    except Exception as error:  # errors of `datasets`, the hub, fsspec and pyarrow have no common base
        raise _unreadable(where, error) from error


def _rows(splits: Mapping[str, Any], split: str | None, where: Place) -> Iterator[dict[str, Any]]:
    """The rows of a split; none for None."""
    try:
        yield from splits[split] if split else ()
    except Exception as error:  # the same, as rows are streamed
        raise _unreadable(where, error) from error


def _unreadable(where: Place, error: Exception) -> FergiRewardError:
    if where.folder is None:
        return unreachable(where.name, error)
    why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return FergiRewardError(f"{where.name} cannot be read as Pick-a-Pic ({why}): it needs data/SPLIT-*.parquet")


def _ranking(row: dict[str, Any]) -> Ranking:
    """A choice as a ranking of two images; without a label it has no ranks."""
    ranks = {1.0: (1.0, 2.0), 0.0: (2.0, 1.0), 0.5: (1.0, 1.0)}.get(row["label_0"], ()) if row["has_label"] else ()
    return Ranking(str(row["caption"] or ""), (str(row["image_0_uid"]), str(row["image_1_uid"])), ranks)
