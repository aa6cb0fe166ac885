"""What trained weights have learned from, stretch by stretch of epochs, however often the run was resumed."""

from typing import Any

from fergi_reward.trainers.identity import Identity, described


class History:
    """The stretches of a run.

    Args:
        identity: What the run depends on, by content.
        learned_from: The reward or the pairs: anything that can `describe` itself, or has a name.

    Attributes:
        before: The stretches of the checkpoint that is resumed.
    """

    def __init__(self, identity: Identity, learned_from: object) -> None:
        self._parts = {key: str(part) for key, part in identity.items() if key != "judges"}
        self._learned_from = learned_from
        self.before: list[dict[str, Any]] = []

    def until(self, finished: int) -> list[dict[str, Any]]:
        """The stretches up to the end of an epoch, the last one last; each names its first and last epoch."""
        now = {**described(self._learned_from), "learned_from": self._parts}
        before, finished = list(self.before), max(1, finished)
        first = before[-1]["epochs"][1] + 1 if before else 1
        if before and before[-1] == {**now, "epochs": before[-1]["epochs"]}:
            first = before.pop()["epochs"][0]
        stretches = [*before, {**now, "epochs": [first, finished]}]
        return [
            {**stretch, "epochs": [start, min(end, finished)]}
            for stretch in stretches
            for start, end in [stretch["epochs"]]
            if start <= finished
        ]
