"""An exponential moving average of the trained weights: smoother than their last values, which a few images moved."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from fergi_reward.trainers.weights import copied, overwrite, swapped_in


class EMA:
    """Averages of parameters, kept alongside them.

    The average starts at the first values, and as many updates as there were bound how slow it may be, so that a short
    run is not all start: the decay of update n, counted from 1, is min(decay, (1 + n) / (10 + n)), as in Flow-GRPO.

    Args:
        parameters: What is averaged; they keep their own values.
        decay: How much of the average a step leaves, in [0, 1).
        every: Updates of the parameters from one step to the next.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float, every: int = 1) -> None:
        self.parameters, self.decay, self.every, self.steps = parameters, decay, every, 0
        self.averages = copied(parameters)

    def update(self) -> None:
        """Count an update of the parameters, and take their values into the average if it is due."""
        self.steps += 1
        if self.steps % self.every:
            return
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.lerp_(parameter.detach(), 1 - decay)

    def swapped_in(self) -> AbstractContextManager[None]:
        """The averages in place of the parameters' values, inside the block."""
        return swapped_in(self.parameters, self.averages)

    def state_dict(self) -> dict[str, Any]:
        """The averages, and how many updates there were."""
        return {"steps": self.steps, "averages": self.averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the averages of another."""
        self.steps = state["steps"]
        overwrite(self.averages, state["averages"])
