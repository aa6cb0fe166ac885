"""Whether scores are those that a calibration's weights were fitted on."""

import warnings
from collections.abc import Iterable

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardWarning
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.signature import weights_signature


def signatures_of(scorers: Iterable[LoadedScorer]) -> dict[str, str]:
    """What a calibration stores of the scorers that gave its scores, by term; nothing of one without weights."""
    found = {scorer.name: weights_signature(scorer) for scorer in scorers}
    return {term: signature for term, signature in found.items() if signature}


def warn_of_other_scorers(calibrations: Iterable[Calibration], scorers: Iterable[LoadedScorer]) -> None:
    """Warn of each scorer that is not the one of its term, as far as one of the calibrations knows that one."""
    known = list(calibrations)
    for scorer in scorers:
        for calibration in known:
            warn_of_other_weights(calibration, scorer)


def warn_of_other_weights(calibration: Calibration, scorer: LoadedScorer) -> None:
    """Warn where a scorer is not the one that gave the scores of its term, as far as the calibration knows that one."""
    known = calibration.scored_by.get(scorer.name)
    if known is not None and known != weights_signature(scorer):
        warnings.warn(
            f"the calibration was fitted on scores of another checkpoint of {scorer.name} than the one that is loaded, "
            "and the total may mean nothing: give that checkpoint, or calibrate with this one",
            FergiRewardWarning,
            stacklevel=2,
        )
