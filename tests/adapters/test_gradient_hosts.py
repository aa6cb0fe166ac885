"""Hosts that want gradients: each is called as its trainer calls it, and the answer goes into the trainer's loss."""

import pytest
import torch
from torch.nn.functional import relu
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize

from fergi_reward.adapters import (
    AlignPropLoss,
    ImscoreReward,
    ReFLReward,
    ReNOLoss,
    TRLAlignPropReward,
    VADERLoss,
)
from fergi_reward.adapters.refl import PROMPT_BYTES, PromptTokenizer
from fergi_reward.core.errors import FergiRewardError

CLIP_STATISTICS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def same(images):
    return images


def signed(images):
    return images * 2 - 1


def prepared(images):
    """As ReFL and ReNO prepare images."""
    resize = Resize(224, interpolation=InterpolationMode.BICUBIC)
    return Compose([resize, CenterCrop(224), Normalize(*CLIP_STATISTICS)])(images)


def trl_alignprop(reward, images, prompts):
    rewards, _ = TRLAlignPropReward(reward)(images, prompts, ({},) * 3)
    return 10.0 - rewards.mean()


def alignprop(reward, images, prompts):
    loss, rewards = AlignPropLoss(reward, image_range=(-1, 1))(images, prompts)
    assert rewards.detach().cpu().numpy().shape == loss.shape == (3,)
    return loss.mean() * 0.5


def vader(reward, images, prompts):
    loss, rewards = VADERLoss(reward)(images, list(prompts))
    assert loss.repeat(2).shape == (2,) and rewards.detach().item() == -loss.item()
    return loss


def refl(reward, images, prompts):
    model = ReFLReward(reward)
    model.requires_grad_(False)
    model.to("cpu", dtype=torch.float16)
    options = {"padding": "max_length", "truncation": True, "max_length": 35, "return_tensors": "pt"}
    tokens = [model.blip.tokenizer([prompt], **options) for prompt in prompts]
    ids, mask = (torch.stack([getattr(one, name)[0] for one in tokens]) for name in ("input_ids", "attention_mask"))
    rewards = model.score_gard(ids.view(-1, ids.shape[-1]), mask.view(-1, mask.shape[-1]), images)
    assert rewards.shape == (3, 1)
    return relu(-rewards + 20).mean() * 1e-3


def reno(reward, images, prompts):
    total = torch.tensor(0.0)
    for reward_loss in [ReNOLoss(reward, weighting=5.0)]:
        loss = reward_loss(images, prompts[0])
        assert f"{reward_loss.name}: {loss.item():.4f}".startswith("FERGI: ")
        total = total + loss * reward_loss.weighting
    return total


def imscore(reward, images, prompts):
    return -ImscoreReward(reward).score(images, list(prompts)).mean()


HOSTS = [
    (trl_alignprop, same, lambda mean: 10 - mean),
    (alignprop, signed, lambda mean: -0.5 * mean),
    (vader, signed, lambda mean: -mean),
    (refl, prepared, lambda mean: 1e-3 * (20 - mean)),
    (reno, prepared, lambda mean: -5 * mean),
    (imscore, same, lambda mean: -mean),
]


@pytest.mark.parametrize(("host", "form", "loss_of"), HOSTS)
def test_the_loss_is_what_the_host_makes_of_the_reward(host, form, loss_of, reward, pixels, prompts):
    """Also under autocast and from half precision, in which some hosts run; the answer is float32."""
    asked = (prompts[0],) * 3 if host is reno else prompts
    seen = form(pixels)
    if form is prepared:
        pixels = CenterCrop(224)(Resize(224, interpolation=InterpolationMode.BICUBIC)(pixels)).clamp(0, 1)
    expected = loss_of(reward(pixels, asked).total.mean())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = host(reward, seen, asked)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    assert host(reward, seen.bfloat16(), asked).dtype == torch.float32


@pytest.mark.parametrize(("host", "form", "loss_of"), HOSTS)
def test_the_gradient_is_that_of_finite_differences(host, form, loss_of, smooth_reward, prompts):
    """Along itself, where it is largest; the images keep away from the ends of the range, at which they are cut off."""
    pixels = 0.2 + 0.6 * torch.rand(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images = form(pixels).requires_grad_()
    (gradient,) = torch.autograd.grad(host(smooth_reward, images, prompts), images)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        step = 2e-2
        ahead, behind = (host(smooth_reward, images + sign * step * direction, prompts) for sign in (1, -1))
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(gradient.norm().item(), rel=2e-2)


def test_refl_passes_prompts_whole():
    prompts = ["", "a Cat, on — a “sofa”; 猫", "x" * 3 * PROMPT_BYTES, "é" * PROMPT_BYTES]
    tokens = PromptTokenizer()(prompts, padding="max_length")
    assert tokens.input_ids.shape == tokens.attention_mask.shape == (4, PROMPT_BYTES)
    decoded = PromptTokenizer().decode(tokens.input_ids, tokens.attention_mask)
    assert decoded == [*prompts[:2], "x" * PROMPT_BYTES, "é" * (PROMPT_BYTES // 2)]
    cut = PromptTokenizer()("a" + "é" * PROMPT_BYTES)
    assert PromptTokenizer().decode(cut.input_ids, cut.attention_mask) == ["a" + "é" * (PROMPT_BYTES // 2 - 1)]


def test_alignprop_is_given_the_range_of_its_images_and_scores_the_same_pictures_in_both(pixels, prompts):
    def brightness(pixels, prompts):
        return pixels.mean((1, 2, 3))

    expected = brightness(pixels, prompts)
    of_today = AlignPropLoss(brightness, image_range=(0, 1))
    torch.testing.assert_close(of_today(pixels, prompts)[1], expected)
    before = AlignPropLoss(brightness, image_range=(-1, 1))
    torch.testing.assert_close(before(signed(pixels), prompts)[1], expected)
    torch.testing.assert_close(VADERLoss(brightness)(signed(pixels), prompts)[1], expected.mean())
    with pytest.raises(FergiRewardError, match=r"must lie in \[0, 1\]"):
        of_today(signed(pixels), prompts)
    with pytest.raises(FergiRewardError, match=r"image_range is \(0, 255\)"):
        AlignPropLoss(brightness, image_range=(0, 255))
    with pytest.raises(TypeError, match="image_range"):
        AlignPropLoss(brightness)
