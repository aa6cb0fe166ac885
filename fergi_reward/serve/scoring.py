"""Requests of many callers that meet become one batch; each caller gets the rows of its own."""

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from fergi_reward.callables.batching import BatchedCalls, LeftError
from fergi_reward.callables.reward_output import RewardOutput
from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.files.digests import record_digest
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.admission import FullError, TooLargeError
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.pictures import Decoding

if TYPE_CHECKING:
    from fergi_reward.serve.protocols.asked import Body


class NoWorkerError(UnavailableError):
    """No process that scores is ready, or the one that had the request died."""


# What an answer to a whole request says, wherever it is scored; whatever else fails is the row of an image.
WHOLE_REQUEST = (LeftError, UnavailableError, FullError, TooLargeError)
# Done once nobody waits for an answer any more: its result says whether that is because the time is over.
Left = Future[bool]


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

    def parts(self, size: int) -> "Iterator[Asked]":
        """So many images of it at a time."""
        for start in range(0, len(self.prompts), size):
            part = slice(start, start + size)
            yield Asked(self.images[part], self.prompts[part], self.image_ids and self.image_ids[part])


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
            on_batch: Called with the number of images of each batch, when it has been scored or has failed.
        """
        self._on_batch = on_batch
        fingerprints = self._reward.fingerprints()
        described = {"describe": self._reward.describe(), "fingerprints": fingerprints}
        return {"reward": record_digest(described)[:16], **described}

    def score(self, body: "Body", left: Left) -> list[Row]:
        """The rows of a request, whose pictures are opened here.

        Raises:
            LeftError: Nobody waits for them any more.
            UnavailableError: A scorer asks something that cannot be asked now.
            FullError: The pictures of other requests leave no room for those of this one.
            TooLargeError: There would be none without others either.
        """
        return body.score(partial(self._rows, left), self._decoding)

    def close(self) -> None:
        """Nothing: this process ends by itself."""

    def _rows(self, left: Left, asked: Asked) -> list[Row]:
        """The reward of each image, or why it has none; of many images, batch by batch."""
        return [row for part in asked.parts(self._limits.batch_size) for row in self._batch(left, part)]

    def _batch(self, left: Left, asked: Asked) -> list[Row]:
        """Where an image fails, each is asked alone."""
        try:
            return list(self._calls(asked, left))
        except WHOLE_REQUEST:
            raise
        except Exception as error:
            if len(asked.prompts) == 1:
                return [self._sentence(error)]
            return [row for one in asked.parts(1) for row in self._batch(left, one)]

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, FergiRewardError):
            return f"{error}"
        log_fault(error)
        return f"the reward failed ({type(error).__name__}): the server's log says why"

    @torch.no_grad()
    def _ask(self, requests: Sequence[Asked]) -> list[list[ScoredRow]]:
        prompts = [prompt for one in requests for prompt in one.prompts]
        ids = [name for one in requests for name in one.image_ids or ()] or None
        images: Any = [picture for one in requests for picture in one.images]
        if isinstance(requests[0].images, Tensor):
            images = torch.cat([_in_unit(one.images) for one in requests]).to(self._reward.device)
        try:
            scored = self._reward.score(images, prompts, image_ids=ids, batch_size=self._limits.batch_size)
        finally:
            self._on_batch(len(prompts))
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
