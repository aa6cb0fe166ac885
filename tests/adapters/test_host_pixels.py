import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize

from fergi_reward.adapters.host_pixels import from_clip_normalized, from_picture, from_signed, from_uint8, from_unit
from fergi_reward.core.errors import FergiRewardError

CLIP_STATISTICS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def test_each_form_of_an_image_is_the_same_pixels(pixels):
    bytes_ = (pixels * 255).round().to(torch.uint8)
    array = bytes_.permute(0, 2, 3, 1).numpy()
    torch.testing.assert_close(from_unit(pixels), pixels)
    torch.testing.assert_close(from_unit(array), pixels)
    torch.testing.assert_close(from_uint8(bytes_), pixels)
    torch.testing.assert_close(from_signed(pixels * 2 - 1), pixels)
    torch.testing.assert_close(from_clip_normalized(Normalize(*CLIP_STATISTICS)(pixels)), pixels)
    torch.testing.assert_close(from_picture(Image.fromarray(array[0])), pixels[0])


def test_grey_and_transparent_pictures_become_rgb():
    grey, clear = Image.new("L", (4, 2), 51), Image.new("RGBA", (4, 2), (51, 51, 51, 0))
    for picture in (grey, clear):
        torch.testing.assert_close(from_picture(picture), torch.full((3, 2, 4), 0.2))


def test_half_precision_is_not_kept(pixels):
    for conversion in (from_unit, from_signed, from_clip_normalized):
        assert conversion(pixels.bfloat16()).dtype == torch.float32
        assert conversion(pixels.double()).dtype == torch.float64


def test_what_a_bicubic_resize_overshoots_is_cut_off():
    stripes = torch.zeros(1, 3, 32, 40)
    stripes[..., ::2] = 1
    prepare = Compose(
        [Resize(224, InterpolationMode.BICUBIC, antialias=False), CenterCrop(224), Normalize(*CLIP_STATISTICS)]
    )
    resized = Resize(224, InterpolationMode.BICUBIC, antialias=False)(stripes)
    assert resized.min() < -0.05 and resized.max() > 1.05
    torch.testing.assert_close(from_clip_normalized(prepare(stripes)), CenterCrop(224)(resized).clamp(0, 1))


def test_gradients_pass_but_where_an_image_was_cut_off():
    images = torch.tensor([-1.5, -0.5, 0.5, 1.5], requires_grad=True)
    from_signed(images).sum().backward()
    assert images.grad.tolist() == [0, 0.5, 0.5, 0]
    images = torch.zeros(1, 3, 1, 1, requires_grad=True)
    from_clip_normalized(images).sum().backward()
    assert images.grad.flatten().tolist() == pytest.approx(CLIP_STATISTICS[1])


@pytest.mark.parametrize(
    ("conversion", "images", "message"),
    [
        (from_signed, torch.full((1, 3, 2, 2), 255.0), r"must be in \[-1, 1\], got 255 to 255"),
        (from_clip_normalized, torch.full((1, 3, 2, 2), 9.0), "must be normalised by CLIP's statistics, got 9 to 9"),
        (from_signed, torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "must be a float tensor, got torch.uint8"),
        (from_unit, [1.0], "must be a float tensor, got list"),
        (from_unit, np.zeros((1, 2, 2, 3)), r"must be uint8 \(batch, height, width, 3\), got float64"),
        (from_unit, np.zeros((1, 3, 2, 2), np.uint8), r"got uint8 \(1, 3, 2, 2\)"),
        (from_uint8, torch.zeros(3, 2, 2), "must be a uint8 tensor, got torch.float32"),
    ],
)
def test_another_range_or_type_is_an_error(conversion, images, message):
    with pytest.raises(FergiRewardError, match=message):
        conversion(images)
