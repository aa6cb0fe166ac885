"""What watches the trainers here for over-optimisation, for a training loop of somebody else.

A judge that is not trained on sees pictures of the same prompts and noise at every check: `trainers/guards.py` has the
test. The disagreement of a reward's scorers is no matter of the guard: `CombinedReward(uncertainty_penalty=…)`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from fergi_reward.adapters.host_pixels import from_picture, from_unit
from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.digests import record_digest
from fergi_reward.images import checked_pixels
from fergi_reward.scorers.base import Towers
from fergi_reward.stats.diversity import mean_pairwise_distance
from fergi_reward.trainers.guards import JudgeWatch, judge_metrics, judge_pictures
from fergi_reward.trainers.held_out import check_held_out
from fergi_reward.trainers.weights import copied, overwrite

# Prompts and a seed for each -> pictures, the b-th from the b-th seed alone: a tensor (B, 3, H, W) in [0, 1], or PIL.
Draw = Callable[[list[str], list[int]], Tensor | Sequence[Image.Image]]


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        step: As the loop counts.
        is_best: Whether the judges were never happier: save the weights.
        best_step: When they were happiest.
        must_stop: Whether they have fallen from there for as many checks as their patience.
        metrics: `judges/NAME_mean` and `judges/NAME_std` of each judge and of the reward, and `judges/diversity`.
    """

    step: int
    is_best: bool
    best_step: int
    must_stop: bool
    metrics: dict[str, float]


class RewardGuard:
    """Says when a reward rises and the pictures get worse.

    In a loop of several processes each holds a guard and calls `check`; each draws a part of the pictures, and all get
    the same verdict.

    Args:
        judges: By name, rewards that are not trained on.
        prompts: What the pictures are drawn from; two pictures at least.
        reward: What is trained on, to see both on the same pictures; a judge that it weighs is refused, also under
            another name, and the reward's scorers are loaded for that.
        images_per_prompt: Pictures of each prompt.
        diversity: A scorer with embeddings of pictures, such as CLIP: how far apart the pictures of one prompt are is a
            metric then. A model that has collapsed draws one picture again and again.
        parameters: What is trained, as parameters or a module: the values that the judges liked most are kept, for
            `restore_best`.
        patience: Checks in a row by which the judges must have fallen.
        tolerance: Standard errors by which they must have fallen.
        batch_size: Pictures drawn at a time.
        seed: The first picture's seed; the others have the next ones.

    Raises:
        FergiRewardError: There is no judge, a judge is trained on, or there are too few pictures.
    """

    def __init__(
        self,
        judges: Mapping[str, Reward],
        prompts: Iterable[str],
        *,
        reward: Reward | None = None,
        images_per_prompt: int = 1,
        diversity: Towers | None = None,
        parameters: Iterable[nn.Parameter] | nn.Module | None = None,
        patience: int = 2,
        tolerance: float = 2.0,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        prompts = prompts if isinstance(prompts, str) else list(prompts)
        parameters = list(parameters or []) if not isinstance(parameters, nn.Module) else [*parameters.parameters()]
        _check(judges, prompts, images_per_prompt, diversity, batch_size, patience, tolerance)
        if wrong := [one for one in parameters if not isinstance(one, Tensor)]:
            raise FergiRewardError(
                f"parameters hold a {type(wrong[0]).__name__}, must be tensors: give model.parameters()"
            )
        check_held_out(judges, reward)
        self._judges, self._reward, self._diversity = dict(judges), reward, diversity
        self._prompts = [prompt for prompt in prompts for _ in range(images_per_prompt)]
        self._seeds = [seed + number for number in range(len(self._prompts))]
        self._each, self._batch_size = images_per_prompt, batch_size
        self._parameters, self._best = parameters, list[Tensor]()
        self._watch = JudgeWatch(patience, tolerance)

    @property
    def has_checked(self) -> bool:
        """Whether it remembers a check, its own or that of a state that was loaded."""
        return self._watch.pictures > 0

    @property
    def keeps_weights(self) -> bool:
        """Whether `restore_best` has what to restore."""
        return bool(self._best)

    @torch.no_grad()
    def check(self, step: int, draw: Draw) -> Verdict:
        """Draw the pictures, and ask the judges.

        Args:
            step: As the loop counts; call it before the first step, too.
            draw: Draws a batch with the weights as they are.

        Raises:
            FergiRewardError: What was drawn is not a picture per prompt, or a judge's score is not finite.
        """
        rank, processes = _place()
        parts = []
        for start in range(rank * self._batch_size, len(self._prompts), processes * self._batch_size):
            rows = slice(start, start + self._batch_size)
            pixels = _pixels(draw(self._prompts[rows], self._seeds[rows]), len(self._prompts[rows]))
            scores = judge_pictures(self._judges, self._reward, [pixels], self._prompts[rows])
            parts.append((start, scores, self._embedded(pixels, self._prompts[rows])))
        parts = _of_all(parts)
        scores = {name: [score for _, part, _ in parts for score in part[name]] for name in parts[0][1]}
        return self._verdict(step, scores, self._distances([one for _, _, each in parts for one in each]))

    def check_scores(self, step: int, scores: Mapping[str, Sequence[float]]) -> Verdict:
        """The same for a host that draws and scores by itself; nothing is drawn or asked here.

        Args:
            step: As the loop counts; call it before the first step, too.
            scores: By judge one score per picture, of the same pictures in the same order each time. Others than the
                judges', such as the reward's, are only metrics.

        Raises:
            FergiRewardError: A judge has no scores, their number differs from the last time, or one is not finite.
        """
        listed = {name: [float(score) for score in each] for name, each in scores.items()}
        if lacking := [name for name in self._judges if name not in listed]:
            raise FergiRewardError(f"there are no scores of {', '.join(lacking)}, got those of {', '.join(listed)}")
        for name, each in listed.items():
            known = self._watch.pictures or len(each)
            if len(each) != known or known < 2:
                raise FergiRewardError(
                    f"{name} has {len(each)} scores, must be {max(known, 2)}: one per picture, always"
                )
            if not all(map(math.isfinite, each)):
                raise FergiRewardError(f"{name} has a score that is not finite, at step {step}")
        return self._verdict(step, listed, {})

    def _verdict(self, step: int, scores: Mapping[str, Sequence[float]], more: Mapping[str, float]) -> Verdict:
        counts = {len(scores[name]) for name in self._judges} | ({self._watch.pictures} - {0})
        if len(counts) > 1:
            raise FergiRewardError(
                f"the judges scored {min(counts)} and {max(counts)} pictures: the same pictures always"
            )
        is_best = self._watch.update(step, {name: scores[name] for name in self._judges})
        if is_best:
            self._best = copied(self._parameters)
        best_step = self._watch.best_epoch
        assert best_step is not None  # there is one after the first update
        return Verdict(step, is_best, best_step, self._watch.fallen, judge_metrics(scores) | dict(more))

    def restore_best(self) -> None:
        """Give the parameters the values that the judges liked most.

        Raises:
            FergiRewardError: None are kept.
        """
        if not self._best:
            raise FergiRewardError("no weights are kept: give RewardGuard the parameters, and check at least once")
        if [value.shape for value in self._best] != [value.shape for value in self._parameters]:
            raise FergiRewardError("the parameters have other shapes than when they were best: do not resize them")
        overwrite(self._parameters, self._best)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, for the loop's checkpoint; the best weights are on the CPU."""
        best = [value.cpu() for value in self._best]
        return {"of": self._identity(), "watch": self._watch.state_dict(), "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume with what `state_dict` returned.

        Raises:
            FergiRewardError: It is of other judges or pictures, whose scores do not compare.
        """
        if lacking := {"of", "watch", "best"} - state.keys():
            raise FergiRewardError(
                f"the guard's state lacks {', '.join(sorted(lacking))}: give what state_dict returned"
            )
        if state["of"] != self._identity():
            raise FergiRewardError(
                "the guard's state is of other judges, prompts, images_per_prompt, seed or shapes of parameters: "
                "give the same, or make a new guard"
            )
        self._watch.load_state_dict(state["watch"])
        kept = zip(state["best"], self._parameters, strict=False)  # none before the first check
        self._best = [value.to(parameter.device) for value, parameter in kept]

    def _identity(self) -> str:
        shapes = [[*parameter.shape] for parameter in self._parameters]
        return record_digest([sorted(self._judges), self._prompts, self._seeds, shapes])

    def _embedded(self, pixels: Tensor, prompts: list[str]) -> list[Tensor]:
        if self._diversity is None:
            return []
        return [*self._diversity.embed(pixels, prompts)[0].float().cpu()]

    def _distances(self, embeddings: Sequence[Tensor]) -> dict[str, float]:
        if not embeddings:
            return {}
        groups = torch.stack(list(embeddings)).unflatten(0, (-1, self._each))
        return {"judges/diversity": sum(map(mean_pairwise_distance, groups)) / len(groups)}


def _check(
    judges: Mapping[str, Reward],
    prompts: Sequence[str],
    images_per_prompt: int,
    diversity: Towers | None,
    batch_size: int,
    patience: int,
    tolerance: float,
) -> None:
    wrong = []
    if patience < 1:
        wrong.append(f"patience is {patience}, must be at least 1")
    if not 0 <= tolerance < math.inf:
        wrong.append(f"tolerance is {tolerance}, must be at least 0")
    if not judges:
        wrong.append("there is no judge")
    if isinstance(prompts, str):
        wrong.append("prompts is one text, must be a list of them")
    elif len(prompts) * images_per_prompt < 2:
        wrong.append(f"{len(prompts)} prompts x images_per_prompt {images_per_prompt} must be at least 2 pictures")
    if diversity is not None and images_per_prompt < 2:
        wrong.append(f"images_per_prompt is {images_per_prompt}, must be at least 2 to measure diversity")
    if batch_size < 1:
        wrong.append(f"batch_size is {batch_size}, must be at least 1")
    if wrong:
        raise FergiRewardError("; ".join(wrong))


def _pixels(drawn: Tensor | Sequence[Image.Image], expected: int) -> Tensor:
    if not isinstance(drawn, Tensor | list | tuple):
        raise FergiRewardError(
            f"draw gave a {type(drawn).__name__}, must give a tensor or a list of pictures: of a pipeline's output its "
            "images"
        )
    if len(drawn) != expected:
        raise FergiRewardError(f"draw gave {len(drawn)} pictures for {expected} prompts, must be one per prompt")
    if isinstance(drawn, Tensor):
        return checked_pixels(from_unit(drawn))
    listed = [from_picture(one) for one in drawn]
    if len(sizes := {(one.shape[2], one.shape[1]) for one in listed}) > 1:
        raise FergiRewardError(
            f"draw gave pictures of {len(sizes)} sizes, {min(sizes)} and {max(sizes)}: give one size"
        )
    return torch.stack(listed)


def _place() -> tuple[int, int]:
    """This process's number, and how many there are."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)


def _of_all(parts: list[Any]) -> list[Any]:
    """The parts of all processes, in the order of where they start."""
    _, processes = _place()
    if processes == 1:
        return parts
    found: list[Any] = [None] * processes
    torch.distributed.all_gather_object(found, parts)
    return sorted((part for each in found for part in each), key=lambda part: part[0])
