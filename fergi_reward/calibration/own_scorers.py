"""The scorers of a calibration where nobody names any."""

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import is_path
from fergi_reward.scorers.registry import REGISTRY


def own_scorers(calibration: Calibration) -> list[str]:
    """All scorers that a calibration weighs. Its file may be a stranger's: a path in it would run any code.

    Raises:
        FergiRewardError: One is a path, or no scorer here.
    """
    names = calibration.scorers
    if paths := [name for name in names if is_path(name)]:
        raise FergiRewardError(
            f"the calibration weighs {', '.join(paths)}, and what a path names is run: if you trust it, name all "
            "scorers yourself, by --scorers or scorers=[...]"
        )
    if unknown := [name for name in names if REGISTRY.problems([name])]:
        fits = (fit.term_names for fit in calibration.fits)
        usable = max((fit for fit in fits if not REGISTRY.problems(fit)), key=len, default=())
        advice = f"leave it out by --scorers {','.join(usable)} or scorers={list(usable)}" if usable else "install it"
        raise FergiRewardError(
            f"the calibration weighs {', '.join(unknown)}, and no scorer of that name is installed: {advice}"
        )
    return list(names)
