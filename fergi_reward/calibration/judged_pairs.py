"""The pairs of a fit of judgements: which are used, in an order that names and rows do not decide, and their scale."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.hyperparameters import feature, layout
from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgements import MOST_PAIRS, SEVERAL, Judgements

# With more groups, several are left out together.
MOST_UNITS = 200
CONSTANT = 1e-12

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class JudgedPairs:
    """Different pairs in an order that only what they hold decides: shuffled rows and other names change no digit.

    Attributes:
        better: What the terms measure of the better picture, (P, T); an action unit's activation.
        worse: The same of the other; of tied pairs, either way.
        tied: Which are tied, (P,).
        counts: How often each counts, above 0, (P,).
        group: The number of the group of each, (P,).
        names: The name of each group.
        unit: The number of the unit of each, a group or a bundle of groups that are left out together, (P,).
        units: How many there are.
    """

    better: Floats
    worse: Floats
    tied: Mask
    counts: Floats
    group: Integers
    names: tuple[str, ...]
    unit: Integers
    units: int

    @classmethod
    def of(cls, judgements: Judgements, measured: Floats, seed: int, *, with_ties: bool) -> "JudgedPairs":
        """The pairs of judgements.

        Args:
            judgements: What people preferred.
            measured: What the terms measure of every picture, (pictures, T).
            seed: Seed of the bundles.
            with_ties: Whether tied pairs are used.

        Raises:
            FergiRewardError: There are fewer than three groups that told pairs apart.
        """
        pairs = judgements.pairs if with_ties else judgements.pairs[~judgements.pairs["tied"]]
        if (groups := len(judgements.groups)) < SEVERAL:
            raise FergiRewardError(
                f"the pairs are of {counted(groups, judgements.group_name)}, and one after the other is left out: give "
                f"at least {SEVERAL} with pairs that were told apart, or name a column of raters (--rater) or of other "
                f"groups (--group) with {SEVERAL} values or more"
            )
        better, worse = (measured[pairs[side].to_numpy()] for side in ("better", "worse"))
        tied, counts = pairs["tied"].to_numpy(dtype=bool), pairs["weight"].to_numpy(dtype=float)
        turned = tied & (_first_difference(better, worse) < 0)
        better, worse = np.where(turned[:, None], worse, better), np.where(turned[:, None], better, worse)
        names, given = np.unique(pairs["group"].to_numpy(dtype=str), return_inverse=True)
        content = np.column_stack([better, worse, tied]) + 0.0  # no -0
        rows, counts, group, by_rank = _by_content(content, counts, given)
        units = min(len(names), MOST_UNITS)
        bundle = np.arange(len(names))
        if units < len(names):
            bundle = np.random.default_rng(seed).permutation(len(names)) % units
        ordered = tuple(names[by_rank].tolist())
        return cls(better[rows], worse[rows], tied[rows], counts, group, ordered, bundle[group], units)

    @cached_property
    def told(self) -> Integers:
        """The pairs that were told apart, (P',), each as often as it counts where counts are whole numbers."""
        told = np.flatnonzero(~self.tied)
        counts = self.counts[told]
        if (counts % 1 != 0).any():
            return told
        if (total := counts.sum()) > MOST_PAIRS:
            raise FergiRewardError(
                f"the weights of the pairs add up to {total:.3g} judgements, at most {MOST_PAIRS:.0e}: divide them by "
                "a common factor"
            )
        return np.repeat(told, counts.astype(int))

    @property
    def told_groups(self) -> NDArray[np.str_]:
        """The number of the group of each of these, as texts in the order of numbers, (P',)."""
        return np.char.zfill(self.group[self.told].astype(str), 9)


def _first_difference(better: Floats, worse: Floats) -> Floats:
    """The difference of the first term in which two pictures differ, 0 where they differ in none, (P,)."""
    differences = better - worse
    first = (differences != 0).argmax(axis=1)
    found: Floats = differences[np.arange(len(differences)), first]
    return found


def _by_content(
    content: Floats, counts: Floats, group: Integers
) -> tuple[Integers, Floats, Integers, NDArray[np.int64]]:
    """Different rows by group, ordered by content; equal rows of a group are one that counts more.

    Returns:
        The rows that stand for their equals, in order (R,), how often each counts (R,), the rank of its group (R,), and
        the groups by rank (G,).
    """
    order = np.lexsort([counts, *content.T[::-1], group])
    same = (content[order[1:]] == content[order[:-1]]).all(axis=1) & (group[order[1:]] == group[order[:-1]])
    firsts = np.flatnonzero(np.append(True, ~same))
    rows, summed = order[firsts], np.add.reduceat(counts[order], firsts)
    blocks = np.split(np.column_stack([content[rows], summed]), np.flatnonzero(np.diff(group[rows])) + 1)
    digests = [hashlib.sha256(np.ascontiguousarray(block).tobytes()).digest() for block in blocks]
    by_rank = np.array(sorted(range(len(digests)), key=digests.__getitem__))
    rank = np.argsort(by_rank)[group[rows]]
    again = np.argsort(rank, kind="stable")
    return rows[again], summed[again], rank[again], by_rank


class ScaledPairs:
    """The features of some terms of all pairs, on the scale of all pairs.

    Attributes:
        mean: Mean of each feature over the pictures of the pairs, (K,).
        std: Its sample standard deviation, (K,).
        differences: Features of the better picture less those of the worse, divided by `std`, (P, K).
    """

    def __init__(self, pairs: JudgedPairs, terms: dict[str, int], decays: tuple[float, ...]) -> None:
        self._names = [name for name, _ in layout(list(terms), decays)]
        better, worse = (
            np.stack([feature(side[:, terms[name]], decay) for name, decay in layout(list(terms), decays)], axis=1)
            for side in (pairs.better, pairs.worse)
        )
        counts = np.tile(pairs.counts, 2)[:, None]
        sides = np.concatenate([better, worse])
        self.mean = (sides * counts).sum(axis=0) / counts.sum()
        centred = sides - self.mean
        self._freedom = 1.0 if (counts % 1 == 0).all() else 0.0  # weights have no number of degrees of freedom
        self.std = np.sqrt((centred**2 * counts).sum(axis=0) / (counts.sum() - self._freedom))
        self._check(self.std <= CONSTANT * np.abs(sides).max(axis=0))
        self.differences = (better - worse) / self.std
        unit = np.tile(pairs.unit, 2)
        standard = centred / self.std
        self._sides = np.bincount(unit, counts[:, 0])
        self._sums, self._squares = (_sums(values * counts, unit) for values in (standard, standard**2))

    def stds(self, of: Mask) -> Floats:
        """Standard deviations in the pairs of some units (B, U), in those of all pairs, (B, K).

        Raises:
            FergiRewardError: A term has one value in the pairs of some units.
        """
        number = (of @ self._sides)[:, None]
        variance = (of @ self._squares - (of @ self._sums) ** 2 / number) / (number - self._freedom)
        self._check(np.any(variance < CONSTANT, axis=0))
        return np.sqrt(variance)

    def _check(self, constant: NDArray[np.bool_]) -> None:
        if constant.any():
            name = self._names[int(constant.argmax())]
            raise FergiRewardError(
                f"{name} has the same value for every image of a training set: leave it out, or give more judgements"
            )


def _sums(values: Floats, unit: Integers) -> Floats:
    """Sums of the rows (N, K) of each unit, (U, K)."""
    return np.stack([np.bincount(unit, column) for column in values.T], axis=1)
