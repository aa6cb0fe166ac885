"""Protocol `paper-v1`: the grid searches behind the first version of the FERGI paper (arXiv 2312.03187), for AU4.

Kept exactly as published, so that its tables can be reproduced to the pair. One leak is part of it: in the second stage
the valences and the weighted sums of the training participants come from fits that saw the left-out participant. The
project's own protocol is in `bradley_terry.py` and has no such leak.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Fit, Term
from fergi_reward.calibration.outcome import Outcome
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import Pairs, PreferenceTable
from fergi_reward.reactions.clip import valence
from fergi_reward.reactions.scale import per_unit
from fergi_reward.reactions.table import ReactionTable
from fergi_reward.stats.folds import leave_one_out
from fergi_reward.stats.held_out import HeldOut

SCORERS = ("image_reward", "pickscore", "hps_v2")
# On FERGI's scale; other activations are divided by the unit of theirs, which is all that is not as published.
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


def unsteady_participants(table: ReactionTable, unit: float | None = None) -> dict[str, str]:
    """Participants whose brow moves too much before any image appears, or may do so, and why that leaves them out.

    Args:
        table: Their reactions, with baseline clips.
        unit: That of the scale; by default the table's.
    """
    if not table.has_baseline:
        raise FergiRewardError("paper-v1 needs baseline clips, and the preference table has no valid one")
    quantiles = table.baseline.groupby("user")["au4"].quantile(BASELINE_QUANTILE)
    bound = RESTLESS_BASELINE * (unit or table.au_unit)
    rule = f"restless: 80th percentile of the baseline AU4 activation is {{:.3g}}, not below {bound:g}"
    reasons = {str(user): rule.format(value) for user, value in quantiles.items() if value >= bound}
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

    def best_coefficient(self, base: Floats, reaction: Floats, coefficients: Floats, training: Mask) -> float:
        """The coefficient of the reaction with the most training pairs right; the first of equals."""
        base_difference, reaction_difference = self.difference(base)[training], self.difference(reaction)[training]
        right = base_difference[:, None] + reaction_difference[:, None] * coefficients > 0
        return float(coefficients[right.sum(axis=0).argmax()])


def selection_gains(pairs: Pairs, activations: Floats) -> NDArray[np.int8]:
    """What annotating each pair is worth at each decay and threshold: 1 right, -2 wrong, 0 left alone.

    Args:
        pairs: The pairs.
        activations: Those of the images, in units of their scale.
    """
    valences = np.stack([valence(activations, decay) for decay in DECAYS])
    differences = valences[:, pairs.better] - valences[:, pairs.worse]
    worth = np.where(differences > 0, 1, -2).astype(np.int8)
    chosen = np.abs(differences)[:, None] > THRESHOLDS[:, None]
    return (worth[:, None] * chosen).reshape(len(DECAYS) * len(THRESHOLDS), -1)


@dataclass(frozen=True)
class Annotated:
    """The outcome of every decay and threshold: rows and columns as `DECAYS` and `THRESHOLDS`, (21, 51).

    Attributes:
        right: Annotated pairs in the right order.
        wrong: The others that were annotated.
    """

    right: NDArray[np.int64]
    wrong: NDArray[np.int64]


def annotated(gains: NDArray[np.int8]) -> Annotated:
    """Count the pairs that `selection_gains` annotates right and wrong."""
    shape = len(DECAYS), len(THRESHOLDS)
    return Annotated((gains == 1).sum(axis=1).reshape(shape), (gains == -2).sum(axis=1).reshape(shape))


def best_selection(gains: NDArray[np.int8], training: Mask) -> Selection:
    """The decay and threshold with the most (correct - 2 x incorrect) on training pairs; the first of equals."""
    best = int(gains[:, training].sum(axis=1, dtype=np.int64).argmax())
    return Selection(float(DECAYS[best // len(THRESHOLDS)]), float(THRESHOLDS[best % len(THRESHOLDS)]))


@dataclass(frozen=True)
class FirstStage:
    """What is fitted without one participant: the scores standardised, and their weights."""

    standardised: Floats
    weights: Floats


def first_stages(grid: Grid) -> dict[str, FirstStage]:
    """The first stage of each participant."""
    stages = {}
    for user, others in leave_one_out(grid.row_users):
        standardised = grid.standardised(others)
        stages[user] = FirstStage(standardised, grid.best_weights(standardised, grid.pairs.users != user))
    return stages


def second_stage(
    grid: Grid, stages: dict[str, FirstStage], reaction: Floats, name: str, coefficients: Floats
) -> dict[str, Floats]:
    """Margins of the scores, the weighted sum, the reaction, and of the sums with it, on left-out participants.

    Args:
        grid: The searches.
        stages: The first stage of each participant.
        reaction: What the face of each image's viewer says, from a fit without that viewer, (rows,).
        name: What models call it.
        coefficients: Coefficients of the reaction, to choose from.
    """
    own_weights = np.stack([stages[user].weights for user in grid.row_users])
    bases = (*SCORERS, "weighted_sum")
    margins = {model: np.empty(len(grid.pairs)) for model in (*bases, name, *(f"{base}+{name}" for base in bases))}
    for user, training in leave_one_out(grid.pairs.users):
        standardised = stages[user].standardised
        weighted_sum = (standardised * own_weights).sum(axis=1)
        for model, base in zip(bases, (*standardised.T, weighted_sum), strict=True):
            total = base + grid.best_coefficient(base, reaction, coefficients, training) * reaction
            margins[model][~training] = grid.difference(base)[~training]
            margins[f"{model}+{name}"][~training] = grid.difference(total)[~training]
    return margins | {name: grid.difference(reaction)}


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
    grid = Grid(used.columns(SCORERS), used.pairs(), row_users)
    if len(set(grid.pairs.users)) < 2:
        raise FergiRewardError(f"paper-v1 leaves one participant out, and only {len(set(grid.pairs.users))} is left")
    activations = used.columns(["au4"])[:, 0] / used.au_unit
    gains = selection_gains(grid.pairs, activations)
    published = PUBLISHED if used.fingerprint() == FERGI_FINGERPRINT else {}
    return Outcome(
        used,
        _final_fits(grid, activations, gains, used.au_unit),
        _held_out(grid, activations, gains),
        "au4",
        excluded,
        published,
    )


def left_out_selections(grid: Grid, activations: Floats, gains: NDArray[np.int8]) -> tuple[Floats, Floats]:
    """The valence of each image, (rows,), and the threshold of each pair, (pairs,), from the other participants."""
    selections = {user: best_selection(gains, grid.pairs.users != user) for user in np.unique(grid.row_users)}
    valences = valence(activations, np.array([selections[user].decay for user in grid.row_users]))
    return valences, np.array([selections[user].threshold for user in grid.pairs.users])


def _held_out(grid: Grid, activations: Floats, gains: NDArray[np.int8]) -> tuple[HeldOut, ...]:
    """Margins of every model on each pair, from fits without that pair's participant."""
    valences, thresholds = left_out_selections(grid, activations, gains)
    margins = second_stage(grid, first_stages(grid), valences, "au4", COEFFICIENTS)
    selected = np.abs(margins["au4"]) > thresholds
    margins["au4_selected"] = margins["au4"][selected]
    margins["weighted_sum_selected"] = margins["weighted_sum"][selected]
    users = {name: grid.pairs.users[selected] if name.endswith("selected") else grid.pairs.users for name in margins}
    return tuple(HeldOut(name, margins[name], users[name]) for name in PUBLISHED)


def scorer_fits(grid: Grid) -> list[Fit]:
    """The weights of each score and of their sum from all participants, which is what a reward uses."""
    everything = np.ones(len(grid.pairs), dtype=bool)
    mean, std = grid.scores.mean(axis=0), grid.scores.std(axis=0, ddof=1)
    combined = grid.best_weights((grid.scores - mean) / std, everything)
    numbers = list(zip(SCORERS, mean.tolist(), std.tolist(), combined.tolist(), strict=True))
    single = [Fit(name, (Term(name, centre, spread, 1.0),)) for name, centre, spread, _ in numbers]
    return [*single, Fit("weighted_sum", tuple(Term(*number) for number in numbers))]


def _final_fits(grid: Grid, activations: Floats, gains: NDArray[np.int8], unit: float) -> tuple[Fit, ...]:
    everything = np.ones(len(grid.pairs), dtype=bool)
    decay = best_selection(gains, everything).decay
    valences = valence(activations, decay)
    fits = []
    for fit in scorer_fits(grid):
        columns = [SCORERS.index(name) for name in fit.term_names]
        mean, std, weights = np.array([(term.mean, term.std, term.weight) for term in fit.terms]).T
        base = (grid.scores[:, columns] - mean) / std @ weights
        coefficient = grid.best_coefficient(base, valences, COEFFICIENTS, everything)
        fits += [fit, Fit(f"{fit.name}+au4", (*fit.terms, Term("au4", 0.0, 1.0, coefficient, per_unit(decay, unit))))]
    return tuple(fits)
