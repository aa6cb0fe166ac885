"""PickScore as its README computes it. The folder: config.json, processor/ or a vocabulary, maybe model.safetensors."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from serve import serve
from transformers import AutoProcessor, CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast


def load(folder: Path) -> Callable[[list[str], str], list[float]]:
    """The README's steps, one image at a time."""
    has_weights, has_processor = (folder / "model.safetensors").exists(), (folder / "processor").exists()
    model = CLIPModel.from_pretrained(folder) if has_weights else CLIPModel(CLIPConfig.from_pretrained(folder))
    model.eval()
    if has_processor:
        processor = AutoProcessor.from_pretrained(folder / "processor")
    else:
        processor = CLIPProcessor(CLIPImageProcessor(), CLIPTokenizerFast.from_pretrained(folder))
    options = {"padding": True, "truncation": True, "max_length": 77, "return_tensors": "pt"}

    def score_one(path: str, prompt: str) -> float:
        images = processor(images=[Image.open(path)], **options)
        texts = processor(text=prompt, **options)
        with torch.no_grad():
            seen = model.get_image_features(**images)
            read = model.get_text_features(**texts)
            seen, read = (features / features.norm(dim=-1, keepdim=True) for features in (seen, read))
            return float(model.logit_scale.exp() * (read @ seen.T)[0])

    return lambda images, prompt: [score_one(path, prompt) for path in images]


if __name__ == "__main__":
    serve(load)
