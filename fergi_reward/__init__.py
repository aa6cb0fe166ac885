"""Reward models for fine-tuning text-to-image models, with a term for the viewer's face.

What is stable: the names that this package exports, and those that its folders export (`fergi_reward.scorers`,
`fergi_reward.trainers`, ...: each lists them in `__all__`, and its docstring says which file is for what). Where one of
them changes, the former one works for one release more, with a warning. Modules inside the folders, and all that is not
exported, may change with any release.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from fergi_reward.core.home import find_home
from fergi_reward.core.lazy import exports
from fergi_reward.core.missing_kernels import silence_missing_kernels
from fergi_reward.version import __version__ as __version__

find_home()
silence_missing_kernels()

if TYPE_CHECKING:
    from fergi_reward.best_of import best_of_n as best_of_n
    from fergi_reward.calibration.by_hand import by_hand as by_hand
    from fergi_reward.calibration.calibration import Calibration as Calibration
    from fergi_reward.calibration.from_arrays import fit_weights as fit_weights
    from fergi_reward.calibration.protocols import calibrate as calibrate
    from fergi_reward.callables.reward_output import RewardOutput as RewardOutput
    from fergi_reward.core.errors import FergiRewardError as FergiRewardError
    from fergi_reward.core.errors import FergiRewardWarning as FergiRewardWarning
    from fergi_reward.data.fergi import read_fergi as read_fergi
    from fergi_reward.data.layouts import read_reactions as read_reactions
    from fergi_reward.data.table import PreferenceTable as PreferenceTable
    from fergi_reward.faces.predicted import Predicted as Predicted
    from fergi_reward.faces.recorded import Recorded as Recorded
    from fergi_reward.prompt_reward import PromptReward as PromptReward
    from fergi_reward.remote_reward import RemoteReward as RemoteReward
    from fergi_reward.reward import CombinedReward as CombinedReward
    from fergi_reward.scorers.base import TowerScorer as TowerScorer
    from fergi_reward.scorers.foreign import Scorer as Scorer
    from fergi_reward.scorers.foreign import as_scorer as as_scorer
    from fergi_reward.scorers.registry import load_scorer as load_scorer
    from fergi_reward.scorers.registry import register_scorer as register_scorer

_exported, __dir__, __all__ = exports(
    __name__,
    {
        "Calibration": "calibration.calibration",
        "CombinedReward": "reward",
        "FergiRewardError": "core.errors",
        "FergiRewardWarning": "core.errors",
        "Predicted": "faces.predicted",
        "PreferenceTable": "data.table",
        "PromptReward": "prompt_reward",
        "Recorded": "faces.recorded",
        "RemoteReward": "remote_reward",
        "RewardOutput": "callables.reward_output",
        "Scorer": "scorers.foreign",
        "TowerScorer": "scorers.base",
        "as_scorer": "scorers.foreign",
        "best_of_n": "best_of",
        "by_hand": "calibration.by_hand",
        "calibrate": "calibration.protocols",
        "fit_weights": "calibration.from_arrays",
        "load_scorer": "scorers.registry",
        "read_fergi": "data.fergi",
        "read_reactions": "data.layouts",
        "register_scorer": "scorers.registry",
    },
)


def __getattr__(name: str) -> object:
    """Import an export at its first use."""
    if name == "RecordedReactions":
        warnings.warn("RecordedReactions is called Recorded; version 0.2 has no other name", DeprecationWarning, 2)
        return import_module("fergi_reward.faces.old_arguments").RecordedReactions
    return _exported(name)
