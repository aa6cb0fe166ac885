"""Scorers and pipelines of the published sizes with seeded random weights, made on the device where they belong.

The weights mean nothing; sizes, shapes and the ranges of activations are those that real ones have.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from official_sizes import bert_words, pickscore_config
from torch import nn

from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.published import PUBLISHED
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer
from fergi_reward.toy import tiny, tiny_readers

# By how the name of the text encoder's class begins.
TOKENIZERS: Mapping[str, Callable[[], object]] = {
    "CLIP": clip_tokenizer,
    "T5": tiny.t5_tokenizer,
    "Qwen": tiny.qwen_tokenizer,
    "Mistral3": tiny_readers.mistral_processor,
    "Gemma": tiny_readers.gemma_tokenizer,
}

Module = TypeVar("Module", bound=nn.Module)


def official_scorer(name: str, device: torch.device | str, *, seed: int = 0) -> TowerScorer:
    """A scorer of its published size in float32, frozen.

    Args:
        name: A key of `SCORERS`.
        device: Where it is made and drawn.
        seed: Seed of its weights.
    """
    with torch.device(device):
        scorer = SCORERS[name]()
    return filled(scorer, seed).eval().requires_grad_(False)


def official_pipeline(model: str, device: torch.device | str, dtype: torch.dtype, *, seed: int = 0) -> Pipeline:
    """A published pipeline, all of it in `dtype`, with tokenizers that need no download.

    Args:
        model: A name of `PUBLISHED`.
        device: Where it is made and drawn.
        dtype: Data type of all its parts.
        seed: Seed of its weights.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            pipeline = PUBLISHED.get(model).target()
    finally:
        torch.set_default_dtype(before)
    for number, part in enumerate([family_of(pipeline).network, *family_of(pipeline).other_models]):
        filled(part, seed + number).eval()
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        if name in pipeline.components:
            reader = type(getattr(pipeline, name.replace("tokenizer", "text_encoder"))).__name__
            pipeline.register_modules(**{name: _tokenizer(reader)})
    return pipeline


def _tokenizer(reader: str) -> object:
    """A tokenizer of the kind that a text encoder reads; its tokens are single bytes, except for CLIP."""
    for kind, tokenizer in TOKENIZERS.items():
        if reader.startswith(kind):
            return tokenizer()
    raise ValueError(f"no tokenizer is known for {reader}: add it to TOKENIZERS")


def _image_reward() -> TowerScorer:
    from fergi_reward.scorers.image_reward import ImageRewardScorer, TextSizes, VisionSizes, bert_tokenizer

    return ImageRewardScorer(VisionSizes(), TextSizes(), bert_tokenizer(bert_words()))


def _pickscore() -> TowerScorer:
    from fergi_reward.scorers.pickscore import PickScorer

    return PickScorer(pickscore_config())


def _hps() -> TowerScorer:
    from open_clip import get_model_config

    from fergi_reward.scorers.hps import HPSv2Scorer

    return HPSv2Scorer(get_model_config("ViT-H-14"))


_LARGE: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
_LARGE |= {"num_attention_heads": 16, "image_size": 224, "patch_size": 14, "projection_dim": 768}


def _clip() -> TowerScorer:
    from transformers import CLIPConfig

    from fergi_reward.scorers.clip import CLIPScorer

    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    return CLIPScorer(CLIPConfig(text_config=text | {"eos_token_id": 2}, vision_config=_LARGE, projection_dim=768))


def _aesthetic() -> TowerScorer:
    from transformers import CLIPVisionConfig

    from fergi_reward.scorers.aesthetic import AestheticScorer

    return AestheticScorer(CLIPVisionConfig(**_LARGE))


SCORERS: Mapping[str, Callable[[], TowerScorer]] = {
    "image_reward": _image_reward,
    "pickscore": _pickscore,
    "hps_v2": _hps,
    "clip": _clip,
    "aesthetic": _aesthetic,
}


@torch.no_grad()
def filled(module: Module, seed: int) -> Module:
    """The module with weights that keep the size of activations: matrices by their width, norms 1, biases 0."""
    generators: dict[torch.device, torch.Generator] = {}
    for name, weight in module.named_parameters():
        draws = generators.setdefault(weight.device, torch.Generator(weight.device).manual_seed(seed))
        if name.endswith("logit_scale"):
            weight.fill_(math.log(100))
        elif weight.ndim > 1:
            weight.normal_(0, math.prod(weight.shape[1:]) ** -0.5, generator=draws)
        elif name.endswith("bias"):
            weight.zero_()
        else:
            weight.fill_(1)
    return module
