"""What comes with the toy models: scorers and a calibration, and in the emoji world a judge."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from PIL import Image

from fergi_reward.calibration.calibration import Calibration, Fit
from fergi_reward.diffusion.registry import Toy
from fergi_reward.images import to_pixels
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import SCENES

# How close the nearest real picture is, in dB, and whether the picture shows what was asked for.
EMOJI_JUDGES = ("judge_psnr", "judge_right_scene")
# Mean and standard deviation, about, of what the tiny scorers say of pictures that the tiny models draw.
TINY_MOMENTS = {"image_reward": (0.1, 0.01), "pickscore": (-4.8, 1.2), "hps_v2": (0.3, 0.06)}


def _judge_emoji(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, list[float]]:
    found = judge(torch.stack([to_pixels(picture.convert("RGB")) for picture in pictures]), prompts)
    right = (found.right_object & found.right_colour).float()
    return dict(zip(EMOJI_JUDGES, (found.psnr.tolist(), right.tolist()), strict=True))


def _tiny_calibration() -> Calibration:
    """The shipped weights, where the scores of the published scorers have other means and standard deviations."""
    shipped = Calibration.shipped()
    return replace(shipped, fits=tuple(map(_of_tiny_scores, shipped.fits)))


def _of_tiny_scores(fit: Fit) -> Fit:
    moments = {term.name: TINY_MOMENTS.get(term.name, (term.mean, term.std)) for term in fit.terms}
    terms = (replace(term, mean=moments[term.name][0], std=moments[term.name][1]) for term in fit.terms)
    return replace(fit, terms=tuple(terms))


TINY = Toy(
    {
        "image_reward": tiny.image_reward,
        "pickscore": tiny.pickscore,
        "hps_v2": tiny.hps,
        "clip": tiny.clip,
        "aesthetic": tiny.aesthetic,
    },
    calibration=_tiny_calibration,
)
EMOJI = Toy(
    {name: partial(load_scorer, name, folder) for name, folder in emoji.checkpoints().items()},
    emoji.checkpoints(),
    partial(Calibration.load, emoji.CALIBRATION),
    frozenset(scene.caption for scene in SCENES),
    _judge_emoji,
    EMOJI_JUDGES,
)
