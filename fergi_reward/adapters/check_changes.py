"""What changed between the checks of a guard: whether it watches the model that trains.

Copies of the parameters never move, and a copy of the model draws the same pictures for ever: the judges then say
nothing about the training, and no error tells.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Scores = Mapping[str, Sequence[float]]
# In standard deviations of a judge's scores: what a GPU may change from one drawing to the next is smaller.
SHIFT = 0.01


class Changes:
    """Compares each check with the last one by which both the parameters and the scores had changed.

    Args:
        parameters: What is said to train; where there are none, scores alone are compared.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._before: tuple[int, list[float], Scores] | None = None
        self._moved: bool | None = None  # unknown before the second check

    @property
    def parameters_stood_still(self) -> bool:
        """Whether there are parameters, and none changed between any two checks."""
        return bool(self._parameters) and self._moved is False

    def note(self, step: int, scores: Scores) -> str | None:
        """Take note of a check; returns what must be wrong, in a sentence."""
        sums = _sums(self._parameters)
        if self._before is None:
            self._before = step, sums, scores
            return None
        since, old_sums, old_scores = self._before
        moved, is_same = sums != old_sums, scores == old_scores
        self._moved = moved or bool(self._moved)
        if is_same and (moved or not self._parameters):
            return f"every score is the same as at step {since}: are the pictures drawn by the model that trains?"
        if moved or not self._parameters:
            self._before = step, sums, scores
        elif _has_shifted(old_scores, scores):
            return (
                f"the scores changed and none of the parameters did since step {since}: are these the ones that train?"
            )
        return None


@torch.no_grad()
def _sums(parameters: Sequence[Tensor]) -> list[float]:
    """Two numbers of each tensor that any update changes, where a copy would take its memory."""
    sums = []
    for parameter in parameters:
        here = parameter.to_local() if hasattr(parameter, "to_local") else parameter  # a process has a part of a shard
        values: Tensor = here.float()
        sums += [values.sum(dtype=torch.float64).item(), torch.linalg.vector_norm(values, dtype=torch.float64).item()]
    return sums


def _has_shifted(before: Scores, now: Scores) -> bool:
    for name in before.keys() & now.keys():
        old, new = torch.tensor(before[name], dtype=torch.float64), torch.tensor(now[name], dtype=torch.float64)
        if (new - old).abs().max() > SHIFT * old.std(correction=0):
            return True
    return False
