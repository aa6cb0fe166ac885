"""HPS's own package. The folder: perhaps open_clip_config.json and checkpoint.pt; else ViT-H/14 with random weights."""

import json
from collections.abc import Callable
from pathlib import Path

from hpsv2 import img_score
from hpsv2.src.open_clip import create_model_and_transforms, factory
from serve import serve


def load(folder: Path) -> Callable[[list[str], str], list[float]]:
    """`score`, which reads the checkpoint at every call; without one that step is left out."""
    sizes, checkpoint = folder / "open_clip_config.json", folder / "checkpoint.pt"
    if sizes.exists():
        factory._MODEL_CONFIGS["ViT-H-14"] = json.loads(sizes.read_text())
    model, _, preprocess = create_model_and_transforms(
        "ViT-H-14", precision="amp", device="cpu", light_augmentation=True, output_dict=True
    )
    img_score.model_dict.update(model=model, preprocess_val=preprocess)
    if not checkpoint.exists():
        model.load_state_dict = lambda _: None
        img_score.torch.load = lambda *_, **__: {"state_dict": None}
    return lambda images, prompt: img_score.score(images, prompt, cp=str(checkpoint))


if __name__ == "__main__":
    serve(load)
