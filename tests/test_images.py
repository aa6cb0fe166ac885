import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import (
    as_png,
    checked_once,
    checked_pixels,
    normalize,
    open_picture,
    picture_list,
    resize,
    resize_and_crop,
    resize_and_crop_picture,
    to_picture,
    to_pixels,
)

SIZES = [(512, 512), (640, 256), (200, 501), (47, 33), (224, 224), (225, 300), (1, 1)]


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(-1) if channels == 1 else values, mode)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_pictures_meet_the_model_as_transformers_prepares_them(size: tuple[int, int]) -> None:
    picture = noise(*size)
    ours = normalize(to_pixels(resize_and_crop_picture(picture, 224, math.floor)))
    theirs = CLIPImageProcessorPil()(picture, return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_become_what_pillow_makes_of_the_picture(size: tuple[int, int]) -> None:
    """But for the last bit, which Pillow's fixed-point arithmetic sometimes rounds the other way."""
    picture = noise(*size)
    by_pillow = to_pixels(resize_and_crop_picture(picture, 224, math.floor))
    difference = (resize_and_crop(to_pixels(picture)[None], 224, math.floor)[0] - by_pillow).abs() * 255
    assert difference.max() < 1.001
    assert (difference > 0.001).float().mean() < 0.01


def test_gradients_pass_the_rounding_as_if_it_were_not_there() -> None:
    """As those of float64, which is not rounded, where nothing is clipped."""
    pixels = to_pixels(noise(47, 33))[None] / 2 + 0.25
    weights = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        leaf = pixels.to(dtype, copy=True).requires_grad_()
        (weights * resize_and_crop(leaf, 24, round)).sum().backward()
        return leaf.grad.float()

    torch.testing.assert_close(gradient(torch.float32), gradient(torch.float64))


def test_the_transform_passes_its_gradient_in_float64() -> None:
    pixels = torch.rand(1, 3, 7, 11, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: normalize(resize_and_crop(x, 5, round)), pixels)
    assert torch.autograd.gradcheck(lambda x: resize(x, 9, 4, antialias=False), pixels)


def test_normalize_by_hand() -> None:
    grey = normalize(torch.full((1, 3, 1, 1), 0.5)).flatten()
    expected = [(0.5 - 0.48145466) / 0.26862954, (0.5 - 0.4578275) / 0.26130258, (0.5 - 0.40821073) / 0.27577711]
    torch.testing.assert_close(grey, torch.tensor(expected))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_usual_mode_opens_and_converts(mode: str, tmp_path: Path) -> None:
    picture = noise(8, 6).convert(mode)
    assert open_picture(picture).convert("RGB").size == (8, 6)
    assert open_picture(saved(picture.convert("P"), tmp_path / "p.png")).mode == "P"


def test_sixteen_bit_grey_is_scaled_to_eight(tmp_path: Path) -> None:
    sixteen = np.array([[0, 257, 32896, 65535]], np.uint16)
    path = saved(Image.fromarray(sixteen), tmp_path / "16.png")
    assert np.asarray(open_picture(path)).tolist() == [[0, 1, 128, 255]]


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    path = saved(red, tmp_path / "a.gif", save_all=True, append_images=[blue])
    assert open_picture(path).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_the_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_picture(saved(noise(8, 4), tmp_path / "rotated.jpg", exif=exif)).size == (8, 4)


def test_a_wide_picture_is_opened_and_a_thread_refused() -> None:
    assert open_picture(Image.new("RGB", (20_000, 100))).size == (20_000, 100)
    with pytest.raises(FergiRewardError, match="20000 x 1 pixels"):
        open_picture(Image.new("RGB", (20_000, 1)))
    with pytest.raises(FergiRewardError, match="20000 x 1 pixels"):
        checked_pixels(torch.zeros(1, 3, 1, 20_000))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise(64, 64).save(buffer, "PNG")
    for name, content in {"cut.png": buffer.getvalue()[:2000], "page.jpg": b"<html></html>", "empty.png": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FergiRewardError, match=f"cannot read .*{name}"):
            open_picture(tmp_path / name)
        with pytest.raises(FergiRewardError, match="cannot read the bytes") as caught:
            open_picture(content)
        assert "0x" not in str(caught.value)  # the address of a buffer is not the same twice
    assert open_picture(buffer.getvalue()).tobytes() == noise(64, 64).tobytes()
    with pytest.raises(FergiRewardError, match=r"there is no picture .*none\.png"):
        open_picture(tmp_path / "none.png")
    with pytest.raises(FergiRewardError, match="cannot read"):
        open_picture(tmp_path)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("F", (4, 4)), "mode F"),
        (np.zeros((4, 4, 3), np.float32), "uint8, got float32"),
        (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (7, "got int"),
        ({"bytes": None, "path": None}, r"'bytes' or its place in 'path', got \['bytes', 'path'\] with neither"),
        (io.BufferedReader(io.BytesIO()), r"got BufferedReader: of an open file give what read\(\) returns"),
    ],
)
def test_what_is_no_picture_is_refused(picture: object, message: str) -> None:
    with pytest.raises(FergiRewardError, match=message):
        open_picture(picture)


def test_one_picture_is_a_list_of_one_and_an_array_of_four_dimensions_a_batch() -> None:
    assert picture_list("a.png") == ["a.png"]
    assert len(picture_list(np.zeros((4, 4, 3), np.uint8))) == 1
    assert len(picture_list(np.zeros((2, 4, 4, 3), np.uint8))) == 2


def test_a_buffer_and_a_row_of_datasets_are_pictures(tmp_path: Path) -> None:
    path, buffer = saved(noise(8, 6), tmp_path / "a.png"), io.BytesIO()
    noise(8, 6).save(buffer, "PNG")  # which leaves the buffer at its end
    for picture in (buffer, {"bytes": buffer.getvalue(), "path": None}, {"bytes": None, "path": str(path)}):
        assert picture_list(picture) == [picture]
        for _ in range(2):
            assert open_picture(picture).tobytes() == noise(8, 6).tobytes()


@pytest.mark.parametrize("outside", [1.0000001, float(torch.tensor(1, dtype=torch.bfloat16) + 2**-7), -0.004])
def test_what_rounding_left_outside_of_the_range_is_cut_off(outside: float) -> None:
    pixels = torch.tensor([outside, 0.0, 1.0, 0.5]).view(1, 1, 2, 2).repeat(1, 3, 1, 1).requires_grad_()
    kept = checked_pixels(pixels)
    assert kept.flatten()[:4].tolist() == [min(max(outside, 0.0), 1.0), 0.0, 1.0, 0.5]
    kept.sum().backward()
    assert pixels.grad.flatten()[:4].tolist() == [0, 1, 1, 1]
    inside = torch.rand(1, 3, 2, 2)
    assert checked_pixels(inside) is inside


@pytest.mark.parametrize("mode", [False, True])
def test_what_was_checked_once_is_checked_again_after_it_was_written_to(mode: bool) -> None:
    with torch.inference_mode(mode), checked_once(torch.rand(1, 3, 2, 2)) as pixels:
        assert checked_pixels(pixels) is pixels
        with pytest.raises(FergiRewardError, match="got 2 to 2"):
            checked_pixels(torch.full_like(pixels, 2))
        pixels[0, 0, 0, 0] = 2
        with pytest.raises(FergiRewardError, match="to 2"):
            checked_pixels(pixels)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([0.5], "must be a tensor, got list"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "got torch.uint8"),
        (torch.zeros(3, 4, 4), r"got \(3, 4, 4\)"),
        (torch.zeros(1, 4, 4, 4), r"got \(1, 4, 4, 4\)"),
        (torch.zeros(0, 3, 4, 4), r"got \(0, 3, 4, 4\)"),
        (torch.full((1, 3, 4, 4), -0.5), "got -0.5 to -0.5"),
        (torch.full((1, 3, 4, 4), 255.0), "got 255 to 255"),
        (torch.full((1, 3, 4, 4), 1.0079), "got 1.0079"),
        (torch.full((1, 3, 4, 4), math.nan), "NaN"),
        (torch.full((1, 3, 4, 4), math.inf), "got inf"),
    ],
)
def test_what_are_no_pixels_is_refused(pixels: object, message: str) -> None:
    with pytest.raises(FergiRewardError, match=message):
        checked_pixels(pixels)


def test_a_picture_of_pixels_rounds_to_the_nearest_of_256_values() -> None:
    pixels = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0]).expand(3, 2, 4)
    assert np.asarray(to_picture(pixels))[1].tolist() == [[0] * 3, [0] * 3, [1] * 3, [255] * 3]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(as_png(pixels)))), np.asarray(to_picture(pixels)))
