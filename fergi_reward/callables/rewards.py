"""What a trainer asks of a reward, and the check on what it gets."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from fergi_reward.callables.answers import Answer, one_number_per_image, without_metadata
from fergi_reward.callables.side_stream import SideWork
from fergi_reward.core.errors import FergiRewardError


class RewardTerms(Protocol):
    """A reward made of several terms, as `RewardOutput` is."""

    @property
    def total(self) -> Tensor:
        """(B,) what is maximised."""

    @property
    def terms(self) -> Mapping[str, Tensor]:
        """(B,) each: its parts by name, which are only logged."""


class Reward(Protocol):
    """Any callable from pixels (B, 3, H, W), float in [0, 1], and B prompts to rewards (B,), higher being better."""

    def __call__(self, pixels: Tensor, prompts: list[str], /) -> Answer | RewardTerms:
        """The reward of each image."""


@dataclass(frozen=True)
class Rewards:
    """Rewards that were checked.

    Attributes:
        total: (B,) float32, finite; with gradient where the reward gave one.
        terms: (B,) float32 each, by name, without gradient; a term that an image lacks is NaN.
    """

    total: Tensor
    terms: dict[str, Tensor]

    @classmethod
    def cat(cls, parts: Sequence["Rewards"]) -> "Rewards":
        """Several batches as one."""
        terms = {name: torch.cat([part.terms[name] for part in parts]) for name in parts[0].terms}
        return cls(torch.cat([part.total for part in parts]), terms)

    def split(self, sizes: Sequence[int]) -> list["Rewards"]:
        """One batch as several, of as many images each: what `cat` undoes."""
        terms = {name: term.split(sizes) for name, term in self.terms.items()}
        return [
            Rewards(total, {name: parts[place] for name, parts in terms.items()})
            for place, total in enumerate(self.total.split(sizes))
        ]


def evaluate(reward: Reward, pixels: Tensor, prompts: list[str], called: str = "the reward") -> Rewards:
    """Compute the reward of images and check the answer; gradients are as the caller has set them.

    Args:
        reward: What is asked.
        pixels: (B, 3, H, W), float in [0, 1].
        prompts: B of them.
        called: What errors call it.

    Raises:
        FergiRewardError: The answer is not one finite number per image.
    """
    answer: Any = reward(pixels, prompts)
    total, terms = (answer.total, answer.terms) if hasattr(answer, "total") else (without_metadata(answer), {})
    checked = one_number_per_image(f"{called}'s total", total, pixels)
    finite = torch.isfinite(checked)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise FergiRewardError(
            f"{called} is {checked[row].item()} for image {row} of its batch, prompt {prompts[row]!r}: "
            "it must be finite"
        )
    return Rewards(
        checked,
        {name: one_number_per_image(f"{called}'s {name}", term, pixels).detach() for name, term in terms.items()},
    )


def check_gradients(without: Iterable[str]) -> None:
    """Refuse rewards through which no gradient goes, where one is needed.

    Args:
        without: Their names.

    Raises:
        FergiRewardError: There is one.
    """
    if names := list(without):
        raise FergiRewardError(
            f"no gradient goes through {', '.join(names)} (is_differentiable is False): leave it out, or train with "
            "DDPO or Flow-GRPO, which need none"
        )


class RewardQueue:
    """Scores batches one after the other, in a thread of its own if requested: the next is sampled meanwhile.

    At most one batch waits, so that memory does not grow. On the GPU that samples, the thread has a stream of its own:
    what the sampling leaves idle is used, and no more.

    Args:
        reward: What scores.
        background: Whether to use a thread.
    """

    def __init__(self, reward: Reward, background: bool) -> None:
        self._reward = reward
        self._pool = ThreadPoolExecutor(max_workers=1) if background else None
        self._scored: list[Rewards] = []
        # The pixels stay until their stream has waited for the scoring.
        self._pending: tuple[Future[Rewards], SideWork, Tensor] | None = None

    def __enter__(self) -> Self:
        """Use the queue; its thread ends with the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Let the thread finish its batch; a run that must end now does not wait for it."""
        if self._pool is None:
            return
        must_end = kind is not None and not issubclass(kind, Exception)
        if must_end and (abandon := getattr(self._reward, "abandon", None)):
            abandon()  # a remote reward would be asked for until its time limit
        self._pool.shutdown(wait=not must_end, cancel_futures=True)

    def put(self, pixels: Tensor, prompts: list[str]) -> None:
        """Score a batch, now or soon; an error of the one before is raised here."""
        if self._pool is None:
            self._scored.append(self._evaluate(pixels, prompts))
            return
        self._wait()
        work = SideWork(pixels.device)
        self._pending = self._pool.submit(self._evaluate_aside, work, pixels, prompts), work, pixels

    def rewards(self) -> Rewards:
        """The rewards of all batches, in the order in which they were put."""
        self._wait()
        return Rewards.cat(self._scored)

    def _wait(self) -> None:
        if self._pending:
            scored, work, _ = self._pending
            self._scored.append(scored.result())
            work.join()
            self._pending = None

    def _evaluate_aside(self, work: SideWork, pixels: Tensor, prompts: list[str]) -> Rewards:
        with work.running():
            return self._evaluate(pixels, prompts)

    # Whether gradients are on is a thread's own setting.
    @torch.no_grad()
    def _evaluate(self, pixels: Tensor, prompts: list[str]) -> Rewards:
        return evaluate(self._reward, pixels, prompts)


def reward_metrics(rewards: Rewards) -> dict[str, float]:
    """Mean and standard deviation of the reward and of each of its terms; a term that no image has is left out."""
    metrics = {}
    parts = {"reward": rewards.total} | {f"terms/{name}": term for name, term in rewards.terms.items()}
    for name, part in parts.items():
        if len(known := part[torch.isfinite(part)]):
            known = known.double()  # a float32 squares no large reward
            metrics[f"{name}_mean"] = known.mean().item()
            metrics[f"{name}_std"] = known.std(correction=0).item()
    return metrics
