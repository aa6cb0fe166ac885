"""What other people's callables answer, as one number per image: rewards of a training run and scores alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError

# Letters of an answer that is no number, in a sentence.
LONGEST_SHOWN = 100
# One number per image; of a single image also the number alone.
Numbers = Tensor | np.ndarray | Sequence[float] | float
# TRL's reward functions add metadata, which is not looked at.
Answer = Numbers | tuple[Numbers, Any]


def one_number_per_image(what: str, value: object, pixels: Tensor) -> Tensor:
    """Check an answer; gradients of tensors, and of tensors in a list, are kept.

    Args:
        what: Whose answer it is, for errors.
        value: The answer, of the kind `Numbers`.
        pixels: (B, 3, H, W) that it was asked of.

    Returns:
        (B,) float32, where the pixels are.

    Raises:
        FergiRewardError: It is no number, or not one per image.
    """
    numbers = _tensor(what, value)
    if numbers.shape != pixels.shape[:1] and not (numbers.ndim == 0 and len(pixels) == 1):
        raise FergiRewardError(
            f"{what} has shape {tuple(numbers.shape)} for pixels of shape {tuple(pixels.shape)}: "
            f"it must be ({len(pixels)},), one number per image"
        )
    return numbers.reshape(len(pixels)).to(pixels.device, torch.float32)


def without_metadata(answer: object) -> object:
    """The rewards of a pair of rewards and metadata: a mapping, one per image, or none."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        return answer
    rewards, metadata = answer
    each = metadata if isinstance(metadata, list | tuple) and metadata else [metadata]
    return rewards if all(one is None or isinstance(one, Mapping) for one in each) else answer


def _tensor(what: str, value: object) -> Tensor:
    """Numbers in any form as a tensor."""
    try:
        if isinstance(value, list | tuple) and value and all(isinstance(one, Tensor) for one in value):
            value = torch.stack(list(value))
        numbers = value if isinstance(value, Tensor) else torch.from_numpy(_array(value))
        if numbers.is_complex() or numbers.layout != torch.strided:
            raise TypeError("complex numbers have no order, and sparse ones no rows")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FergiRewardError(
            f"{what} is {_shortened(value)}: it must be one number per image (a tensor, an array or a list)"
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
