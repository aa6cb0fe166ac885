"""What the signals measure: how scores and action units go with the ratings and the emotions that viewers gave.

The three scorers see whether an image matches its prompt (alignment); the brow lowerer sees whether it looks right
(fidelity), which is the FERGI paper's reason to add it (arXiv 2312.03187).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ranksums, spearmanr, t

from fergi_reward.data.table import KEY, PreferenceTable
from fergi_reward.reactions.clip import is_action_unit, valence
from fergi_reward.reactions.scale import per_unit

# The decay coefficient that the paper chooses on all its participants, so that figures can be compared with it.
PAPER_DECAY = 0.4
RATINGS = ["alignment_rating", "fidelity_rating"]
MIDDLE_RATING = 4
# Activations are thirds of thousandths; without rounding, the last bits would decide which of equal ones ranks higher.
DECIMALS = 9


@dataclass(frozen=True)
class Tested:
    """A statistic, and the probability of one at least as far from 0 where there is nothing to find (two-sided)."""

    value: float
    p_value: float


def rating_correlations(table: PreferenceTable) -> dict[str, Tested]:
    """Spearman's correlation of each action unit's activation with the overall rating; empty without ratings."""
    rated = _rated(table.images, ["overall_rating"])
    return {} if rated.empty else _correlations(rated, rated["overall_rating"], table.au_unit)


def extremity_correlations(table: PreferenceTable) -> dict[str, Tested]:
    """The same with the distance of the overall rating from the middle: a face that moves at good and bad images."""
    rated = _rated(table.images, ["overall_rating"])
    return {} if rated.empty else _correlations(rated, (rated["overall_rating"] - MIDDLE_RATING).abs(), table.au_unit)


def _correlations(images: pd.DataFrame, rating: "pd.Series[float]", scale: float) -> dict[str, Tested]:
    if rating.nunique() < 2:
        return {}
    tests = {unit: spearmanr((images[unit] / scale).round(DECIMALS), rating) for unit in _action_units(images)}
    return {unit: Tested(float(test.statistic), float(test.pvalue)) for unit, test in tests.items()}


def emotion_rank_sums(table: PreferenceTable, emotions: pd.DataFrame) -> dict[str, dict[str, Tested]]:
    """Wilcoxon's rank-sum test of each action unit between the images at which viewers felt something and the others.

    Args:
        table: Images with reactions.
        emotions: Their `user`, `session` and `image`, and a boolean column per emotion.

    Returns:
        By emotion and action unit, the z value, above 0 where the activation is higher with the emotion.
    """
    images = table.images.merge(emotions, on=KEY, validate="one_to_one")
    tests: dict[str, dict[str, Tested]] = {}
    for emotion in emotions.columns.difference(KEY, sort=False):
        felt = images[emotion].astype(bool)
        pairs = {unit: (images[unit] / table.au_unit).round(DECIMALS) for unit in _action_units(images)}
        found = {unit: ranksums(activation[felt], activation[~felt]) for unit, activation in pairs.items()}
        tests[emotion] = {unit: Tested(float(test.statistic), float(test.pvalue)) for unit, test in found.items()}
    return tests


def quartiles(activations: "pd.Series[float]", groups: "pd.Series[Any]") -> dict[Any, tuple[float, float, float]]:
    """The first, second and third quartile of the activations of each group."""
    found = activations.groupby(groups).quantile([0.25, 0.5, 0.75]).unstack()
    return {group: (float(row[0.25]), float(row[0.5]), float(row[0.75])) for group, row in found.iterrows()}


def rating_regressions(table: PreferenceTable, scorers: Sequence[str]) -> dict[str, tuple[Tested, Tested]]:
    """Least squares of each signal on both ratings.

    Args:
        table: Images with reactions. Ratings are in the columns `alignment_rating` and `fidelity_rating`, 1 to 7, 0
            where not given.
        scorers: The columns of scores. The other signals are the valences of all action units.

    Returns:
        By signal, the standard deviations that it moves with a point of alignment, and with a point of fidelity; empty
        without ratings.
    """
    rated = _rated(table.images, RATINGS)
    if rated.empty:
        return {}
    return regress(standardised_signals(table, scorers).loc[rated.index], rated[RATINGS])


def standardised_signals(table: PreferenceTable, scorers: Sequence[str]) -> pd.DataFrame:
    """Scores and valences by their mean and sample standard deviation over all images, except for constant ones."""
    signals = table.images[list(scorers)].assign(
        **{
            name: valence(table.images[name], per_unit(PAPER_DECAY, table.au_unit))
            for name in table.images
            if is_action_unit(name)
        }
    )
    signals = signals.loc[:, _varying(signals)]
    return (signals - signals.mean()) / signals.std()


def regress(signals: pd.DataFrame, ratings: pd.DataFrame) -> dict[str, tuple[Tested, Tested]]:
    """Least squares of each signal on two ratings and a constant, with the t-test of each slope."""
    design = np.column_stack([np.ones(len(ratings)), ratings])
    coefficients, *_ = np.linalg.lstsq(design, signals.to_numpy(), rcond=None)
    freedom = max(len(ratings) - design.shape[1], 1)
    variance = ((signals.to_numpy() - design @ coefficients) ** 2).sum(axis=0) / freedom
    errors = np.sqrt(np.outer(np.diag(np.linalg.pinv(design.T @ design)), variance))
    with np.errstate(divide="ignore"):
        chances = 2 * t.sf(np.abs(coefficients / errors), freedom)
    return {
        name: (Tested(float(slope[1]), float(chance[1])), Tested(float(slope[2]), float(chance[2])))
        for name, slope, chance in zip(signals, coefficients.T, chances.T, strict=True)
    }


def _action_units(images: pd.DataFrame) -> list[str]:
    return [name for name in _varying(images) if is_action_unit(name)]


def _varying(images: pd.DataFrame) -> list[str]:
    """The columns that are known of every image and not the same for all."""
    return [name for name in images if images[name].notna().all() and images[name].nunique() > 1]


def _rated(images: pd.DataFrame, ratings: list[str]) -> pd.DataFrame:
    """The images with all these ratings; none where the table does not know the ratings."""
    if not set(ratings) <= set(images):
        return images.iloc[:0]
    return images[(images[ratings] > 0).all(axis=1)]
