"""What comes with the toy models: scorers, and in the emoji world a calibration and a judge."""

from collections.abc import Sequence
from functools import partial

import torch
from PIL import Image

from fergi_reward.diffusion.registry import Toy
from fergi_reward.images import to_pixels
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import SCENES

# How close the nearest real picture is, in dB, and whether the picture shows what was asked for.
EMOJI_JUDGES = ("judge_psnr", "judge_right_scene")


def _judge_emoji(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, list[float]]:
    found = judge(torch.stack([to_pixels(picture.convert("RGB")) for picture in pictures]), prompts)
    right = (found.right_object & found.right_colour).float()
    return dict(zip(EMOJI_JUDGES, (found.psnr.tolist(), right.tolist()), strict=True))


TINY = Toy(
    {
        "image_reward": tiny.image_reward,
        "pickscore": tiny.pickscore,
        "hps_v2": tiny.hps,
        "clip": tiny.clip,
        "aesthetic": tiny.aesthetic,
    }
)
EMOJI = Toy(
    {name: partial(load_scorer, name, folder) for name, folder in emoji.checkpoints().items()},
    emoji.checkpoints(),
    emoji.CALIBRATION,
    {"emoji": emoji.DATA / "pipeline"},
    frozenset(scene.caption for scene in SCENES),
    _judge_emoji,
    EMOJI_JUDGES,
)
