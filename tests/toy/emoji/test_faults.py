import pytest
import torch

from fergi_reward.toy.emoji.faults import FAULTS, blurred, faded, garish, tinted, torn, with_faults
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import SCENES, compose_anywhere

KINDS = range(len(FAULTS))


@pytest.fixture
def pixels() -> torch.Tensor:
    return compose_anywhere(SCENES[::16], torch.Generator().manual_seed(0))


def spoilt(pixels: torch.Tensor, strength: float, kind: int) -> torch.Tensor:
    strengths, kinds = torch.full((len(pixels),), strength), torch.full((len(pixels),), kind)
    return with_faults(pixels, strengths, kinds, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_no_strength_is_no_fault_and_more_is_worse(pixels: torch.Tensor, kind: int) -> None:
    torch.testing.assert_close(spoilt(pixels, 0.0, kind), pixels)
    errors = [(spoilt(pixels, strength, kind) - pixels).square().mean() for strength in (0.2, 0.6, 1.0)]
    assert errors == sorted(errors)
    captions = [scene.caption for scene in SCENES[::16]]
    assert judge(spoilt(pixels, 0.3, kind), captions).psnr.max() < 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_keeps_shape_and_range(pixels: torch.Tensor, kind: int) -> None:
    strongest = spoilt(pixels, 1.0, kind)
    assert strongest.shape == pixels.shape
    assert strongest.min() >= 0 and strongest.max() <= 1


def test_each_row_gets_its_own_fault(pixels: torch.Tensor) -> None:
    kinds, strength = torch.arange(len(pixels)) % len(FAULTS), torch.linspace(0, 1, len(pixels))
    together = with_faults(pixels, strength, kinds, torch.Generator().manual_seed(1))
    alone = faded(pixels[1::6], strength[1::6], torch.Generator())
    torch.testing.assert_close(together[1::6], alone)


def test_fading_goes_to_grey() -> None:
    pixels, strength = torch.tensor([0.0, 0.5, 1.0]).repeat(2, 3, 4, 1), torch.tensor([1.0, 0.5])
    expected = torch.tensor([[0.4, 0.5, 0.6], [0.2, 0.5, 0.8]])  # 0.8 and 0.4 of the way
    torch.testing.assert_close(faded(pixels, strength, torch.Generator())[:, 0, 0], expected)


def test_garishness_goes_away_from_grey_and_stops_at_the_range() -> None:
    pixels = torch.tensor([0.0, 0.4, 0.5, 0.9]).repeat(1, 3, 4, 1)
    expected = torch.tensor([0.0, 0.35, 0.5, 1.0])
    torch.testing.assert_close(garish(pixels, torch.tensor([0.5]), torch.Generator())[0, 0, 0], expected)


def test_a_tint_moves_all_pixels_towards_one_colour() -> None:
    pixels = torch.tensor([0.0, 0.4, 1.0]).repeat(1, 3, 4, 1)
    after = tinted(pixels, torch.tensor([0.5]), torch.Generator().manual_seed(0))
    colour = (after - 0.75 * pixels) / 0.25  # a quarter of the way
    torch.testing.assert_close(colour, colour[..., :1, :1].expand_as(colour))
    assert colour.min() >= 0 and colour.max() <= 1


def test_blurring_leaves_flat_colour_and_keeps_the_mean() -> None:
    flat = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(blurred(flat, torch.ones(1), torch.Generator()), flat)
    dot = torch.zeros(1, 3, 32, 32)
    dot[..., 16, 16] = 1
    smeared = blurred(dot, torch.ones(1), torch.Generator())
    torch.testing.assert_close(smeared.sum((2, 3)), torch.ones(1, 3))
    # Four passes of (1, 2, 1) / 4 are the binomial weights of order 8: 70 / 256 in the middle, in both directions.
    torch.testing.assert_close(smeared[0, 0, 16, 16], torch.tensor((70 / 256) ** 2))


def test_tearing_moves_pixels_and_makes_none(pixels: torch.Tensor) -> None:
    after = torn(pixels, torch.ones(len(pixels)), torch.Generator().manual_seed(3))
    torch.testing.assert_close(after.sort(dim=-1).values, pixels.sort(dim=-1).values)
    assert torch.equal(after[:, :, 0], pixels[:, :, 0])
    torch.testing.assert_close(after[:, :, -1], pixels[:, :, -1].roll(12, dims=-1))
