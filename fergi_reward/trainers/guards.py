"""Against over-optimisation: judges that were never in the reward, and when to believe them that it went too far.

A reward is a model of what people like, and training finds where the model is wrong: from some point on the reward
rises and the pictures get worse (Gao et al., Scaling Laws for Reward Model Overoptimization, arXiv 2210.10760). A judge
that was not trained on has other errors and falls there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, evaluate
from fergi_reward.trainers.fall import Fall, measured
from fergi_reward.trainers.held_out import REWARD

# Keeps the standardised score finite where a judge gives all pictures the same.
EPSILON = 1e-8


@torch.no_grad()
def judge_pictures(
    judges: Mapping[str, Reward], reward: Reward | None, batches: Iterable[Tensor], prompts: Sequence[str]
) -> dict[str, list[float]]:
    """The score of each picture by each judge, and by the reward if there is one.

    Args:
        judges: By name.
        reward: Scores the same pictures, so that both can be compared.
        batches: Pixels (B, 3, H, W), batch by batch.
        prompts: One per picture of all batches.
    """
    asked = ({REWARD: reward} if reward else {}) | dict(judges)
    scores: dict[str, list[float]] = {name: [] for name in asked}
    called = {name: "the reward" if name == REWARD else f"the judge {name}" for name in asked}
    start = 0
    for pixels in batches:
        for name, judge in asked.items():
            shown = list(prompts[start : start + len(pixels)])
            scores[name] += evaluate(judge, pixels, shown, called[name]).total.tolist()
        start += len(pixels)
    return scores


def judge_metrics(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean and standard deviation over the pictures, of each name's scores."""
    metrics = {}
    for name, values in scores.items():
        table = torch.tensor(values, dtype=torch.float64)
        metrics[f"judges/{name}_mean"] = table.mean().item()
        metrics[f"judges/{name}_std"] = table.std(correction=0).item()
    return metrics


class JudgeWatch:
    """Remembers when the judges were happiest, and sees when they have fallen from there.

    Prompts and seeds are the same at each evaluation, so that pictures are compared one by one: `fall.py` says what is
    a fall. Several judges count as one, the mean of their scores, each standardised by the pictures of the first
    evaluation.

    Args:
        patience: Evaluations in a row that must be below the best one.
        tolerance: How many standard errors below it.

    Attributes:
        falls: Evaluations in a row that were below the best one.
        best_epoch: When the judges were happiest.
        fall: The last evaluation against the best one; None where it is the best, or remembered by others.
        fallen_judges: The judges, where there are several, that then lost more than half of the mean loss.
    """

    def __init__(self, patience: int, tolerance: float) -> None:
        self.patience, self.tolerance = patience, tolerance
        self.falls = 0
        self.fall: Fall | None = None
        self.best_epoch: int | None = None
        self._best: list[float] = []
        self._best_means: dict[str, float] = {}
        self.fallen_judges: list[str] = []
        self._first: dict[str, list[float]] = {}

    @property
    def pictures(self) -> int:
        """How many pictures each evaluation has, 0 before the first."""
        return len(self._best)

    @property
    def fallen(self) -> bool:
        """Whether the judges' patience is over."""
        return self.falls >= self.patience

    def update(self, epoch: int, scores: Mapping[str, Sequence[float]]) -> bool:
        """Take note of an evaluation; returns whether it is the best so far.

        Args:
            epoch: Finished epochs.
            scores: By judge, one per picture; the same pictures in the same order each time, at least two.
        """
        self._first = self._first or {name: list(values) for name, values in scores.items()}
        rows = self._standardised(scores)
        now, means = torch.stack(list(rows.values())).mean(0), {name: row.mean().item() for name, row in rows.items()}
        best = torch.tensor(self._best, dtype=torch.float64)
        if self.best_epoch is None or now.mean() > best.mean():
            self.best_epoch, self._best, self.falls, self.fall = epoch, now.tolist(), 0, None
            self._best_means, self.fallen_judges = means, []
            return True
        self.fall = measured(best, now, self.tolerance)
        lost = {name: value - means[name] for name, value in self._best_means.items() if name in means}
        least = max(self.fall.lost, 0.0) / 2
        self.fallen_judges = [name for name, value in lost.items() if value > least] if len(rows) > 1 else []
        self.falls = self.falls + 1 if self.fall.counts else 0
        return False

    def state_dict(self) -> dict[str, Any]:
        """What is remembered."""
        best = {"best": self._best, "best_means": self._best_means}
        return {"falls": self.falls, "best_epoch": self.best_epoch, "first": self._first, **best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what another watch remembered."""
        self.falls, self.best_epoch = state["falls"], state["best_epoch"]
        self._best, self._first = state["best"], state["first"]
        self._best_means = state.get("best_means", {})  # earlier checkpoints do not hold them

    def _standardised(self, scores: Mapping[str, Sequence[float]]) -> dict[str, Tensor]:
        """(N,) each: the judges' standardised scores."""
        rows = {}
        for name, values in scores.items():
            first = torch.tensor(self._first[name], dtype=torch.float64)
            now = torch.tensor(values, dtype=torch.float64)
            rows[name] = (now - first.mean()) / (first.std(correction=0) + EPSILON)
        return rows
