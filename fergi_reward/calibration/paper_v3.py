"""Protocol `paper-v3`: all action units, of all participants, through FAU-Net (a later version of arXiv 2312.03187).

Each participant's network is trained on the pairs of all others. Kept as published, as `paper-v1` is, and with the same
leak in the second stage (`grid.second_stage`). The networks are judged but not stored: the calibration that comes out
weighs scores alone.
"""

import numpy as np

from fergi_reward.calibration.grid import SCORERS, Grid, first_stages, scorer_fits, second_stage
from fergi_reward.calibration.outcome import Outcome
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.stats.held_out import HeldOut

NETWORK = "FAU-Net"
COEFFICIENTS = np.arange(0, 10.1, 0.1)  # as the authors' floating-point steps make them
# The rows of FERGI that the paper's figures come from.
FERGI_FINGERPRINT = "36582914214920a144ca39d5cea3cdcf9f9ce58c20dee4053c29fe17d9cfe95a"
# Accuracy in percent, left-out participants.
PUBLISHED = {
    "weighted_sum": 65.80,
    NETWORK: 59.35,
    f"image_reward+{NETWORK}": 65.21,
    f"pickscore+{NETWORK}": 66.28,
    f"hps_v2+{NETWORK}": 66.87,
    f"weighted_sum+{NETWORK}": 68.64,
}


def run(table: PreferenceTable, seed: int) -> Outcome:
    """Fit and evaluate `paper-v3`, with a progress bar.

    Args:
        table: Preferences with the columns `image_reward`, `pickscore`, `hps_v2` and a column per action unit.
        seed: Seed of the networks; the published figures are those of 0.

    Raises:
        FergiRewardError: A column is missing or constant, or fewer than two participants are left.
    """
    from fergi_reward.calibration import faunet  # torch takes seconds to load

    aus = [name for name in table.images if is_action_unit(name)]
    if not aus:
        raise FergiRewardError("paper-v3 needs action units, and the preference table has none")
    used = table.with_reactions(aus)
    grid = Grid(used.columns(SCORERS), used.pairs(), used.images["user"].to_numpy(dtype=str))
    if len(set(grid.pairs.users)) < 2:
        raise FergiRewardError(f"paper-v3 leaves one participant out, and only {len(set(grid.pairs.users))} is left")
    users, own = np.unique(grid.row_users, return_inverse=True)
    outputs = faunet.train(used.columns(aus) / used.au_unit, grid.pairs, users[:, None] != grid.pairs.users, seed)
    unseen = outputs[own, np.arange(len(own))]  # each image by the network that was trained without its participant
    margins = second_stage(grid, first_stages(grid), unseen, NETWORK, COEFFICIENTS)
    held_out = tuple(HeldOut(name, values, grid.pairs.users) for name, values in margins.items())
    published = PUBLISHED if used.fingerprint() == FERGI_FINGERPRINT else {}
    return Outcome(used, tuple(scorer_fits(grid)), held_out, NETWORK, published=published)
