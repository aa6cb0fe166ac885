"""Rankings -> pairs of rows: of different rank, and of equal rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fergi_reward.data.table import Pairs
from fergi_reward.evaluation.benchmarks.rankings import Benchmark, Judged, Ranking


@dataclass(frozen=True)
class RankedPairs:
    """Pairs of a benchmark's rows.

    Attributes:
        pairs: Pairs of different rank, the preferred first; `users` are the prompts.
        tied: Pairs of equal rank.
        lost: How many more there would be if every picture had a score.
    """

    pairs: Pairs
    tied: Pairs
    lost: int

    def judged(self, values: NDArray[np.float64]) -> Judged:
        """What a model makes of them, from its value for each row, (rows,)."""
        margins, tied = (values[pairs.better] - values[pairs.worse] for pairs in (self.pairs, self.tied))
        return Judged(margins, self.pairs.users, tied, self.tied.users)


def ranked_pairs(benchmark: Benchmark, rankings: Sequence[Ranking], scored: NDArray[np.bool_]) -> RankedPairs:
    """All pairs of each ranking.

    Args:
        benchmark: Knows the rows.
        rankings: Those of its rankings that count.
        scored: Which rows have scores, (rows,); pairs with another are lost.
    """
    pairs: list[tuple[int, int, str]] = []
    tied: list[tuple[int, int, str]] = []
    lost = 0
    for ranking in rankings:
        rows = [benchmark.numbers[image, ranking.prompt] for image in ranking.images]
        for (one, rank), (other, other_rank) in combinations(zip(rows, ranking.ranks, strict=True), 2):
            if not (scored[one] and scored[other]):
                lost += 1
            elif rank == other_rank:
                tied.append((one, other, ranking.prompt))
            else:
                pairs.append((one, other, ranking.prompt) if rank < other_rank else (other, one, ranking.prompt))
    return RankedPairs(_as_pairs(pairs), _as_pairs(tied), lost)


def _as_pairs(found: Sequence[tuple[int, int, str]]) -> Pairs:
    better, worse, prompts = zip(*found, strict=True) if found else ((), (), ())
    return Pairs(np.array(better, dtype=int), np.array(worse, dtype=int), np.array(prompts, dtype=str))
