import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy.emoji.judge import BEST_PSNR, judge
from fergi_reward.toy.emoji.pictures import SCENES, compose_anywhere

CAPTIONS = [scene.caption for scene in SCENES]


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    return compose_anywhere(SCENES, torch.Generator().manual_seed(0))


def test_real_pictures_are_perfect(real: torch.Tensor) -> None:
    assert judge(real, CAPTIONS).means() == {"psnr": BEST_PSNR, "right_object": 1.0, "right_colour": 1.0}


def test_the_psnr_is_that_of_the_mean_squared_error(real: torch.Tensor) -> None:
    # An error of 0.1 at every pixel is a mean squared error of 0.01: 20 dB.
    verdict = judge(torch.where(real < 0.5, real + 0.1, real - 0.1)[:64], CAPTIONS[:64])
    torch.testing.assert_close(verdict.psnr, torch.full((64,), 20.0))
    assert verdict.right_object.all()


def test_the_caption_decides_what_is_right(real: torch.Tensor) -> None:
    cat = CAPTIONS.index("a cat on a red background")
    wanted = ["a cat on a red background", "a dog on a red background", "a cat on a blue background"]
    verdict = judge(real[[cat] * 3], wanted)
    assert verdict.right_object.tolist() == [True, False, True]
    assert verdict.right_colour.tolist() == [True, True, False]


def test_noise_is_nothing() -> None:
    noise = torch.rand(len(CAPTIONS), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    means = judge(noise, CAPTIONS).means()
    assert means["psnr"] < 12
    assert means["right_object"] < 0.15
    assert means["right_colour"] < 0.3


def test_mistakes_are_named() -> None:
    with pytest.raises(FergiRewardError, match=r"\(2, 3, 32, 32\) for 2 captions, got \(1, 3, 32, 32\)"):
        judge(torch.zeros(1, 3, 32, 32), CAPTIONS[:2])
    with pytest.raises(FergiRewardError, match="got \\(1, 3, 64, 64\\)"):
        judge(torch.zeros(1, 3, 64, 64), CAPTIONS[:1])
    with pytest.raises(FergiRewardError, match="no caption of the emoji world"):
        judge(torch.zeros(1, 3, 32, 32), ["a cat"])
