"""Requests of many callers that meet become one batch; each caller gets the rows of its own."""

import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from fergi_reward.callables.batching import BatchedCalls, TimeLimitError
from fergi_reward.callables.reward_output import RewardOutput
from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.files.digests import record_digest
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.pictures import Decoding

if TYPE_CHECKING:
    from fergi_reward.serve.protocols.asked import Body


class NoWorkerError(UnavailableError):
    """No process that scores is ready, or the one that had the request died."""


@dataclass(frozen=True)
class Asked:
    """Images of one caller.

    Attributes:
        images: Pictures of any sizes, or pixels (B, 3, H, W): uint8, or floats in [0, 1].
        prompts: One per image.
        image_ids: One per image, for recorded reactions; None where the caller gives none.
    """

    images: Sequence[Image.Image] | Tensor
    prompts: Sequence[str]
    image_ids: Sequence[str] | None = None

    def kind(self) -> tuple[object, ...]:
        """What must be equal for two requests to be scored together."""
        images = self.images
        pixels = (tuple(images.shape[1:]), images.dtype) if isinstance(images, Tensor) else ()
        return *pixels, self.image_ids is None

    def row(self, index: int) -> "Asked":
        """One image of it."""
        one = slice(index, index + 1)
        return Asked(self.images[one], self.prompts[one], self.image_ids and self.image_ids[one])


@dataclass(frozen=True)
class ScoredRow:
    """The reward of one image; the names are those of `RewardOutput`."""

    total: float
    terms: dict[str, float]
    contributions: dict[str, float]
    missing: dict[str, bool]


# A row, or the sentence that says why there is none.
Row = ScoredRow | str


class Scoring:
    """Scores what callers ask, in batches.

    Args:
        reward: What scores.
        limits: How requests are batched.

    Attributes:
        names: The terms.
        workers: How many are ready: this process itself.
        failure: Would have the reason why nothing can be scored any more.
    """

    def __init__(self, reward: CombinedReward, limits: ServeLimits) -> None:
        self._reward, self._limits = reward, limits
        self._on_batch: Callable[[int], None] = lambda images: None
        self._calls = BatchedCalls(
            self._ask,
            kind=Asked.kind,
            rows=lambda asked: len(asked.prompts),
            max_rows=limits.batch_size,
            max_wait=limits.max_wait,
        )
        self.names: Sequence[str] = reward.names
        self._decoding = Decoding()
        self.workers, self.failure = 1, Future[None]()

    def load(self, on_batch: Callable[[int], None]) -> dict[str, Any]:
        """Load the scorers; what the reward is, with a digest of it: JSON.

        Args:
            on_batch: Called with the number of images of each batch.
        """
        self._on_batch = on_batch
        fingerprints = self._reward.fingerprints()
        described = {"describe": self._reward.describe(), "fingerprints": fingerprints}
        return {"reward": record_digest(described)[:16], **described}

    def score(self, body: "Body") -> list[Row]:
        """The rows of a request, whose pictures are opened here.

        Raises:
            TimeLimitError: It took longer than the limit.
            FullError: The pictures of other requests leave no room for those of this one.
            TooLargeError: There would be none without others either.
        """
        return body.score(self.rows, self._decoding)

    def close(self) -> None:
        """Nothing: this process ends by itself."""

    def rows(self, asked: Asked) -> list[Row]:
        """The reward of each image, or why it has none: where one fails, each is asked alone.

        Raises:
            TimeLimitError: It took longer than the limit.
            UnavailableError: A scorer asks something that cannot be asked now.
        """
        try:
            return list(self._calls(asked, self._limits.time_limit))
        except (TimeLimitError, UnavailableError):
            raise
        except Exception as error:
            if len(asked.prompts) == 1:
                return [self._sentence(error)]
            return [row for index in range(len(asked.prompts)) for row in self.rows(asked.row(index))]

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, FergiRewardError):
            return f"{error}"
        log_fault(error)
        return f"the reward failed ({type(error).__name__}): the server's log says why"

    @torch.no_grad()
    def _ask(self, requests: Sequence[Asked]) -> list[list[ScoredRow]]:
        prompts = [prompt for one in requests for prompt in one.prompts]
        ids = [name for one in requests for name in one.image_ids or ()] or None
        self._on_batch(len(prompts))
        images: Any = [picture for one in requests for picture in one.images]
        if isinstance(requests[0].images, Tensor):
            images = torch.cat([_in_unit(one.images) for one in requests]).to(self._reward.device)
        scored = self._reward.score(images, prompts, image_ids=ids, batch_size=self._limits.batch_size)
        found = iter(rows_of(scored))
        return [[next(found) for _ in one.prompts] for one in requests]


def rows_of(output: RewardOutput) -> list[ScoredRow]:
    """The reward of a batch, row by row."""
    parts = [
        {name: column.tolist() for name, column in columns.items()}
        for columns in (output.terms, output.contributions, output.missing)
    ]
    return [
        ScoredRow(total, *({name: column[row] for name, column in part.items()} for part in parts))
        for row, total in enumerate(output.total.tolist())
    ]


def _in_unit(pixels: Any) -> Tensor:  # noqa: ANN401 - pictures are not asked for here
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def log_fault(error: BaseException) -> None:
    """Write what a caller must not see into the log."""
    print("".join(traceback.format_exception(error)), file=sys.stderr, flush=True)
