"""Every figure of the FERGI paper (Feng, Ma & de Sa, arXiv 2312.03187) that its public data allow, computed again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from paper_published import PUBLISHED, TIES, TIES_P_VALUE, Key

from fergi_reward.calibration import signals
from fergi_reward.calibration.grid import (
    SCORERS,
    Annotated,
    Grid,
    Selection,
    annotated,
    best_selection,
    left_out_selections,
    scorer_fits,
    selection_gains,
    unsteady_participants,
)
from fergi_reward.calibration.protocols import Evaluation, calibrate
from fergi_reward.calibration.signals import Tested
from fergi_reward.data.table import PreferenceTable

EARLIER_SCORES = ("clip", "aesthetic", "blip")
WEIGHTED_SUM = "weighted_sum"


@dataclass(frozen=True)
class PaperFigures:
    """What the paper shows, computed.

    Attributes:
        table: The images with reactions, of all participants.
        emotions: What they felt at each image.
        v1: The protocol of the paper's first version.
        v3: The protocol of its later version.
        single: Accuracy of single scores on all pairs, and on those that AU4 annotates (`NAME_selected`), under v1.
        grid: Pairs that AU4 annotates right and wrong at each decay and threshold, of all steady participants.
        selection: The decay and the threshold that all steady participants choose.
        ratings: Images with each overall rating.
        correlations: Spearman of each action unit with the overall rating.
        extremities: The same with the distance of the rating from the middle.
        rank_sums: By emotion and action unit.
        regressions: By signal, the slopes on alignment and on fidelity, of the steady participants.
        weights: Weights of the scorers in the weighted sum, from all steady participants.
    """

    table: PreferenceTable
    emotions: pd.DataFrame
    v1: Evaluation
    v3: Evaluation
    single: Mapping[str, tuple[int, int]]
    grid: Annotated
    selection: Selection
    ratings: Mapping[int, int]
    correlations: Mapping[str, Tested]
    extremities: Mapping[str, Tested]
    rank_sums: Mapping[str, Mapping[str, Tested]]
    regressions: Mapping[str, tuple[Tested, Tested]]
    weights: tuple[float, ...]

    def numbers(self) -> dict[Key, float]:
        """Every number, under the key that it is published by."""
        numbers = {("ratings", str(rating), "images"): float(count) for rating, count in self.ratings.items()}
        for row, test in self.correlations.items():
            numbers |= _with_p("correlations", row, "rating", test)
        for row, test in self.extremities.items():
            numbers |= _with_p("correlations", row, "extremity", test)
        for emotion, units in self.rank_sums.items():
            for row, test in units.items():
                numbers |= _with_p("rank sums", row, emotion, test)
        for row, (alignment, fidelity) in self.regressions.items():
            numbers |= _with_p("regressions", row, "alignment", alignment)
            numbers |= _with_p("regressions", row, "fidelity", fidelity)
        numbers |= {("paper-v1", name, "accuracy"): right / pairs for name, (right, pairs) in self.single.items()}
        for evaluation in (self.v1, self.v3):
            protocol = evaluation.calibration.protocol
            numbers |= {(protocol, name, "accuracy"): one.accuracy for name, one in evaluation.results.items()}
        return numbers


def _with_p(group: str, row: str, quantity: str, test: Tested) -> dict[Key, float]:
    return {(group, row, quantity): test.value, (group, row, f"{quantity}_p"): test.p_value}


def compute(preferences: PreferenceTable, emotions: pd.DataFrame, seed: int = 0, command: str = "") -> PaperFigures:
    """Compute all of it, in about half a minute, with a progress bar.

    Args:
        preferences: FERGI, as `read_fergi` gives it.
        emotions: What the participants felt, as `read_emotions` gives it.
        seed: Of FAU-Net and of the intervals; the published figures are those of 0.
        command: Noted in the calibrations.

    Raises:
        FergiRewardError: The table lacks what a protocol needs.
    """
    table = preferences.with_reactions()
    steady = table.without_users(unsteady_participants(table))
    grid = Grid(steady.columns(SCORERS), steady.pairs(), steady.images["user"].to_numpy(dtype=str))
    activations = steady.columns(["au4"])[:, 0]
    gains = selection_gains(grid.pairs, activations)
    weights = tuple(term.weight for term in scorer_fits(grid)[-1].terms)
    rated = table.images["overall_rating"]
    return PaperFigures(
        table=table,
        emotions=emotions,
        v1=calibrate(preferences, "paper-v1", seed=seed, command=command),
        v3=calibrate(preferences, "paper-v3", seed=seed, command=command),
        single=_single_scores(steady, grid, _annotated_pairs(grid, activations, gains)),
        grid=annotated(gains),
        selection=best_selection(gains, np.ones(len(grid.pairs), dtype=bool)),
        ratings={int(rating): int(count) for rating, count in rated[rated > 0].value_counts().sort_index().items()},
        correlations=signals.rating_correlations(table),
        extremities=signals.extremity_correlations(table),
        rank_sums=signals.emotion_rank_sums(table, emotions),
        regressions=_regressions(steady, weights),
        weights=weights,
    )


def _annotated_pairs(grid: Grid, activations: NDArray[np.float64], gains: NDArray[np.int8]) -> NDArray[np.bool_]:
    """The pairs that AU4 annotates, each participant's by a rule from the others."""
    valences, thresholds = left_out_selections(grid, activations, gains)
    return np.abs(grid.difference(valences)) > thresholds


def _single_scores(table: PreferenceTable, grid: Grid, selected: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    """Pairs right and pairs in all of every score, on all pairs and on the selected ones."""
    counts = {}
    for name in (*EARLIER_SCORES, *SCORERS):
        right = grid.difference(table.columns([name])[:, 0]) > 0
        counts[name] = int(right.sum()), len(right)
        counts[f"{name}_selected"] = int(right[selected].sum()), int(selected.sum())
    return counts


def _regressions(table: PreferenceTable, weights: tuple[float, ...]) -> dict[str, tuple[Tested, Tested]]:
    """Slopes of the standardised scores, of AU4's valence, and of the weighted sum, not standardised again."""
    rated = table.images.loc[(table.images[signals.RATINGS] > 0).all(axis=1), signals.RATINGS]
    standardised = signals.standardised_signals(table, [*EARLIER_SCORES, *SCORERS]).loc[rated.index]
    shown = standardised[[*EARLIER_SCORES, *SCORERS, "au4"]]
    return signals.regress(shown.assign(**{WEIGHTED_SUM: standardised[list(SCORERS)] @ weights}), rated)


@dataclass(frozen=True)
class Comparison:
    """A published number next to the computed one.

    Attributes:
        key: Group, row and quantity.
        published: As printed.
        computed: Here.
    """

    key: Key
    published: str
    computed: float

    @property
    def to_the_digit(self) -> bool:
        """Whether it rounds to what is printed."""
        return self._within(0.0)

    @property
    def agrees(self) -> bool:
        """Whether it is what is printed except for the noise in ties."""
        group, _, quantity = self.key
        slack = TIES.get(group, 0.0)
        return self._within(slack and TIES_P_VALUE * float(self.published) if quantity.endswith("_p") else slack)

    def _within(self, slack: float) -> bool:
        last_digit = 10.0 ** int(Decimal(self.published).as_tuple().exponent)
        return abs(self.computed - float(self.published)) <= 0.500001 * last_digit + slack


def compare(figures: PaperFigures) -> Iterator[Comparison]:
    """Every published number with its computed one, in the order of the published table."""
    numbers = figures.numbers()
    for key, published in PUBLISHED.items():
        yield Comparison(key, published, numbers[key])
