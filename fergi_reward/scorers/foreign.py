"""Scorers that other people wrote: anything that is called with pixels and prompts, as the library asks its own."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from types import MethodType
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from fergi_reward.callables.answers import Numbers, one_number_per_image, without_metadata
from fergi_reward.callables.code_digests import code_digest
from fergi_reward.callables.gradient_path import GradientPath
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import blaming
from fergi_reward.core.transfers import sent
from fergi_reward.files.digests import record_digest, tensors_digest
from fergi_reward.images import Picture, checked_pixels, open_picture, picture_list, to_pixels
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.scorers.base import TowerScorer, at_least_float32, check_path, in_order, prompt_list

GIVEN = "given in Python"
# Columns of tables of scores, and what else rewards and judges are made of.
RESERVED = {"image", "prompt", "error", "reward", "disagreement", "calibration", "predictor", "recorded", "none"}


class Scorer(Protocol):
    """All that a scorer must have; it need not inherit from this.

    It may also say `higher_is_better = False`, `is_differentiable = False`, have a `weights_digest()` that tells its
    content, and a `with_sigma(pixels, prompts)` that gives the scores and their standard deviations, (B,) each. Scorers
    with an image tower and a text tower can be a `TowerScorer`, of which more is made: features that are shared,
    pictures as their authors prepare them.
    """

    name: str

    def __call__(self, pixels: Tensor, prompts: list[str], /) -> Numbers:
        """Pixels (B, 3, H, W), float in [0, 1], RGB, and B prompts -> (B,)."""


class ForeignScorer(nn.Module):
    """A scorer from outside the library: `as_scorer` makes it.

    Its score is always higher for better images: that of a scorer with `higher_is_better = False` has its sign turned.

    Attributes:
        name: Name of its term in tables, calibrations and rewards.
        origin: Who brings it: a package with its version, a path, or that it was given in Python.
        higher_is_better: What it says of its own score.
        is_differentiable: Whether gradients reach the pixels.
    """

    def __init__(self, asked: Any, name: str, higher_is_better: bool, is_differentiable: bool, origin: str) -> None:  # noqa: ANN401
        super().__init__()
        self.name, self.origin = name, origin
        self.higher_is_better, self.is_differentiable = higher_is_better, is_differentiable
        self._asked = asked
        if isinstance(asked, MethodType) and isinstance(asked.__self__, nn.Module):
            self._module = asked.__self__  # moves with this one
        self.register_buffer("_place", torch.empty(0), persistent=False)  # where one without weights was moved to

    @property
    def asked(self) -> Any:  # noqa: ANN401
        """What it was made from."""
        return self._asked

    @property
    def device(self) -> torch.device:
        """Where its weights are or, without any, where it was moved to."""
        return next(self._weights(), self.get_buffer("_place")).device

    def weights_digest(self) -> str:
        """SHA-256 of what it says of its content, or else of its code and weights; of its origin in any case.

        What it holds in objects of other kinds than tensors, modules and plain values counts by its type alone.
        """
        own_digest = getattr(self._asked, "weights_digest", None)
        if callable(own_digest):
            content = [str(own_digest())]
        else:
            asks = [self._asked.update, self._asked.compute] if _is_metric(self._asked) else [self._call]
            weights = {name: value for name, value in self.state_dict().items() if isinstance(value, Tensor)}
            content = [*map(code_digest, asks), tensors_digest(weights)]
        return record_digest([self.origin, self.higher_is_better, content])

    def describe(self) -> dict[str, Any]:
        """Where it comes from, how it counts, and what it says of itself, for a model card: JSON."""
        counts = "as it is" if self.higher_is_better else "with its sign turned: it says that lower is better"
        return {"name": self.name, "origin": self.origin, "counts": counts, **self._own_description()}

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts that it can never score, if it has a `check_prompts` that says so: before a run, not in it.

        Raises:
            FergiRewardError: It refuses one.
        """
        check = getattr(self._asked, "check_prompts", None)
        if callable(check):
            with blaming(f"check_prompts() of the scorer {self.name}", self.origin):
                check(list(prompts))

    def _own_description(self) -> dict[str, Any]:
        own = getattr(self._asked, "describe", None)
        if not callable(own):
            return {}
        with blaming(f"describe() of the scorer {self.name}", self.origin):
            return {"described": json.loads(json.dumps(own()))}

    def extra_repr(self) -> str:
        """Its name and who brings it."""
        return f"{self.name}, {self.origin}"

    def forward(self, pixels: Tensor, prompts: str | Sequence[str]) -> Tensor:
        """Score pixels; gradients reach them if it is differentiable.

        It is asked where its weights are or, without any, where the pixels are; outside of any autocast.

        Args:
            pixels: Float (B, 3, H, W) in [0, 1], RGB.
            prompts: One per image, or one for all.

        Returns:
            (B,) float32.

        Raises:
            FergiRewardError: Pixels or prompts are not of that form, it fails, or its answer is not one number per
                image or has lost the gradient.
        """
        return self._asked_for(pixels, prompts, lambda *asked: {"score": self._answer(*asked)})["score"]

    def _asked_for(
        self, pixels: Tensor, prompts: str | Sequence[str], answers: Callable[[Tensor, list[str]], dict[str, object]]
    ) -> dict[str, Tensor]:
        """Its answers by what they are, checked, (B,) float32 each; `score` is higher for better images."""
        pixels = at_least_float32(checked_pixels(pixels))
        listed = prompt_list(prompts, len(pixels))
        if (weights := next(self._weights(), None)) is not None:
            pixels = sent(pixels, weights.device)
        asked_of = (pixels if self.is_differentiable else pixels.detach()).clone()  # it may write into them
        path = GradientPath(asked_of)
        with torch.autocast(pixels.device.type, enabled=False):
            found = {
                what: one_number_per_image(f"the {what} of {self.name}", answer, pixels).clone()  # it may write into it
                for what, answer in answers(asked_of, listed).items()
            }
        check_path(self.name, path, found["score"])
        return found if self.higher_is_better else found | {"score": -found["score"]}

    def score(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> Tensor:
        """Score pictures or pixels without gradients; pictures become pixels as `prepared` says.

        Args:
            images: Pictures, or pixels (n, 3, H, W).
            prompts: One per image, or one for all.
            batch_size: Images at a time; pictures of different sizes are asked apart.

        Returns:
            (n,) float32.

        Raises:
            FergiRewardError: No image, another number of prompts than images, or as `forward`.
        """
        return self._score(self, images, prompts, batch_size)

    def _score(
        self,
        ask: Callable[[Tensor, list[str]], Tensor],
        images: Picture | Iterable[Picture] | Tensor,
        prompts: str | Sequence[str],
        batch_size: int,
    ) -> Tensor:
        """What `ask` says of each, a row per image."""
        listed = images if isinstance(images, Tensor) else picture_list(images)
        if len(listed) == 0:
            raise FergiRewardError(f"{self.name} got no images to score: give at least one")
        if batch_size < 1:
            raise FergiRewardError(f"batch_size must be at least 1, got {batch_size}")
        texts, scores = prompt_list(prompts, len(listed)), list[Tensor]()
        for start in range(0, len(listed), batch_size):
            chunk, several = listed[start : start + batch_size], texts[start : start + batch_size]
            pixels = list(chunk) if isinstance(chunk, Tensor) else [self.prepared(open_picture(one)) for one in chunk]
            scores.append(self._by_size(ask, pixels, several, 1))
        return torch.cat(scores)

    def prepared(self, picture: Image.Image) -> Tensor:
        """A decoded picture as pixels (3, H, W): RGB (transparency is dropped), at its own size, divided by 255."""
        return to_pixels(picture.convert("RGB"))

    def score_pixels(self, pixels: Sequence[Tensor], prompts: Sequence[str], *, full: int = 1) -> Tensor:
        """Score pixels of different sizes without gradients, those of one size together.

        Args:
            pixels: (3, H, W) each.
            prompts: One per image.
            full: What fewer images of one size are filled up to: the last bits depend on the shape of a batch.

        Returns:
            (n,) float32, in their order.
        """
        return self._by_size(self, pixels, prompts, full)

    def _by_size(
        self, ask: Callable[[Tensor, list[str]], Tensor], pixels: Sequence[Tensor], prompts: Sequence[str], full: int
    ) -> Tensor:
        sizes: dict[torch.Size, list[int]] = {}
        for row, one in enumerate(pixels):
            sizes.setdefault(one.shape, []).append(row)
        parts = list[tuple[list[int], Tensor]]()
        with torch.inference_mode(False), torch.no_grad():
            for rows in sizes.values():
                filled = [*rows, *[rows[0]] * (full - len(rows))]
                batch = sent(torch.stack([pixels[row] for row in filled]), self.device)
                parts.append((rows, ask(batch, [prompts[row] for row in filled])[: len(rows)].float()))
            return in_order(parts)

    def _weights(self) -> Iterator[Tensor]:
        named = chain(self.named_parameters(), self.named_buffers())
        return (value for name, value in named if name != "_place")

    @property
    def _call(self) -> Callable[..., object]:
        """Imscore's models are asked by `score`: what calling them gives differs between them."""
        return self._asked.score if _is_imscore(self._asked) else self._asked

    def _answer(self, pixels: Tensor, prompts: list[str]) -> object:
        with blaming(f"the scorer {self.name} on pixels of shape {tuple(pixels.shape)}", self.origin):
            if _is_metric(self._asked):
                return _each(self._asked, pixels, prompts)
            answer = without_metadata(self._call(pixels, prompts))
        column = isinstance(answer, Tensor) and answer.shape == (len(pixels), 1)
        return answer.squeeze(1) if column else answer  # type: ignore[attr-defined]


class UnsureForeignScorer(ForeignScorer):
    """One that has a `with_sigma`: see `scorers.sigma.Unsure`, whose methods these are."""

    def with_sigma(self, pixels: Tensor, prompts: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """Scores of pixels, higher for better images, and their standard deviations.

        Raises:
            FergiRewardError: As `forward`, or a standard deviation is below 0.
        """
        found = self._asked_for(pixels, prompts, self._answer_with_sigma)
        if (found["sigma"] < 0).any():
            raise FergiRewardError(f"a sigma of {self.name} is {found['sigma'].min().item():g}, must be at least 0")
        return found["score"], found["sigma"]

    def score_with_sigma(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> tuple[Tensor, Tensor]:
        """The same of pictures or pixels, without gradients: as `score`."""
        both = self._score(lambda *asked: torch.stack(self.with_sigma(*asked), 1), images, prompts, batch_size)
        return both[:, 0], both[:, 1]

    def _answer_with_sigma(self, pixels: Tensor, prompts: list[str]) -> dict[str, object]:
        with blaming(f"with_sigma() of the scorer {self.name} on pixels of shape {tuple(pixels.shape)}", self.origin):
            score, sigma = self._asked.with_sigma(pixels, prompts)
        return {"score": score, "sigma": sigma}


LoadedScorer = TowerScorer | ForeignScorer


def as_scorer(
    asked: Any,  # noqa: ANN401 - whatever can be called
    name: str | None = None,
    *,
    higher_is_better: bool | None = None,
    is_differentiable: bool | None = None,
    origin: str = GIVEN,
) -> LoadedScorer:
    """Anything that scores, as the library asks it.

    Example::

        darkness = as_scorer(lambda pixels, prompts: 1 - pixels.mean((1, 2, 3)), name="darkness")

    Args:
        asked: A function or object that is called with pixels (B, 3, H, W) in [0, 1] and B prompts and gives (B,); a
            model of imscore, asked by its `score`; a metric of torchmetrics, asked image by image with 8 bits in
            [0, 255]. A module is put in evaluation mode.
        name: Name of its term; by default its own `name`, or that of the function.
        higher_is_better: By default what it says itself, else True.
        is_differentiable: By default what it says itself, else True; never of a metric.
        origin: Who brings it.

    Raises:
        FergiRewardError: It cannot be called, or has no name that can be used.
    """
    if isinstance(asked, type) or not (callable(asked) or _is_imscore(asked)):
        raise FergiRewardError(
            f"{name or 'a scorer'} ({origin}) is {asked!r}, must be an object that is called with pixels and prompts"
        )
    named = check_name(_own_name(asked) if name is None else name, origin)
    higher = _flag(asked, "higher_is_better", higher_is_better)
    smooth = _flag(asked, "is_differentiable", is_differentiable) and not _is_metric(asked)
    same = isinstance(asked, LoadedScorer) and (higher, smooth) == (asked.higher_is_better, asked.is_differentiable)
    if same and (higher or isinstance(asked, ForeignScorer)):
        return asked if named == asked.name else _renamed(asked, named)
    kind = UnsureForeignScorer if callable(getattr(asked, "with_sigma", None)) else ForeignScorer
    return kind(asked, named, higher, smooth, origin).eval()


def _own_name(asked: object) -> object:
    return getattr(asked, "name", None) or getattr(asked, "__name__", None)


def check_name(name: object, origin: str) -> str:
    """The name, if options, tables and calibrations can hold it.

    Raises:
        FergiRewardError: It is no such name.
    """
    if not isinstance(name, str) or not name or name == "<lambda>":
        raise FergiRewardError(f"a scorer ({origin}) has no name: give one, as in as_scorer(scorer, name='mine')")
    if name in RESERVED or is_action_unit(name.split("_")[0]) or not name.isprintable() or set(name) & set(" ,=/\\"):
        raise FergiRewardError(
            f"a scorer ({origin}) is called {name!r}: choose one without blanks, commas, slashes and =, and none of "
            f"{', '.join(sorted(RESERVED))} or an action unit's"
        )
    return name


def _renamed(scorer: LoadedScorer, name: str) -> LoadedScorer:
    """The same weights under another name."""
    other = copy.copy(scorer)
    other.name = name
    return other


def _flag(asked: object, which: str, given: bool | None) -> bool:
    value = getattr(asked, which, None) if given is None else given
    return True if value is None else bool(value)


def _is_metric(asked: object) -> bool:
    """Whether it is asked as torchmetrics' are."""
    return all(callable(getattr(asked, verb, None)) for verb in ("update", "compute", "reset"))


def _is_imscore(asked: object) -> bool:
    """Whether it has a `score`, and no call of its own but what its base class gives a module."""
    own_call = type(asked).__call__ is not nn.Module.__call__ if isinstance(asked, nn.Module) else callable(asked)
    return not (own_call or isinstance(asked, TowerScorer)) and callable(getattr(asked, "score", None))


def _each(metric: Any, pixels: Tensor, prompts: Sequence[str]) -> list[Tensor]:  # noqa: ANN401
    """A metric gives the mean of a batch: it is asked image by image, and forgets them."""
    images = (pixels * 255).round().to(torch.uint8)
    scores = [
        torch.as_tensor(metric(image[None], [prompt])).mean() for image, prompt in zip(images, prompts, strict=True)
    ]
    metric.reset()
    return scores
