"""ImageReward's own package. The folder: med_config.json, vocab.txt, perhaps vision_config.json and ImageReward.pt."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from ImageReward.ImageReward import ImageReward
from ImageReward.models.BLIP import blip, blip_pretrain
from serve import serve


def build(folder: Path) -> ImageReward:
    """The model, with the checkpoint in the folder, or with random weights."""
    blip.BertTokenizer.from_pretrained = lambda _: blip.BertTokenizer(str(folder / "vocab.txt"))
    sizes = folder / "vision_config.json"
    if sizes.exists():
        vision = json.loads(sizes.read_text())
        vision["img_size"] = vision.pop("image_size")
        blip_pretrain.create_vit = lambda *_: (blip.VisionTransformer(**vision), vision["embed_dim"])
    model = ImageReward(str(folder / "med_config.json")).eval()
    checkpoint = folder / "ImageReward.pt"
    if checkpoint.exists():
        model.load_state_dict(torch.load(checkpoint), strict=False)
    return model


def load(folder: Path) -> Callable[[list[str], str], list[float]]:
    """Its `inference_rank`."""
    model = build(folder)

    def score(images: list[str], prompt: str) -> list[float]:
        values = model.inference_rank(prompt, images)[1]
        return values if isinstance(values, list) else [values]

    return score


if __name__ == "__main__":
    serve(load)
