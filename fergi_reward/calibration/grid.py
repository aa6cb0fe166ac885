"""Protocol `paper-v1`: the grid searches behind the first version of the FERGI paper (arXiv 2312.03187), for AU4.

Kept exactly as published, so that its tables can be reproduced to the pair. One leak is part of it: in the second stage
the valences and the weighted sums of the training participants come from fits that saw the left-out participant. The
project's own protocol is in `bradley_terry.py` and has no such leak.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Fit, Term
from fergi_reward.calibration.crossval import HeldOut, Outcome, leave_one_out
from fergi_reward.calibration.table import Pairs, PreferenceTable
from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.clip import valence

SCORERS = ("image_reward", "pickscore", "hps_v2")
DECAYS = np.arange(1, 22) / 10
THRESHOLDS = np.arange(51) / 50
COEFFICIENTS = np.arange(31) / 10
RESTLESS_BASELINE = 0.5
BASELINE_QUANTILE = 0.8
# The rows of FERGI that the paper's figures come from.
FERGI_FINGERPRINT = "e24f4c55a6fbf70a05ea71fc7648cf54ab16b823f82caa286c84aea25a491d38"
# Accuracy in percent, left-out participants.
PUBLISHED = {
    "image_reward": 60.44,
    "pickscore": 63.36,
    "hps_v2": 61.94,
    "weighted_sum": 65.79,
    "au4": 56.62,
    "au4_selected": 74.86,
    "weighted_sum_selected": 67.09,
    "image_reward+au4": 62.68,
    "pickscore+au4": 65.31,
    "hps_v2+au4": 65.45,
    "weighted_sum+au4": 66.81,
}

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def weight_grid() -> Floats:
    """The weights tried for the three scorers: step 0.1, sum 1, (60, 3).

    Six of the 66 combinations are missing since the authors compare floating-point sums with 1 and 0.
    """
    steps = np.arange(0, 1.1, 0.1)
    first, second = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    third = 1 - first - second
    kept = (first + second <= 1) & (third >= 0)
    return np.stack([first, second, third], axis=1)[kept]


def unsteady_participants(table: PreferenceTable) -> dict[str, str]:
    """Participants whose brow moves too much before any image appears, or may do so, and why that leaves them out."""
    if "au4" not in table.baseline:
        raise FergiRewardError("paper-v1 needs the baseline clips, and the preference table has none with au4")
    quantiles = table.baseline.groupby("user")["au4"].quantile(BASELINE_QUANTILE)
    rule = f"restless: 80th percentile of the baseline AU4 activation is {{:.3f}}, not below {RESTLESS_BASELINE}"
    reasons = {str(user): rule.format(value) for user, value in quantiles.items() if value >= RESTLESS_BASELINE}
    return reasons | {user: "no valid baseline clip" for user in table.users if user not in quantiles.index}


@dataclass(frozen=True)
class Selection:
    """A decay coefficient, and the difference in valence above which a pair is annotated."""

    decay: float
    threshold: float


@dataclass(frozen=True)
class Grid:
    """The searches, over the rows and pairs of one table."""

    scores: Floats
    activations: Floats
    pairs: Pairs
    row_users: NDArray[np.str_]

    def difference(self, values: Floats) -> Floats:
        """Value of the better image less that of the worse, for each pair."""
        return values[self.pairs.better] - values[self.pairs.worse]

    def standardised(self, rows: Mask) -> Floats:
        """The scores of all rows by the mean and sample standard deviation of some."""
        return (self.scores - self.scores[rows].mean(axis=0)) / self.scores[rows].std(axis=0, ddof=1)

    def best_weights(self, standardised: Floats, training: Mask) -> Floats:
        """The weights with the most training pairs right; the first of equals."""
        grid = weight_grid()
        right = self.difference(standardised)[training] @ grid.T > 0
        return grid[right.sum(axis=0).argmax()]

    def best_coefficient(self, base: Floats, valences: Floats, training: Mask) -> float:
        """The coefficient of the valence with the most training pairs right; the first of equals."""
        base_difference, valence_difference = self.difference(base)[training], self.difference(valences)[training]
        right = base_difference[:, None] + valence_difference[:, None] * COEFFICIENTS > 0
        return float(COEFFICIENTS[right.sum(axis=0).argmax()])

    @cached_property
    def selection_gains(self) -> NDArray[np.int8]:
        """What annotating each pair is worth at each decay and threshold: 1 right, -2 wrong, 0 left alone."""
        differences = np.stack([self.difference(valence(self.activations, decay)) for decay in DECAYS])
        worth = np.where(differences > 0, 1, -2).astype(np.int8)
        chosen = np.abs(differences)[:, None] > THRESHOLDS[:, None]
        return (worth[:, None] * chosen).reshape(len(DECAYS) * len(THRESHOLDS), -1)

    def best_selection(self, training: Mask) -> Selection:
        """The decay and threshold with the most (correct - 2 x incorrect) on training pairs; the first of equals."""
        best = int(self.selection_gains[:, training].sum(axis=1, dtype=np.int64).argmax())
        return Selection(float(DECAYS[best // len(THRESHOLDS)]), float(THRESHOLDS[best % len(THRESHOLDS)]))


@dataclass(frozen=True)
class FirstStage:
    """What is fitted without one participant: scores standardised, their weights, the annotation rule."""

    standardised: Floats
    weights: Floats
    selection: Selection


def run(table: PreferenceTable, seed: int) -> Outcome:
    """Fit and evaluate `paper-v1`.

    Args:
        table: Preferences with the columns `image_reward`, `pickscore`, `hps_v2`, `au4`, and the baseline clips.
        seed: Unused: nothing here is random.

    Raises:
        FergiRewardError: A column is missing or constant, or fewer than two participants are left.
    """
    excluded = unsteady_participants(table)
    used = table.without_users(excluded).with_reactions()
    row_users = used.images["user"].to_numpy(dtype=str)
    grid = Grid(used.columns(SCORERS), used.columns(["au4"])[:, 0], used.pairs(), row_users)
    if len(set(grid.pairs.users)) < 2:
        raise FergiRewardError(f"paper-v1 leaves one participant out, and only {len(set(grid.pairs.users))} is left")
    stages = {user: _first_stage(grid, user) for user in np.unique(row_users)}
    published = PUBLISHED if used.fingerprint() == FERGI_FINGERPRINT else {}
    return Outcome(used, _final_fits(grid), _held_out(grid, stages), excluded, published)


def _first_stage(grid: Grid, user: str) -> FirstStage:
    standardised = grid.standardised(grid.row_users != user)
    training = grid.pairs.users != user
    return FirstStage(standardised, grid.best_weights(standardised, training), grid.best_selection(training))


def _held_out(grid: Grid, stages: dict[str, FirstStage]) -> tuple[HeldOut, ...]:
    """Margins of every model on each pair, from fits without that pair's participant."""
    own_weights = np.stack([stages[user].weights for user in grid.row_users])
    own_decay = np.array([stages[user].selection.decay for user in grid.row_users])
    valences = valence(grid.activations, own_decay)
    margins = {name: np.empty(len(grid.pairs)) for name in PUBLISHED}
    selected = np.zeros(len(grid.pairs), dtype=bool)
    for user, training in leave_one_out(grid.pairs.users):
        test = ~training
        standardised = stages[user].standardised
        bases = {name: standardised[:, column] for column, name in enumerate(SCORERS)}
        bases["weighted_sum"] = (standardised * own_weights).sum(axis=1)
        for name, base in bases.items():
            margins[name][test] = grid.difference(base)[test]
            total = base + grid.best_coefficient(base, valences, training) * valences
            margins[f"{name}+au4"][test] = grid.difference(total)[test]
        margins["au4"][test] = grid.difference(valences)[test]
        selected[test] = np.abs(margins["au4"][test]) > stages[user].selection.threshold
    margins["au4_selected"] = margins["au4"][selected]
    margins["weighted_sum_selected"] = margins["weighted_sum"][selected]
    users = {name: grid.pairs.users[selected] if name.endswith("selected") else grid.pairs.users for name in margins}
    return tuple(HeldOut(name, values, users[name]) for name, values in margins.items())


def _final_fits(grid: Grid) -> tuple[Fit, ...]:
    """The weights from all participants, which is what a reward uses."""
    everything = np.ones(len(grid.pairs), dtype=bool)
    mean, std = grid.scores.mean(axis=0), grid.scores.std(axis=0, ddof=1)
    standardised = (grid.scores - mean) / std
    decay = grid.best_selection(everything).decay
    valences = valence(grid.activations, decay)
    single = np.eye(len(SCORERS))
    candidates = {name: single[column] for column, name in enumerate(SCORERS)}
    candidates["weighted_sum"] = grid.best_weights(standardised, everything)
    fits = []
    for name, weights in candidates.items():
        terms = tuple(
            Term(scorer, float(mean[column]), float(std[column]), float(weights[column]))
            for column, scorer in enumerate(SCORERS)
            if name in (scorer, "weighted_sum")
        )
        coefficient = grid.best_coefficient(standardised @ weights, valences, everything)
        fits += [Fit(name, terms), Fit(f"{name}+au4", (*terms, Term("au4", 0.0, 1.0, coefficient)), decay)]
    return tuple(fits)
