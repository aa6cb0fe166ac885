"""What a scorer with towers is: a module that maps images and prompts to one number each.

A scorer file supplies five steps (`preprocess`, `transform`, `encode_images`, `encode_prompts`, `compare`); the checks,
the batching and the work saved on repeated images and prompts are here, once.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad

from fergi_reward.callables.gradient_path import GradientPath
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import picked, sent
from fergi_reward.files.digests import bytes_digest, record_digest, tensors_digest
from fergi_reward.files.text_lines import is_utf8
from fergi_reward.images import Picture, checked_pixels, open_picture, picture_list
from fergi_reward.scorers.checkpoints import Checkpoint
from fergi_reward.scorers.cpu_kernels import FastCPUKernels
from fergi_reward.scorers.fastest_dtype import DtypeOrAuto, resolved
from fergi_reward.scorers.loading import loading
from fergi_reward.scorers.true_float32 import true_float32

T = TypeVar("T")
# What a class takes besides its checkpoint; its own signature says of which type.
Option = Any


@runtime_checkable
class Towers(Protocol):
    """A scorer whose embeddings of images and prompts may be read by others: they are computed once for all readers."""

    name: str

    @property
    def width(self) -> int:
        """How many numbers an embedding has."""

    def features(self, pixels: Tensor, prompts: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings of B pixels and of their prompts, (B, width) each; gradients reach the pixels."""

    def embed(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> tuple[Tensor, Tensor]:
        """The same of pictures or pixels, without gradients."""

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """The score of embeddings, row by row, (B,)."""

    def fingerprint(self) -> str:
        """What tells two models apart that make different embeddings."""


class TowerScorer(nn.Module, ABC):
    """Scores images for prompts.

    Attributes:
        name: The term's name in tables, calibrations and rewards.
        higher_is_better: Whether people prefer the higher score.
        is_differentiable: Whether gradients reach the pixels.
        full_length: Whether prompts are padded to the longest that the model reads. Else to the longest of a call: that
            is faster, and the last bits of a prompt's features depend on the other prompts of the call.
        sizes: Sizes of the model, and what else the weights alone do not say, such as its activations: JSON.
        license: License of the checkpoint, as its publishers state it.
        files: All that is needed, and of which repositories of the hub.
        default_checkpoint: Its place on the hub.
        revision: The commit of `default_checkpoint` that the scores were checked against.
        parameter_count: Parameter count of the published model, about: what a dry run counts.
        has_published_weights: Whether its weights were loaded from where they were published.
        other_places: Where its files may lie on this machine under another name.

    The towers run in the dtype they were given; the last projection, the normalisation and the score in float32 at
    least (float64 if the model is). What a program sets for its own work changes nothing: autocast, TF32, another
    default dtype or device, inference mode. How far low precision moves the scores is in docs/SCORERS.md.
    """

    name: str
    higher_is_better: ClassVar[bool] = True
    is_differentiable: ClassVar[bool] = True
    full_length: bool = False
    sizes: Mapping[str, Any]
    license: ClassVar[str]
    files: ClassVar[str]
    other_places: ClassVar[tuple[Checkpoint, ...]] = ()
    default_checkpoint: ClassVar[str]
    revision: ClassVar[str]
    parameter_count: ClassVar[int]
    has_published_weights: bool = False

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: DtypeOrAuto = torch.float32,
        revision: str | None = None,
        **options: Option,
    ) -> Self:
        """Load the published weights, frozen, in evaluation mode.

        Args:
            checkpoint: A folder in the hub's layout or a hub id; by default `default_checkpoint`.
            device: Where to put the model; by default the CPU.
            dtype: Data type of the towers; "auto" takes the faster one of float32 and bfloat16 on that device.
            revision: Commit on the hub; by default the pinned one for the default checkpoint.
            options: Options of the class, such as the version of HPS.

        Raises:
            FergiRewardError: The files are missing, unreadable or belong to another model.
        """
        files = cls._checkpoint(checkpoint, revision)
        towers = resolved(dtype, device) or torch.float32
        with loading():
            with torch.device("meta"):
                scorer = cls._sized(files, **options).to(torch.promote_types(towers, torch.float32))
                for tower in scorer.towers():
                    tower.to(towers)
            scorer._fill(files)
            scorer.has_published_weights = files.place == cls.default_checkpoint
            return scorer.requires_grad_(False).eval().to(device or "cpu")

    @classmethod
    def _checkpoint(cls, place: str | Path | None = None, revision: str | None = None) -> Checkpoint:
        if place in (None, cls.default_checkpoint) and revision in (None, cls.revision):
            return Checkpoint(cls.default_checkpoint, cls.revision, cls.other_places, cls.name, cls.files)
        return Checkpoint(place or cls.default_checkpoint, revision, scorer=cls.name, files=cls.files)

    @classmethod
    @abstractmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        """The scorer with the checkpoint's sizes, without weights."""

    @abstractmethod
    def _fill(self, checkpoint: Checkpoint) -> None:
        """Take the checkpoint's weights, each in the dtype of what it replaces."""

    @abstractmethod
    def preprocess(self, picture: Image.Image) -> Tensor:
        """A decoded picture -> model input (3, size, size), exactly as the original package does it."""

    @abstractmethod
    def transform(self, pixels: Tensor) -> Tensor:
        """Pixels (batch, 3, height, width) -> model input (batch, 3, size, size), differentiable."""

    @abstractmethod
    def encode_images(self, inputs: Tensor) -> Tensor:
        """Model input -> image features (batch, …)."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts -> text features (batch, …)."""

    @abstractmethod
    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """Image features and text features, row by row -> scores (batch,)."""

    @abstractmethod
    def towers(self) -> Sequence[nn.Module]:
        """The modules that may run in a lower precision, the image tower first."""

    def weights_digest(self) -> str:
        """SHA-256 of all that makes a score of a picture and a prompt: weights as loaded, sizes, options, tokenizer.

        Wherever they were loaded from; the dtype of the weights is part of it, the device is not.
        """
        options = {name: value for name, value in vars(self).items() if isinstance(value, bool | int | float | str)}
        made_of = {
            "class": type(self).__name__,
            "options": {name: value for name, value in options.items() if name not in ("training", "full_length")},
            "sizes": self.sizes,
            "tokenizer": _tokenizer_record(getattr(self, "tokenizer", None)),
            "weights": tensors_digest(self.state_dict()),
        }
        return record_digest(made_of)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def forward(self, pixels: Tensor, prompts: str | Sequence[str]) -> Tensor:
        """Score pixels; gradients reach them.

        Args:
            pixels: Float (batch, 3, height, width) in [0, 1], RGB, on any device.
            prompts: One per image, or one for all.

        Returns:
            (batch,) float32 (float64 if the model is), on the model's device.

        Raises:
            FergiRewardError: Pixels or prompts are not of that form, or the image tower has lost the gradient.
        """
        images, texts = self.features(pixels, prompts)
        with self._own_precision():
            return self.compare(images, texts)

    def features(self, pixels: Tensor, prompts: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """What `compare` compares, for uses beyond the score; gradients reach the pixels.

        Args:
            pixels: As for `forward`.
            prompts: As for `forward`.

        Returns:
            Image features and text features, (batch, …) each, row by row.

        Raises:
            FergiRewardError: As `forward`.
        """
        pixels = checked_pixels(pixels)
        path = GradientPath(pixels)
        distinct, index = _distinct(prompt_list(prompts, len(pixels)))
        with self._own_precision():
            texts = self.encode_prompts(distinct)
            images = self.encode_images(self._transformed(pixels))
        if self.is_differentiable:
            check_path(self.name, path, images)
        return images, picked(texts, index)

    def score(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> Tensor:
        """Score pictures or pixels without gradients, decoding and holding one chunk at a time.

        A picture that is given several times (the same object or path) is encoded once, and so is each prompt.

        Args:
            images: Pictures, or pixels (n, 3, height, width).
            prompts: One per image, or one for all.
            batch_size: Images per chunk.

        Returns:
            (n,) float32, on the model's device; an ordinary tensor that losses may use.

        Raises:
            FergiRewardError: No image, another number of prompts than images, or one of either is not readable.
        """
        listed = images if isinstance(images, Tensor) else picture_list(images)
        with torch.inference_mode(), self._own_precision():
            encoded = list[tuple[list[int], Tensor]]()
            for rows, image_features, text_features in self.encoded(listed, prompts, batch_size):
                encoded.append((rows, self.compare(image_features, text_features).float()))
        return in_order(encoded)

    def encoded(
        self, listed: Sequence[Picture] | Tensor, prompts: str | Sequence[str], batch_size: int
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """What `score` compares, chunk by chunk: the rows, their image features and their text features.

        Gradients and precision are as the caller has set them.

        Raises:
            FergiRewardError: As `score`.
        """
        if len(listed) == 0:
            raise FergiRewardError(f"{self.name} got no images to score: give at least one")
        if isinstance(listed, Tensor):
            listed = checked_pixels(listed)
        if batch_size < 1:
            raise FergiRewardError(f"batch_size must be at least 1, got {batch_size}")
        distinct, index = _distinct(prompt_list(prompts, len(listed)))
        texts = _joined([self.encode_prompts(chunk) for chunk in chunks(distinct, batch_size)])
        for groups in chunks(_same_picture(listed), batch_size):
            features = self.encode_images(self._inputs(listed, [rows[0] for rows in groups]))
            pairs = [(place, row) for place, rows in enumerate(groups) for row in rows]
            for part in chunks(pairs, batch_size):
                places, rows = map(list, zip(*part, strict=True))
                yield rows, picked(features, places), picked(texts, [index[row] for row in rows])

    def _inputs(self, listed: Sequence[Picture] | Tensor, rows: list[int]) -> Tensor:
        if isinstance(listed, Tensor):
            return self._transformed(picked(listed, rows))
        return self._as_input(torch.stack([self.preprocess(open_picture(listed[row])) for row in rows]))

    def _transformed(self, pixels: Tensor) -> Tensor:
        return self._as_input(self.transform(at_least_float32(sent(pixels, self.device))))

    def _as_input(self, inputs: Tensor) -> Tensor:
        return sent(inputs.to(next(self.towers()[0].parameters()).dtype), self.device)

    @contextmanager
    def _own_precision(self) -> Iterator[None]:
        kind = self.device.type
        with torch.autocast(kind, enabled=False), true_float32(), FastCPUKernels() if kind == "cpu" else nullcontext():
            yield


def check_path(name: str, path: GradientPath, score: Tensor) -> None:
    """Refuse a score whose gradient does not get to the pixels.

    Raises:
        FergiRewardError: It does not, and the pixels need one.
    """
    if not path.reached_by(score):
        raise FergiRewardError(
            f"the score of {name} has lost the gradient of the pixels: compute it with torch alone, or say "
            "is_differentiable = False"
        )


def _tokenizer_record(tokenizer: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """What transformers' tokenizer makes of a text, except for padding and cutting, which each call sets again.

    None for open_clip's, which is one and the same for all checkpoints.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    parts = (backend.model, backend.normalizer, backend.pre_tokenizer, backend.post_processor)
    added = {number: repr(token) for number, token in backend.get_added_tokens_decoder().items()}
    return {"added": added, "parts": [bytes_digest(part.__getstate__()) for part in parts if part is not None]}


def at_least_float32(values: Tensor) -> Tensor:
    """The same values, in float32 if they come in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def in_order(parts: Sequence[tuple[list[int], Tensor]]) -> Tensor:
    """One tensor of what belongs to all rows, from parts of which each says to which rows it belongs.

    >>> in_order([([2], torch.tensor([5])), ([0, 1], torch.tensor([6, 7]))]).tolist()
    [6, 7, 5]
    """
    places = {row: place for place, row in enumerate(row for rows, _ in parts for row in rows)}
    return picked(torch.cat([values for _, values in parts]), [places[row] for row in range(len(places))])


def _joined(texts: Sequence[Tensor]) -> Tensor:
    """One after the other. Tokens, which may differ in number, are filled up with 0: it counts for nothing."""
    longest = max(text.shape[-1] for text in texts)
    return torch.cat([pad(text, (0, longest - text.shape[-1])) for text in texts])


def prompt_list(prompts: str | Sequence[str], images: int) -> list[str]:
    """One prompt per image.

    Raises:
        FergiRewardError: Their number is not that of the images, or one is not a string.

    >>> prompt_list("a cat", 2)
    ['a cat', 'a cat']
    """
    if isinstance(prompts, str):
        _check_text(prompts, "the prompt")
        return [prompts] * images
    if not isinstance(prompts, Iterable):
        raise FergiRewardError(f"prompts must be a string or a list of strings, got {type(prompts).__name__}")
    listed = list(prompts)
    for place, prompt in enumerate(listed):
        if not isinstance(prompt, str):
            raise FergiRewardError(f"prompt {place} must be a string, got {type(prompt).__name__}")
        _check_text(prompt, f"prompt {place}")
    if len(listed) != images:
        raise FergiRewardError(f"got {len(listed)} prompts for {images} images: give one per image, or one string")
    return listed


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most `size` values."""
    return (values[start : start + size] for start in range(0, len(values), size))


def _check_text(prompt: str, which: str) -> None:
    if not is_utf8(prompt):
        raise FergiRewardError(
            f"{which} is no text: {ascii(prompt)[:60]} holds half of a surrogate pair, which UTF-8 cannot write"
        )


def _distinct(prompts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different prompts, and for each prompt its place among them."""
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    return list(places), [places[prompt] for prompt in prompts]


def _same_picture(images: Sequence[Picture] | Tensor) -> list[list[int]]:
    """Rows that show the same picture (object or path), together, in order of first appearance."""
    if isinstance(images, Tensor):
        return [[row] for row in range(len(images))]
    groups: dict[Hashable, list[int]] = {}
    for row, image in enumerate(images):
        key = os.fspath(image) if isinstance(image, str | os.PathLike) else id(image)
        groups.setdefault(key, []).append(row)
    return list(groups.values())
