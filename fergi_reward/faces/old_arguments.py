"""What `face` replaces: arguments that version 0.1 showed, for one release more."""

import warnings
from collections.abc import Mapping
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.face import AU4, Face
from fergi_reward.faces.predicted import Predicted
from fergi_reward.faces.recorded import Recorded

OLD = {"reaction", "recorded", "predictor", "reaction_pessimism", "accept_chance"}


class RecordedReactions(Recorded):
    """The old name of `Recorded`, made of the AU4 activation by image."""

    def __init__(self, activations: Mapping[str, float], source: str) -> None:
        super().__init__({image: {AU4: activation} for image, activation in activations.items()}, source)


def face_of(face: Face | None, old: Mapping[str, Any]) -> Face | None:
    """The face that the old arguments mean, or the one that is given.

    Raises:
        TypeError: There are other arguments.
        FergiRewardError: The old arguments contradict each other, or `face`.
    """
    if unknown := sorted(old.keys() - OLD):
        raise TypeError(f"CombinedReward has no argument {', '.join(unknown)}")
    if not old:
        return face
    warnings.warn(
        f"{', '.join(old)}: give face=Recorded(...) or face=Predicted(...), version 0.2 has nothing else",
        DeprecationWarning,
        stacklevel=3,
    )
    given = {"recorded": old.get("recorded"), "predicted": old.get("predictor")}
    mode = old.get("reaction", "none")
    if (
        face
        or mode not in ("none", *given)
        or [name for name, one in given.items() if one] != [mode] * (mode != "none")
    ):
        raise FergiRewardError(f"reaction is {mode!r} with {', '.join(old)}: give face=Recorded(...) or Predicted(...)")
    if mode == "predicted":
        return Predicted(old["predictor"], old.get("reaction_pessimism", 1.0), old.get("accept_chance", False))
    return given.get(mode)
