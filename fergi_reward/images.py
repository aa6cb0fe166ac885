"""Pictures and pixels: opening pictures safely, checks, and the transforms that scorers share.

A *picture* is a PIL image, a path, the bytes of a file (also in `io.BytesIO`, or as a row of the library `datasets`
holds an image: `{"bytes": …, "path": …}`) or a uint8 array, of any size. *Pixels* are a float tensor (batch, 3, height,
width) in [0, 1], RGB. Scorers turn both into the same model input: pictures by Pillow as the
original packages do, pixels by the differentiable functions here.
"""

import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from PIL.ImageFile import ImageFile
from torch import Tensor
from torch.nn.functional import interpolate, pad

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.picture_files import Room, T, made_of_file

Picture = Image.Image | str | os.PathLike[str] | bytes | np.ndarray | io.BytesIO | Mapping[str, Any]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Resized to 224 on the short side, a picture of this shape takes 40 MB; a 20,000 x 1 one would take gigabytes.
MAX_ASPECT_RATIO = 256
# One step of bfloat16 above 1, two of 8 bits: so far outside of [0, 1] half precision may round.
_ROUNDING = 2**-7
# What `checked_once` has checked, in this thread, and how often it had been written to.
_CHECKED: ContextVar[tuple[Tensor, int] | None] = ContextVar("checked", default=None)
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")


def open_picture(picture: Picture) -> Image.Image:
    """Decode a picture: `made_of` gives it as it is.

    >>> open_picture(np.zeros((4, 6, 3), np.uint8)).size
    (6, 4)
    """
    return made_of(picture, lambda image: image.copy() if isinstance(image, ImageFile) else image)


def made_of(picture: Picture, make: Callable[[Image.Image], T]) -> T:
    """What is made of a decoded picture, in its own mode.

    When the original packages convert to RGB differs, and alpha depends on it. The EXIF orientation is ignored, as they
    do. Of an animation the first frame counts. 16-bit grey is scaled to 8 bits (Pillow would clip it to white).
    `picture_files` lists the formats that are opened, and their limits.

    Args:
        picture: A PIL image, a path, the bytes of a file (in `io.BytesIO` or a mapping, too), or a uint8 array
            (height, width), (height, width, 3) or (height, width, 4).
        make: Called with the image. Several threads may call this; of large files one at a time is decoded and used.

    Raises:
        FergiRewardError: No such file, no readable picture, a mode or shape that no scorer was made for.
    """
    picture = unwrapped(picture)

    def use(image: Image.Image) -> T:
        return make(_checked(image, _named(picture)))

    if isinstance(picture, str | os.PathLike | bytes):
        return made_of_file(picture, _named(picture), use)
    return use(_loaded(picture))


def unwrapped(picture: Picture) -> Picture:
    """What is in a buffer or in a row of `datasets`: bytes or, where the row has none, a path; else the picture itself.

    Raises:
        FergiRewardError: A mapping has neither.
    """
    if isinstance(picture, io.BytesIO):
        return picture.getvalue()
    if not isinstance(picture, Mapping):
        return picture
    inside = picture.get("path") if picture.get("bytes") is None else picture["bytes"]
    if not isinstance(inside, str | os.PathLike | bytes):
        raise FergiRewardError(
            f"a picture as a mapping has its file in 'bytes' or its place in 'path', got {sorted(map(str, picture))} "
            "with neither: give one of the two"
        )
    return inside


def picture_list(pictures: Picture | Iterable[Picture]) -> list[Picture]:
    """The pictures as a list: one picture is a list of one, a uint8 array (batch, height, width, channels) a batch."""
    if isinstance(pictures, np.ndarray):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    if isinstance(pictures, Image.Image | str | os.PathLike | bytes | io.IOBase | Mapping):
        return [cast(Picture, pictures)]
    if not isinstance(pictures, Iterable):
        raise FergiRewardError(f"images must be pictures or a pixel tensor, got {type(pictures).__name__}")
    return list(pictures)


def decoded_once(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures decoded as far as there is room; the same picture as the same object, so that each is seen once."""
    opened: dict[object, Picture] = {}
    decoded, room = list[Picture](), Room()
    for picture in pictures:
        key = os.fspath(picture) if isinstance(picture, str | os.PathLike) else id(picture)
        if key not in opened:
            image = open_picture(picture)
            opened[key] = image if room.has(image) else picture
        decoded.append(opened[key])
    return decoded


def paths_of(pictures: Sequence[Picture] | Tensor) -> list[str] | None:
    """The paths, where all pictures are paths."""
    if isinstance(pictures, Tensor) or not all(isinstance(picture, str | os.PathLike) for picture in pictures):
        return None
    return [os.fspath(picture) for picture in pictures]  # type: ignore[arg-type]


def checked_pixels(pixels: Tensor) -> Tensor:
    """The pixels, with what rounding left outside of [0, 1] (by 1/128 at most) cut off; other things are refused.

    Raises:
        FergiRewardError: Not a float tensor (batch, 3, height, width), empty, or a value not in [0, 1] (or NaN).

    >>> checked_pixels(torch.full((1, 3, 1, 1), 1.0000001)).max()
    tensor(1.)
    """
    if not isinstance(pixels, Tensor):
        raise FergiRewardError(f"pixels must be a tensor, got {type(pixels).__name__}: score() takes pictures")
    if not pixels.is_floating_point():
        raise FergiRewardError(f"pixels must be floating point in [0, 1], got {pixels.dtype}: divide uint8 by 255")
    if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.numel() == 0:
        raise FergiRewardError(f"pixels must have the shape (batch, 3, height, width), got {tuple(pixels.shape)}")
    _check_size(pixels.shape[2], pixels.shape[3], "the pixel tensor")
    if _known_to_be_checked(pixels):
        return pixels
    low, high = torch.stack(pixels.detach().aminmax()).tolist()  # a GPU is waited for once
    if math.isnan(low):
        raise FergiRewardError("pixels must be finite, got NaN: look at the model or the VAE that made them")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise FergiRewardError(f"pixels must lie in [0, 1], got {low:.9g} to {high:.9g}: rescale or clamp them first")
    # clamp() alone would take the gradient of pixels at 0 and 1, too.
    return pixels if low >= 0 and high <= 1 else torch.where((pixels < 0) | (pixels > 1), pixels.clamp(0, 1), pixels)


@contextmanager
def checked_once(pixels: Tensor) -> Iterator[Tensor]:
    """The checked pixels, which inside the block `checked_pixels` takes as they are: a GPU is waited for once.

    What is written to meanwhile is checked again, and so are tensors of inference mode, of which nobody knows.

    Raises:
        FergiRewardError: As `checked_pixels`.
    """
    pixels = checked_pixels(pixels)
    before = _CHECKED.set(None if pixels.is_inference() else (pixels, pixels._version))
    try:
        yield pixels
    finally:
        _CHECKED.reset(before)


def _known_to_be_checked(pixels: Tensor) -> bool:
    checked = _CHECKED.get()
    return checked is not None and pixels is checked[0] and pixels._version == checked[1]


def to_pixels(picture: Image.Image) -> Tensor:
    """An RGB picture as a float32 tensor (3, height, width) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def to_picture(pixels: Tensor) -> Image.Image:
    """Pixels (3, height, width) in [0, 1], on any device, as an RGB picture of 8 bits."""
    return Image.fromarray((pixels.permute(1, 2, 0) * 255).round().to("cpu", torch.uint8).numpy())


def as_png(pixels: Tensor) -> bytes:
    """What the PNG file of pixels (3, height, width) in [0, 1] holds."""
    file = io.BytesIO()
    to_picture(pixels).save(file, "PNG")
    return file.getvalue()


def short_side_to(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width after resizing the short side to `size`; the long side is rounded down.

    >>> short_side_to(256, 640, 224)
    (224, 560)
    """
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def long_side_to(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width after resizing the long side to `size`; the short side is rounded, half to even.

    >>> long_side_to(256, 640, 224)
    (90, 224)
    """
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def pad_to_square(pixels: Tensor) -> Tensor:
    """Zeros on both ends of the short side; of an odd number the end gets one more."""
    height, width = pixels.shape[-2:]
    missing_height, missing_width = max(width - height, 0), max(height - width, 0)
    left, top = missing_width // 2, missing_height // 2
    return pad(pixels, (left, missing_width - left, top, missing_height - top))


def resize(pixels: Tensor, height: int, width: int, *, antialias: bool = True) -> Tensor:
    """Bicubic, differentiable; with `antialias` the filter is Pillow's. Values may overshoot [0, 1] slightly."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    return interpolate(pixels, (height, width), mode="bicubic", align_corners=False, antialias=antialias)


def resize_in_steps(pixels: Tensor, height: int, width: int) -> Tensor:
    """Bicubic as Pillow: across, then down, each time to 8 bits.

    Bicubic values overshoot. Pillow clips them, so no model has seen them, and a reward must not be found there.
    """
    return _eight_bits(resize(_eight_bits(resize(pixels, pixels.shape[-2], width)), height, width))


def resize_and_crop(pixels: Tensor, size: int, rounding: Callable[[float], int]) -> Tensor:
    """Short side to `size` as `resize_in_steps` does it, then the centre (size, size) of it.

    Args:
        pixels: (batch, 3, height, width).
        size: Side of the square.
        rounding: Where half a pixel goes in the crop's offset: transformers rounds down, torchvision to even.
    """
    height, width = short_side_to(pixels.shape[-2], pixels.shape[-1], size)
    resized = resize_in_steps(pixels, height, width)
    top, left = rounding((height - size) / 2), rounding((width - size) / 2)
    return resized[..., top : top + size, left : left + size]


def resize_and_crop_picture(picture: Image.Image, size: int, rounding: Callable[[float], int]) -> Image.Image:
    """The same as `resize_and_crop`, by Pillow itself."""
    height, width = short_side_to(picture.height, picture.width, size)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    top, left = rounding((height - size) / 2), rounding((width - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def normalize(pixels: Tensor) -> Tensor:
    """Subtract CLIP's mean and divide by its standard deviation, per channel."""
    return _by_channel(pixels, lambda values, mean, std: (values - mean) / std)


def unnormalize(inputs: Tensor) -> Tensor:
    """The inverse of `normalize`."""
    return _by_channel(inputs, lambda values, mean, std: values * std + mean)


def _by_channel(pixels: Tensor, function: Callable[[Tensor, float, float], Tensor]) -> Tensor:
    """With numbers and not with a tensor of them: that would have to be copied to the device of the pixels."""
    channels = zip(pixels.unbind(-3), CLIP_MEAN, CLIP_STD, strict=True)
    return torch.stack([function(*channel) for channel in channels], dim=-3)


def _eight_bits(pixels: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to what 8 bits can hold; gradients pass the rounding as if it were not there.

    In float64, in which gradients are checked by finite differences, nothing is rounded: these would see the steps.
    """
    clipped = pixels.clamp(0, 1)
    if clipped.dtype == torch.float64:
        return clipped
    return clipped + ((clipped * 255).round() / 255 - clipped).detach()


def _checked(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode not in _MODES:
        raise FergiRewardError(f"{name} has the mode {image.mode}, not one of {_MODES}: convert it to RGB")
    _check_size(image.height, image.width, name)
    return image


def _loaded(picture: object) -> Image.Image:
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if not isinstance(picture, Image.Image):
        raise FergiRewardError(
            f"a picture is a PIL image, a path, bytes, io.BytesIO, a mapping with 'bytes' or 'path', or a uint8 array, "
            f"got {type(picture).__name__}: of an open file give what read() returns"
        )
    try:
        picture.load()
    except Exception as error:  # decoders raise whatever they come upon in a damaged file
        raise FergiRewardError(f"cannot read {_named(picture)} ({error}): save it again or leave it out") from error
    return picture


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise FergiRewardError(f"a picture array must be uint8, got {array.dtype}: use pixels (a tensor) for floats")
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise FergiRewardError(f"a picture array must be (height, width[, 3 or 4]), got {array.shape}")
    return Image.fromarray(array)


def _check_size(height: int, width: int, name: str) -> None:
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise FergiRewardError(
            f"{name} is {width} x {height} pixels, longer than {MAX_ASPECT_RATIO} to 1: crop it or leave it out"
        )


def _named(picture: object) -> str:
    return str(picture) if isinstance(picture, str | os.PathLike) else f"the {type(picture).__name__}"
