"""What the signals measure: how scores and action units go with the ratings that viewers gave.

The three scorers see whether an image matches its prompt (alignment); the brow lowerer sees whether it looks right
(fidelity), which is the FERGI paper's reason to add it (arXiv 2312.03187).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from fergi_reward.calibration.calibration import is_action_unit
from fergi_reward.calibration.table import PreferenceTable
from fergi_reward.reactions.clip import valence

# The decay coefficient that the paper chooses on all its participants, so that figures can be compared with it.
PAPER_DECAY = 0.4


def rating_correlations(table: PreferenceTable) -> dict[str, float]:
    """Spearman's correlation of each action unit's activation with the overall rating; empty without ratings."""
    rated = _rated(table.images, ["overall_rating"])
    if rated.empty or rated["overall_rating"].nunique() < 2:
        return {}
    units = [name for name in _varying(rated) if is_action_unit(name)]
    return {name: float(spearmanr(rated[name], rated["overall_rating"]).statistic) for name in units}


def rating_regressions(table: PreferenceTable, scorers: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Least squares of each signal on both ratings.

    Args:
        table: Images with reactions. Ratings are in the columns `alignment_rating` and `fidelity_rating`, 1 to 7, 0
            where not given.
        scorers: The columns of scores. The other signals are the valences of all action units.

    Returns:
        By signal, the standard deviations that it moves with a point of alignment, and with a point of fidelity; empty
        without ratings.
    """
    ratings = ["alignment_rating", "fidelity_rating"]
    rated = _rated(table.images, ratings)
    if rated.empty:
        return {}
    signals = table.images[list(scorers)].assign(
        **{name: valence(table.images[name], PAPER_DECAY) for name in table.images if is_action_unit(name)}
    )
    signals = signals.loc[:, _varying(signals)]
    standardised = ((signals - signals.mean()) / signals.std()).loc[rated.index]
    design = np.column_stack([np.ones(len(rated)), rated[ratings]])
    slopes = np.linalg.lstsq(design, standardised.to_numpy(), rcond=None)[0][1:]
    return {
        name: (float(alignment), float(fidelity)) for name, (alignment, fidelity) in zip(signals, slopes.T, strict=True)
    }


def _varying(images: pd.DataFrame) -> list[str]:
    """The columns that are known of every image and not the same for all."""
    return [name for name in images if images[name].notna().all() and images[name].nunique() > 1]


def _rated(images: pd.DataFrame, ratings: list[str]) -> pd.DataFrame:
    """The images with all these ratings; none where the table does not know the ratings."""
    if not set(ratings) <= set(images):
        return images.iloc[:0]
    return images[(images[ratings] > 0).all(axis=1)]
