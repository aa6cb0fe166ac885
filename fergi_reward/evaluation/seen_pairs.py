"""What the weights of a calibration have seen of the pairs that they are judged on."""

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.counts import counted
from fergi_reward.data.pair_sketch import Overlap
from fergi_reward.evaluation.preferences_result import Seen

# Where none of so many pairs is known, a tenth of all could be: 95 % of such samples would have one.
LEAST = 30
HONEST = "Honest ones are what `fergi-reward calibrate` prints."


def seen_pairs(name: str, calibration: Calibration, hashes: NDArray[np.uint64]) -> tuple[Seen, Overlap | None, str]:
    """What a calibration has seen, how many of the pairs that is, and how to say it.

    Args:
        name: What reports call it.
        calibration: It.
        hashes: One per pair, as `pair_hashes` gives them.
    """
    if calibration.is_by_hand:
        return "by hand", None, f"{name} was not fitted: its weights are by hand."
    if calibration.fitted_pairs is None:
        return "unknown", None, f"{name} does not say which pairs it was fitted on: these may be among them."
    overlap = calibration.fitted_pairs.overlap(hashes)
    how = "" if overlap.is_exact else f" (estimated from {overlap.compared:,})"
    if overlap.found:
        share = "All" if overlap.found == overlap.compared else f"{percent_of(overlap)} %"
        among = f"{share} of these pairs are among those that {name} was fitted on, whoever judged them{how}"
        return "in sample", overlap, f"{among}: its figures are IN SAMPLE, they flatter it. {HONEST}"
    if not overlap.is_exact and overlap.compared < LEAST:
        fitted = f"{name} stores a sample of the {calibration.fitted_pairs.pairs:,} pairs that it was fitted on"
        few = f"only {counted(overlap.compared, 'pair')} of these can be compared with it"
        return "unknown", None, f"{fitted}, and {few}: too few to say whether these are among them."
    most = "" if overlap.is_exact else f"{how}: at most {100 * (1 - 0.05 ** (1 / overlap.compared)):.1f} %, with 95 %"
    none = f"{name} was fitted on none of these pairs{most}."
    return "nothing", overlap, f"{none} Pictures and prompts with other names are not recognised."


def percent_of(overlap: Overlap) -> str:
    """Its share in percent: neither 0 where there are some, nor 100 where these are not all."""
    percent = 100 * overlap.share
    return f"{percent:.0f}" if 0.5 <= percent < 99.5 else f"{percent:.2g}" if percent < 1 else f"{percent:.4g}"
