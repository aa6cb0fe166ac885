"""What watches the trainers here for over-optimisation, for a training loop of somebody else.

A judge that is not trained on sees pictures of the same prompts and noise at every check: `trainers/guards.py` has the
test. The disagreement of a reward's scorers is no matter of the guard: `CombinedReward(uncertainty_penalty=…)`.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from fergi_reward.adapters.check_changes import Changes
from fergi_reward.adapters.first_scores import check_first_scores
from fergi_reward.adapters.host_pixels import from_picture, from_unit
from fergi_reward.callables.rewards import Reward
from fergi_reward.core.alike import folded
from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.files.digests import record_digest
from fergi_reward.images import checked_pixels
from fergi_reward.scorers.base import Towers
from fergi_reward.stats.diversity import mean_pairwise_distance
from fergi_reward.trainers.fall import Fall
from fergi_reward.trainers.guards import JudgeWatch, judge_metrics, judge_pictures
from fergi_reward.trainers.held_out import REWARD, check_held_out
from fergi_reward.trainers.weights import copied, overwrite

# Prompts and a seed for each -> pictures, the b-th from the b-th seed alone: a tensor (B, 3, H, W) in [0, 1], or PIL.
Draw = Callable[[list[str], list[int]], Tensor | Sequence[Image.Image]]
# Mean difference of pixels in [0, 1]: two levels of 8 bits. Other noise moves those of the smallest toy by 0.13.
SAME = 2 / 255


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        step: As the loop counts.
        is_best: Whether the judges were never happier: save the weights.
        best_step: When they were happiest.
        must_stop: Whether they have fallen from there for as many checks as their patience.
        metrics: `judges/NAME_mean` and `judges/NAME_std` of each judge and of the reward, the mean of their scores of
            all pictures and how much these differ (the standard deviation); and `judges/diversity`.
        reason: Why, in a sentence, with the size of a fall.
        fall: The same as numbers; None where this check is the best.
    """

    step: int
    is_best: bool
    best_step: int
    must_stop: bool
    metrics: dict[str, float]
    reason: str
    fall: Fall | None


class RewardGuard:
    """Says when a reward rises and the pictures get worse.

    A check is a fall if the mean of the prompts is below the best one by 0.1 standard deviations of the first check's
    scores at least, and by more than chance: two standard errors of the paired differences, of few prompts more
    (`trainers/fall.py`). It takes two falls in a row to stop. From fewer than 20 prompts little is certain.

    In a loop of several processes each holds a guard and calls `check`; each draws a part of the pictures, and all get
    the same verdict.

    Args:
        judges: By name, rewards that are not trained on: scorers, or functions of pixels (B, 3, H, W) and B prompts.
        prompts: What the pictures are drawn from; two at least, better twenty.
        reward: What is trained on, to see both on the same pictures; a judge that it weighs is refused, also under
            another name, and the reward's scorers are loaded for that.
        images_per_prompt: Pictures of each prompt.
        diversity: A scorer with embeddings of pictures, such as CLIP: how far apart the pictures of one prompt are is a
            metric then. A model that has collapsed draws one picture again and again.
        parameters: What is trained, as parameters, or a module of which those are meant that need a gradient: the
            values that the judges liked most are kept, for `restore_best`.
        patience: Checks in a row by which the judges must have fallen.
        tolerance: Standard errors by which many prompts must have fallen.
        batch_size: Pictures drawn at a time.
        seed: The first picture's seed; the others have the next ones.

    Raises:
        FergiRewardError: There is no judge, a judge is trained on, there are too few prompts, or no parameters.
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
        _check(judges, prompts, images_per_prompt, diversity, batch_size, patience, tolerance)
        check_held_out(judges, reward)
        self._judges, self._reward, self._diversity = dict(judges), reward, diversity
        self._prompts = [prompt for prompt in prompts for _ in range(images_per_prompt)]
        self._seeds = [seed + number for number in range(len(self._prompts))]
        self._each, self._batch_size = images_per_prompt, batch_size
        self._parameters, self._best = _trained(parameters), list[Tensor]()
        self._steps: tuple[int, int] | None = None
        self._watch = JudgeWatch(patience, tolerance)
        self._changes, self._told_apart = Changes(self._parameters), False

    @property
    def has_checked(self) -> bool:
        """Whether it remembers a check, its own or that of a state that was loaded."""
        return self._steps is not None

    @property
    def keeps_weights(self) -> bool:
        """Whether `restore_best` has what to restore."""
        return bool(self._best)

    def check(self, step: int, draw: Draw) -> Verdict:
        """Draw the pictures, and ask the judges. The first time a batch is drawn twice, to see that seeds matter.

        It warns where the scores change and none of the parameters does, or where no score changes: what is watched is
        then not what trains. The first time it also warns of a judge that gives all pictures the same score or
        moves with one of the reward's terms, and where there is no reward to compare with.

        Args:
            step: As the loop counts; call it before the first step, too.
            draw: Draws a batch with the weights as they are.

        Raises:
            FergiRewardError: What was drawn is not a picture per prompt, other pictures come from the same seeds, a
                judge's score is not finite, its first scores are the reward's, or the step is not after the last one.
        """
        self._check_step(step)
        scores, terms, distances = self._drawn(draw)
        return self._verdict(step, scores, terms, distances)

    @torch.no_grad()
    def _drawn(self, draw: Draw) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, float]]:
        """The scores of all pictures, those of the reward's terms, and the diversity of the pictures."""
        rank, processes = _place()
        parts = list[tuple[int, dict[str, list[float]], dict[str, list[float]], list[Tensor]]]()
        for start in range(rank * self._batch_size, len(self._prompts), processes * self._batch_size):
            rows = slice(start, start + self._batch_size)
            pixels = _pixels(draw(self._prompts[rows], self._seeds[rows]), len(self._prompts[rows]))
            if not (parts or self.has_checked):
                again = draw(self._prompts[rows], self._seeds[rows])
                _check_repeats(pixels, _pixels(again, len(pixels)))
            terms = dict[str, list[float]]()
            reward = partial(_noted, self._reward, terms) if self._reward else None
            scores = judge_pictures(self._judges, reward, [pixels], self._prompts[rows])
            parts.append((start, scores, terms, self._embedded(pixels, self._prompts[rows])))
        parts = _of_all(parts)
        scores, terms = _joined([part[1] for part in parts]), _joined([part[2] for part in parts])
        return scores, terms, self._distances([one for part in parts for one in part[3]])

    def check_scores(self, step: int, scores: Mapping[str, Sequence[float]]) -> Verdict:
        """The same for a host that draws and scores by itself; nothing is drawn or asked here.

        Args:
            step: As the loop counts; call it before the first step, too.
            scores: By judge one score per picture, of the same pictures in the same order each time, those of a prompt
                one after the other. Others than the judges', such as the reward's, are only metrics.

        Raises:
            FergiRewardError: A judge has no scores, their number differs from the last time, one is not finite, a
                judge's first scores are those of "reward", or the step is not after the last one.
        """
        self._check_step(step)
        listed = {name: [float(score) for score in each] for name, each in scores.items()}
        if lacking := [name for name in self._judges if name not in listed]:
            raise FergiRewardError(f"there are no scores of {', '.join(lacking)}, got those of {', '.join(listed)}")
        for name, each in listed.items():
            known = self._watch.pictures * self._each or len(each)
            if len(each) != known or known < 2 * self._each or known % self._each:
                raise FergiRewardError(
                    f"{name} has {len(each)} scores, must be {max(known, 2 * self._each)}: one per picture, always, "
                    f"{self._each} of each prompt"
                )
            if not all(map(math.isfinite, each)):
                raise FergiRewardError(f"{name} has a score that is not finite, at step {step}")
        return self._verdict(step, listed, {}, {})

    def _verdict(
        self,
        step: int,
        scores: Mapping[str, Sequence[float]],
        terms: Mapping[str, Sequence[float]],
        more: Mapping[str, float],
    ) -> Verdict:
        units = {name: _by_prompt(scores[name], self._each) for name in self._judges}
        counts = {len(each) for each in units.values()} | ({self._watch.pictures} - {0})
        if len(counts) > 1:
            raise FergiRewardError(f"the judges scored {min(counts)} and {max(counts)} prompts: the same always")
        if not self.has_checked:
            if self._reward is None and REWARD not in scores:
                said = "RewardGuard was given no reward, so that nothing shows whether a judge is in it: give reward="
                warnings.warn(said, FergiRewardWarning, stacklevel=3)
            check_first_scores(self._judges, scores, terms)
        if wrong := self._changes.note(step, scores):
            warnings.warn(wrong, FergiRewardWarning, stacklevel=3)
        is_best = self._watch.update(step, units)
        if is_best:
            self._best = copied(self._parameters)
        fall = self._watch.fall
        self._told_apart |= self.has_checked and (fall is None or any(fall.ci95))
        self._steps = (self._steps[0] if self._steps else step, step)
        best_step = self._watch.best_epoch
        assert best_step is not None  # there is one after the first update
        metrics = judge_metrics(scores) | dict(more)
        return Verdict(step, is_best, best_step, self._watch.fallen, metrics, self._reason(), fall)

    def _check_step(self, step: int) -> None:
        if self._steps and step <= self._steps[1]:
            raise FergiRewardError(
                f"step {step} is checked after step {self._steps[1]}: count on, or make a new guard for a new training"
            )

    def _reason(self) -> str:
        watch, fall = self._watch, self._watch.fall
        if fall is None:
            return "the judges' scores are the best so far"
        said = fall.said("prompts")
        like = "as" if said.startswith("the same") else "than"
        size = f"the judges' scores are {said} {like} at step {watch.best_epoch}"
        if fall.counts and watch.fallen_judges:
            size += f", lower by {', '.join(watch.fallen_judges)}"
        if not fall.counts:
            return f"{size}: no fall that counts"
        if watch.fallen:
            return f"{size}: fall {watch.falls} in a row, stop"
        return f"{size}: fall {watch.falls} of {watch.patience} in a row"

    def restore_best(self) -> None:
        """Give the parameters the values that the judges liked most; warns where these are those of the first check.

        Where the judges gave the same scores at all checks, none is the best: the parameters stay, with a warning. It
        warns, too, where the parameters never changed between the checks.

        Raises:
            FergiRewardError: None are kept.
        """
        if not (self._best and self._steps):
            raise FergiRewardError("no weights are kept: give RewardGuard the parameters, and check at least once")
        if [value.shape for value in self._best] != [value.shape for value in self._parameters]:
            raise FergiRewardError("the parameters have other shapes than when they were best: do not resize them")
        first, last = self._steps
        if last > first and not self._told_apart:
            said = "the judges gave the same scores at all checks, so none was the best: the weights stay as they are"
            warnings.warn(said, FergiRewardWarning, stacklevel=2)
            return
        overwrite(self._parameters, self._best)
        if self._changes.parameters_stood_still:
            said = (
                "none of the parameters changed between the checks, so nothing that trained was restored: give "
                "RewardGuard the parameters that the optimiser has, no copies"
            )
        elif self._watch.best_epoch == first:
            said = (
                f"the judges liked step {first} best, their first check: the weights are again those of that time, and "
                "if nothing was trained before it they draw what the base model draws"
            )
        else:
            return
        warnings.warn(said, FergiRewardWarning, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, for the loop's checkpoint; the best weights are on the CPU."""
        best = [value.cpu() for value in self._best]
        return {"of": self._identity(), "steps": self._steps, "watch": self._watch.state_dict(), "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume with what `state_dict` returned.

        Raises:
            FergiRewardError: It is of other judges or pictures, whose scores do not compare.
        """
        if lacking := {"of", "steps", "watch", "best"} - state.keys():
            raise FergiRewardError(
                f"the guard's state lacks {', '.join(sorted(lacking))}: give what state_dict returned"
            )
        if state["of"] != self._identity():
            raise FergiRewardError(
                "the guard's state is of other judges, prompts, images_per_prompt, seed or shapes of parameters: "
                "give the same, or make a new guard"
            )
        self._watch.load_state_dict(state["watch"])
        self._steps = state["steps"]
        self._told_apart = self.has_checked  # of earlier checks it is not remembered
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
    wrong += _wrong_judges(judges)
    if isinstance(prompts, str):
        wrong.append("prompts is one text, must be a list of them")
    elif len(prompts) < 2:
        wrong.append(f"there are {len(prompts)} prompts, must be at least 2")
    else:
        wrong += _wrong_prompts(prompts)
    if images_per_prompt < 1:
        wrong.append(f"images_per_prompt is {images_per_prompt}, must be at least 1")
    elif diversity is not None and images_per_prompt < 2:
        wrong.append(f"images_per_prompt is {images_per_prompt}, must be at least 2 to measure diversity")
    if batch_size < 1:
        wrong.append(f"batch_size is {batch_size}, must be at least 1")
    if wrong:
        raise FergiRewardError("; ".join(wrong))


def _wrong_prompts(prompts: Sequence[object]) -> list[str]:
    """Prompts that are no text, blank, or differ in white space and capitals alone: each counts as one of many."""
    if strange := [one for one in prompts if not isinstance(one, str)]:
        return [f"prompts has a {type(strange[0]).__name__}, must be texts"]
    counts = Counter(folded(str(one)) for one in prompts)
    blank = counts.pop("", 0)
    wrong = [f"prompts has {blank} that say nothing: leave them out"] if blank else []
    repeated = [f"{one!r} {count} times" for one, count in counts.items() if count > 1]
    if repeated:
        wrong.append(
            f"prompts has {repeated[0]:.100} (capitals and white space aside): give each once, and images_per_prompt "
            "for more pictures"
        )
    return wrong


def _wrong_judges(judges: object) -> list[str]:
    if not isinstance(judges, Mapping):
        return [f"judges is a {type(judges).__name__}, must be a mapping from names, as in {{'clip': scorer}}"]
    if not judges:
        return ["there is no judge"]
    uncallable = [f"{name} is a {type(judge).__name__}" for name, judge in judges.items() if not callable(judge)]
    return [f"{'; '.join(uncallable)}: a judge is a scorer, or a function of pixels and prompts"] if uncallable else []


def _trained(parameters: Iterable[nn.Parameter] | nn.Module | None) -> list[nn.Parameter]:
    if parameters is None:
        return []
    if isinstance(parameters, nn.Module):
        listed = [one for one in parameters.parameters() if one.requires_grad]
    else:
        listed = list(parameters)
    if not listed:
        raise FergiRewardError(
            "parameters has none that is trained: give them after the adapter is added, and no used-up generator"
        )
    if wrong := [one for one in listed if not isinstance(one, Tensor)]:
        raise FergiRewardError(f"parameters hold a {type(wrong[0]).__name__}, must be tensors: give model.parameters()")
    return listed


def _noted(reward: Reward, terms: dict[str, list[float]], pixels: Tensor, prompts: list[str]) -> Any:  # noqa: ANN401
    """What a reward answers; its terms, where it tells them, are noted."""
    answer: Any = reward(pixels, prompts)
    found = answer.terms.items() if hasattr(answer, "total") else ()
    terms.update({name: term.float().reshape(-1).tolist() for name, term in found if isinstance(term, Tensor)})
    return answer


def _joined(parts: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """The scores of batches as those of all pictures."""
    return {name: [score for part in parts for score in part.get(name, ())] for name in parts[0]}


def _by_prompt(scores: Sequence[float], each: int) -> list[float]:
    """The mean of each prompt's pictures, which are not independent."""
    return torch.tensor(scores, dtype=torch.float64).unflatten(0, (-1, each)).mean(1).tolist()


def _check_repeats(pixels: Tensor, again: Tensor) -> None:
    """Refuse pictures that the seeds do not decide; a GPU may change low bits."""
    if pixels.shape != again.shape or (pixels - again).abs().mean() > SAME:
        raise FergiRewardError(
            "draw gave other pictures from the same prompts and seeds: draw the b-th from the b-th seed, as in "
            "generator=[torch.Generator(device).manual_seed(seed) for seed in seeds]"
        )


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
