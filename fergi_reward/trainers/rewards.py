"""What a trainer asks of a reward, and the check on what it gets."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from fergi_reward.errors import FergiRewardError
from fergi_reward.trainers.side_stream import SideWork

# Letters of an answer that is no reward, in a sentence.
LONGEST_SHOWN = 100


class RewardTerms(Protocol):
    """A reward made of several terms, as `fergi_reward.reward.RewardOutput` is."""

    @property
    def total(self) -> Tensor:
        """(B,) what is maximised."""

    @property
    def terms(self) -> Mapping[str, Tensor]:
        """(B,) each: its parts by name, which are only logged."""


# One number an image; of a single image also the number alone.
Numbers = Tensor | np.ndarray | Sequence[float] | float
# TRL's reward functions add metadata, which is not looked at.
Answer = Numbers | RewardTerms | tuple[Numbers, Any]


class Reward(Protocol):
    """Any callable from pixels (B, 3, H, W), float in [0, 1], and B prompts to rewards (B,), higher being better."""

    def __call__(self, pixels: Tensor, prompts: list[str], /) -> Answer:
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


def evaluate(reward: Reward, pixels: Tensor, prompts: list[str]) -> Rewards:
    """Ask a reward for its opinion of images and check the answer; gradients are as the caller has set them.

    Raises:
        FergiRewardError: The answer is not one finite number an image.
    """
    answer: Any = reward(pixels, prompts)
    total, terms = (answer.total, answer.terms) if hasattr(answer, "total") else (_without_metadata(answer), {})
    checked = _checked("total", total, pixels)
    finite = torch.isfinite(checked)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise FergiRewardError(
            f"the reward is {checked[row].item()} for image {row} of its batch, prompt {prompts[row]!r}: "
            "a reward must be finite"
        )
    return Rewards(checked, {name: _checked(name, term, pixels).detach() for name, term in terms.items()})


class RewardQueue:
    """Scores batches one after the other, in a thread of its own if so asked: the next is sampled meanwhile.

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
        """Let the thread finish what it is at; a run that is to end now does not wait for it."""
        if self._pool:
            self._pool.shutdown(wait=kind is None or issubclass(kind, Exception), cancel_futures=True)

    def put(self, pixels: Tensor, prompts: list[str]) -> None:
        """Score a batch, now or soon; an error of the one before is raised here."""
        if self._pool is None:
            self._scored.append(self._evaluate(pixels, prompts))
            return
        self._wait()
        work = SideWork(pixels.device)
        self._pending = self._pool.submit(self._evaluate_aside, work, pixels, prompts), work, pixels

    def rewards(self) -> Rewards:
        """Of all batches, in the order in which they were put."""
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


def _without_metadata(answer: object) -> object:
    """The rewards of a pair of rewards and metadata: a mapping, one an image, or none."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        return answer
    rewards, metadata = answer
    each = metadata if isinstance(metadata, list | tuple) and metadata else [metadata]
    return rewards if all(one is None or isinstance(one, Mapping) for one in each) else answer


def _checked(name: str, value: object, pixels: Tensor) -> Tensor:
    numbers = _tensor(name, value)
    if numbers.shape != pixels.shape[:1] and not (numbers.ndim == 0 and len(pixels) == 1):
        raise FergiRewardError(
            f"the reward's {name} has shape {tuple(numbers.shape)} for pixels of shape {tuple(pixels.shape)}: "
            f"it must be ({len(pixels)},), one number an image"
        )
    return numbers.reshape(len(pixels)).to(pixels.device, torch.float32)


def _tensor(name: str, value: object) -> Tensor:
    """Numbers in any form as a tensor; gradients of tensors, and of tensors in a list, are kept."""
    try:
        if isinstance(value, list | tuple) and value and all(isinstance(one, Tensor) for one in value):
            value = torch.stack(list(value))
        numbers = value if isinstance(value, Tensor) else torch.from_numpy(_array(value))
        if numbers.is_complex() or numbers.layout != torch.strided:
            raise TypeError("complex numbers have no order, and sparse ones no rows")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FergiRewardError(
            f"the reward's {name} is {_shortened(value)}: it must be one number an image (a tensor, an array or a list)"
        ) from error
    return numbers


def _array(value: object) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{array.dtype} is no number")
    return np.ma.filled(np.ma.asarray(value).astype(np.float64), np.nan)  # what is masked is no number


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"a {type(value).__name__} {text[:LONGEST_SHOWN]} …"


def reward_metrics(rewards: Rewards) -> dict[str, float]:
    """Mean and standard deviation of the reward and of each of its terms; a term that no image has is left out."""
    metrics = {}
    parts = {"reward": rewards.total} | {f"terms/{name}": term for name, term in rewards.terms.items()}
    for name, part in parts.items():
        if len(known := part[torch.isfinite(part)]):
            metrics[f"{name}_mean"] = known.mean().item()
            metrics[f"{name}_std"] = known.std(correction=0).item()
    return metrics
