"""Reward models for fine-tuning text-to-image models, with a term for the viewer's face."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from fergi_reward.core.home import find_home
from fergi_reward.version import __version__ as __version__

find_home()

# Name -> module. Imported at first use, so that `import fergi_reward` stays light.
_EXPORTS = {
    "Calibration": "calibration.calibration",
    "CombinedReward": "reward",
    "FergiRewardError": "core.errors",
    "PreferenceTable": "data.table",
    "Predicted": "faces.predicted",
    "Recorded": "faces.recorded",
    "RewardOutput": "callables.reward_output",
    "Scorer": "scorers.foreign",
    "TowerScorer": "scorers.base",
    "as_scorer": "scorers.foreign",
    "by_hand": "calibration.by_hand",
    "calibrate": "calibration.protocols",
    "load_scorer": "scorers.registry",
    "read_fergi": "data.fergi",
    "read_reactions": "data.layouts",
    "register_scorer": "scorers.registry",
}
__all__ = sorted(_EXPORTS)

if TYPE_CHECKING:
    from fergi_reward.calibration.by_hand import by_hand as by_hand
    from fergi_reward.calibration.calibration import Calibration as Calibration
    from fergi_reward.calibration.protocols import calibrate as calibrate
    from fergi_reward.callables.reward_output import RewardOutput as RewardOutput
    from fergi_reward.core.errors import FergiRewardError as FergiRewardError
    from fergi_reward.data.fergi import read_fergi as read_fergi
    from fergi_reward.data.layouts import read_reactions as read_reactions
    from fergi_reward.data.table import PreferenceTable as PreferenceTable
    from fergi_reward.faces.predicted import Predicted as Predicted
    from fergi_reward.faces.recorded import Recorded as Recorded
    from fergi_reward.reward import CombinedReward as CombinedReward
    from fergi_reward.scorers.base import TowerScorer as TowerScorer
    from fergi_reward.scorers.foreign import Scorer as Scorer
    from fergi_reward.scorers.foreign import as_scorer as as_scorer
    from fergi_reward.scorers.registry import load_scorer as load_scorer
    from fergi_reward.scorers.registry import register_scorer as register_scorer


def __getattr__(name: str) -> object:
    """Import an export at its first use."""
    if name == "RecordedReactions":
        warnings.warn("RecordedReactions is called Recorded; version 0.2 has no other name", DeprecationWarning, 2)
        return import_module("fergi_reward.faces.old_arguments").RecordedReactions
    if name not in _EXPORTS:
        raise AttributeError(f"module 'fergi_reward' has no attribute {name!r}")
    return getattr(import_module(f"fergi_reward.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_EXPORTS]
