"""What calibrations make of a table of scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.reward import CombinedReward


def rewards_of(calibrations: Mapping[str, Calibration], terms: Sequence[str]) -> dict[str, CombinedReward]:
    """The reward of those terms that each calibration weighs; none where it weighs none of them.

    Raises:
        FergiRewardError: A calibration lacks a fit for just these.
    """
    weighed = {name: [term for term in terms if term in each.scorers] for name, each in calibrations.items()}
    return {name: CombinedReward(chosen, calibrations[name]) for name, chosen in weighed.items() if chosen}


def totals_of(reward: CombinedReward, scores: pd.DataFrame) -> NDArray[np.float64]:
    """The reward of every row, NaN where a score is missing.

    Args:
        reward: Knows its terms by name.
        scores: A column per term, (P rows).
    """
    scored = scores.notna().all(axis=1).to_numpy()
    terms = {name: torch.from_numpy(scores[name].to_numpy()[scored]) for name in reward.names}
    totals = np.full(len(scores), np.nan)
    totals[scored] = reward.combine(terms, [""] * int(scored.sum())).total.numpy()
    return totals
