"""What a benchmark is: images of a prompt and how people ranked them, and where the pictures come from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fergi_reward.bulk.manifest import Row
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.preferences_result import PublishedFigure
from fergi_reward.evaluation.run_record import Exclusion

EXAMPLES = 3


@dataclass(frozen=True)
class Ranking:
    """One person's, or one panel's, ranking of images of a prompt.

    Attributes:
        prompt: What they were drawn for.
        images: Their names in the benchmark.
        ranks: One per image; lower is preferred, equal ranks are ties.
    """

    prompt: str
    images: tuple[str, ...]
    ranks: tuple[float, ...]


@dataclass(frozen=True)
class Judged:
    """What a model makes of rankings.

    Attributes:
        margins: Score of the preferred image less that of the other, for each pair of different rank, (P,).
        units: The prompt of each of these pairs, (P,).
        tied_margins: Differences of the scores of images of equal rank, (T,).
        tied_units: The prompt of each of these, (T,).
    """

    margins: NDArray[np.float64]
    units: NDArray[np.str_]
    tied_margins: NDArray[np.float64]
    tied_units: NDArray[np.str_]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, read except for its pictures.

    Attributes:
        name: As `--dataset` names it.
        title: As people call it.
        place: A folder, or an id on the hub.
        split: Split of the dataset.
        rankings: The people's.
        pictures: Streams image, prompt, and its file or the bytes of it, in the order of the rankings, then of tuning;
            some perhaps more than once.
        exclusions: What could not be read.
        published: Figures of others; `model` is the name of a scorer here where it is one.
        protocol: What makes them comparable, or not.
        as_published: Accuracy by their rules, of a model on the rankings and on tuning; None where tuning is missing.
        tuning: Rankings of another split, for rules that choose something there.
    """

    name: str
    title: str
    place: str
    split: str
    rankings: Sequence[Ranking]
    pictures: Callable[[], Iterator[tuple[str, str, Path | bytes]]]
    exclusions: Sequence[Exclusion]
    published: Sequence[PublishedFigure]
    protocol: Sequence[str]
    as_published: Callable[[Judged, Judged], float | None]
    tuning: Sequence[Ranking] = ()

    @cached_property
    def numbers(self) -> dict[tuple[str, str], int]:
        """Image and prompt -> the number of its row: each is scored once, however often it was ranked."""
        found = ((image, ranking.prompt) for ranking in (*self.rankings, *self.tuning) for image in ranking.images)
        return {key: number for number, key in enumerate(dict.fromkeys(found))}

    def rows(self) -> Iterator[Row]:
        """The rows to score, with their pictures, streamed again at every call."""
        following = 0
        for image, prompt, source in self.pictures():
            if self.numbers.get((image, prompt)) == following:
                yield Row(following, image, source, prompt)
                following += 1


def usable_rankings(found: Iterable[Ranking]) -> tuple[list[Ranking], list[Exclusion]]:
    """The rankings that say something, and how many do not, by reason.

    Raises:
        FergiRewardError: The name of a picture leads out of the dataset.
    """
    usable: list[Ranking] = []
    left_out: dict[str, list[str]] = {}
    for ranking in found:
        for image in ranking.images:
            if "\0" in image or ".." in Path(image).parts or Path(image).is_absolute():
                raise FergiRewardError(f"the dataset names the picture {image[:200]!r}, outside of it: delete it")
        reason = _fault(ranking)
        if reason:
            left_out.setdefault(reason, []).append(ranking.prompt.strip() or " ".join(ranking.images[:1]))
        else:
            usable.append(ranking)
    return usable, [exclusion("rankings", reason, prompts) for reason, prompts in left_out.items()]


def _fault(ranking: Ranking) -> str | None:
    """Why a ranking says nothing."""
    if not ranking.prompt.strip():
        return "no prompt"
    if len(ranking.images) < 2:
        return "fewer than two images"
    if len(set(ranking.images)) < len(ranking.images):
        return "an image twice"
    if len(ranking.ranks) != len(ranking.images) or not np.isfinite(ranking.ranks).all():
        return "not a rank for each image"
    return None


def exclusion(what: str, reason: str, names: Sequence[str]) -> Exclusion:
    """So many were left out; the first few by name."""
    return Exclusion(len(names), what, reason, tuple(names[:EXAMPLES]))
