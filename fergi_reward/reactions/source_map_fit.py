"""Fitting a map between AU sources, from clips that both measured or from those of different people, and judging it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.clip import Floats
from fergi_reward.reactions.manifest import KINDS, Kind
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.table import KEY, ReactionTable
from fergi_reward.version import __version__

MIN_CLIPS, MIN_USERS = 20, 3
DIGITS = 9  # after the first of the largest: equal activations stay equal in a mean
CLIPS_A_KNOT = 5  # so that no knot says what a single clip was like
Knots = tuple[tuple[float, float], ...]
Measure = Callable[[Floats, Floats], float]


@dataclass(frozen=True)
class Clips:
    """The AU4 activations of some clips, (N,), and who is seen in each, (N,)."""

    users: NDArray[np.str_]
    au4: Floats

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody who is seen, sorted."""
        return tuple(np.unique(self.users).tolist())

    def without(self, user: str) -> "Clips":
        """The clips of all others."""
        return Clips(self.users[self.users != user], self.au4[self.users != user])


@dataclass(frozen=True)
class Agreement:
    """How far two sources agree by one measure.

    Attributes:
        measure: Its name.
        before: With the activations as they are.
        after: With each person's mapped by a map that was fitted without this person.
    """

    measure: str
    before: float
    after: float


@dataclass(frozen=True)
class FittedMap:
    """A map, and how it does on people that it was not fitted on."""

    source_map: SourceMap
    agreements: Sequence[Agreement]


def fit_paired(origin: ReactionTable, target: ReactionTable) -> FittedMap:
    """Fit a map on clips that both sources measured, by isotonic regression.

    Args:
        origin: Reactions, and baselines where there are some, as one source measured them.
        target: The same clips as the other did; they are paired by user, session and image.

    Raises:
        FergiRewardError: The sources are one, share too few clips, or their activations do not rise together.
    """
    both = pd.concat(
        _activations(origin, kind).merge(_activations(target, kind), on=KEY, suffixes=("_from", "_to"))
        for kind in KINDS
    )
    users = both["user"].to_numpy(dtype=str)
    clips = [Clips(users, both[f"au4_{side}"].to_numpy(dtype=float)) for side in ("from", "to")]
    _check_enough(
        clips[0],
        "clips in both folders",
        "measure the same videos with both sources, or give --unpaired reaction or baseline",
    )
    measures = {"Spearman correlation": rank_correlation, "mean absolute error": mean_error}
    return _fit(origin, target, clips, isotonic_knots, "isotonic regression on paired clips", measures)


def fit_unpaired(origin: ReactionTable, target: ReactionTable, kind: Kind) -> FittedMap:
    """Fit a map on clips of people who need not be the same, by matching quantiles.

    Args:
        origin: Reactions or baselines as one source measured them.
        target: Others as the other source did.
        kind: Which clips to compare.

    Raises:
        FergiRewardError: The sources are one, or there are too few clips from one of them.
    """
    clips = []
    for table in (origin, target):
        rows = _activations(table, kind)
        clips.append(Clips(rows["user"].to_numpy(dtype=str), rows["au4"].to_numpy(dtype=float)))
        _check_enough(clips[-1], f"{kind} clips from {table.au_source}", "film more")
    measures = {"Kolmogorov distance": kolmogorov_distance}
    return _fit(origin, target, clips, quantile_knots, f"quantiles of unpaired {kind} clips", measures)


def figures(fitted: FittedMap) -> dict[str, Any]:
    """A fitted map for programs: what it was fitted on, and how it does on people that it was not fitted on."""
    source_map = fitted.source_map
    return {
        "method": source_map.method,
        "from": {
            "source": source_map.from_source,
            "clips": source_map.from_clips,
            "people": len(source_map.from_users),
        },
        "to": {"source": source_map.to_source, "clips": source_map.to_clips, "people": len(source_map.to_users)},
        "knots": source_map.knots,
        "held_out": [asdict(agreement) for agreement in fitted.agreements],
    }


def summary(fitted: FittedMap) -> str:
    """A fitted map for people to read: what it was fitted on, and how it does."""
    from tabulate import tabulate

    source_map = fitted.source_map
    (lowest, floor), *_, (highest, top) = source_map.knots
    rows = [[one.measure, f"{one.before:.4g}", f"{one.after:.4g}"] for one in fitted.agreements]
    headers = ["held out by person", "as they are", "mapped"]
    return (
        f"{source_map.method}: {source_map.from_clips} clips of {len(source_map.from_users)} people from "
        f"{source_map.from_source}, {source_map.to_clips} of {len(source_map.to_users)} from {source_map.to_source}\n"
        f"{len(source_map.knots)} knots from {lowest:.4g} -> {floor:.4g} to {highest:.4g} -> {top:.4g}; below it "
        f"stays at {floor:.4g}, beyond it continues straight\n\n"
        + tabulate(rows, headers, tablefmt="github", colalign=["left", "right", "right"], disable_numparse=True)
    )


def isotonic_knots(origin: Floats, target: Floats) -> Knots:
    """The mean activation of the target at each of the origin, rising: centres of the blocks of an isotonic regression.

    Least squares over all rising functions, by pooling adjacent violators (Barlow et al., Statistical Inference under
    Order Restrictions, 1972), on groups of five clips.

    Args:
        origin: AU4 activation of each clip by the first source, (N,).
        target: That of the same clip by the second source, (N,).

    Raises:
        FergiRewardError: The best rising function is constant.
    """
    from scipy.optimize import isotonic_regression

    # Clips of one activation, such as 0, get one value, so they belong into one group. Activations that differ in the
    # last bits are one: the means of groups of them need not rise.
    values, row, counts = np.unique(_rounded(origin), return_inverse=True, return_counts=True)
    groups = max(2, len(origin) // CLIPS_A_KNOT)
    _, group = np.unique((counts.cumsum() - counts) * groups // len(origin), return_inverse=True)
    sizes = np.bincount(group, counts)
    centres = np.bincount(group, counts * values) / sizes
    means = _rounded(np.bincount(group[row], target) / sizes)
    fit = isotonic_regression(means, weights=sizes)
    starts = fit.blocks[:-1]
    if len(starts) < 2:
        raise FergiRewardError(
            f"AU4 does not rise in one source where it rises in the other, on {len(origin)} clips: there is no map"
        )
    blocks = np.add.reduceat(sizes * centres, starts) / np.add.reduceat(sizes, starts)
    return _pairs(blocks, fit.x[starts])


def quantile_knots(origin: Floats, target: Floats) -> Knots:
    """The quantiles of two samples, level by level.

    Args:
        origin: Activations, (N,).
        target: Others, (M,).

    Raises:
        FergiRewardError: All activations of a sample are the same.
    """
    count = max(2, min(len(origin), len(target)) // CLIPS_A_KNOT)
    levels = (np.arange(count) + 0.5) / count
    before, after = (_rounded(np.quantile(sample, levels)) for sample in (origin, target))
    # Where quantiles of one sample are equal, those of the other are averaged: first here, then the other way round.
    for _ in range(2):
        values, place, counts = np.unique(before, return_inverse=True, return_counts=True)
        before, after = _rounded(np.bincount(place, after) / counts), values
    if len(before) < 2:
        raise FergiRewardError("all AU4 activations of a source are the same: there is no map")
    return _pairs(before, after)


def _rounded(activations: Floats) -> Floats:
    """Activations without the digits that only rounding tells apart, on a scale of 0.02 as on one of 5."""
    largest = float(np.abs(activations).max(initial=0))
    return activations.round(DIGITS - math.floor(math.log10(largest or 1)))


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's correlation."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def mean_error(mapped: Floats, target: Floats) -> float:
    """Mean absolute difference."""
    return float(np.abs(mapped - target).mean())


def kolmogorov_distance(first: Floats, second: Floats) -> float:
    """The largest difference of two distribution functions, in [0, 1]."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, second, method="asymp").statistic)


def _activations(table: ReactionTable, kind: Kind) -> pd.DataFrame:
    """User, session and image as texts, and AU4, of the valid clips of a kind."""
    rows = table.images if kind == "reaction" else table.baseline
    known = rows if "au4" in rows else rows.assign(au4=np.nan)
    return known[[*KEY, "au4"]].dropna().astype(dict.fromkeys(KEY, str))


def _check_enough(clips: Clips, which: str, advice: str) -> None:
    if len(clips.au4) < MIN_CLIPS or len(clips.people) < MIN_USERS:
        raise FergiRewardError(
            f"a map needs at least {MIN_CLIPS} {which}, of {MIN_USERS} people, got {len(clips.au4)} of "
            f"{len(clips.people)}: {advice}"
        )


def _pairs(before: Floats, after: Floats) -> Knots:
    return tuple(zip(before.tolist(), after.tolist(), strict=True))


def _fit(
    origin: ReactionTable,
    target: ReactionTable,
    clips: Sequence[Clips],
    knots: Callable[[Floats, Floats], Knots],
    method: str,
    measures: Mapping[str, Measure],
) -> FittedMap:
    """Fit the knots on all clips, and for each person on those of the others."""
    if origin.au_source == target.au_source:
        raise FergiRewardError(f"both sides come from AU source {origin.au_source!r}: there is nothing to map")
    seen, wanted = clips
    fitted = SourceMap(
        from_source=str(origin.au_source),
        to_source=str(target.au_source),
        knots=knots(seen.au4, wanted.au4),
        method=method,
        from_clips=len(seen.au4),
        from_users=seen.people,
        to_clips=len(wanted.au4),
        to_users=wanted.people,
        library_version=__version__,
    )
    mapped = np.empty_like(seen.au4)
    for user in seen.people:
        held_out = replace(fitted, knots=knots(seen.without(user).au4, wanted.without(user).au4))
        mapped[seen.users == user] = held_out(seen.au4[seen.users == user])
    return FittedMap(
        fitted,
        [Agreement(name, of(seen.au4, wanted.au4), of(mapped, wanted.au4)) for name, of in measures.items()],
    )
