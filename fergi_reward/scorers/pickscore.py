"""PickScore (Kirstain et al., Pick-a-Pic, arXiv 2305.01569): CLIP ViT-H/14 tuned on half a million choices."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import normalize as unit_length

from fergi_reward.images import normalize, resize_and_crop, resize_and_crop_picture, to_pixels
from fergi_reward.scorers.base import Option, Scorer, at_least_float32
from fergi_reward.scorers.checkpoints import Checkpoint, assign_weights, read_json, read_weights
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPTokenizer


class PickScorer(Scorer):
    """The score is exp(logit_scale) x cosine of the image and text embedding, about 100 x cosine; near 20 for photos.

    The checkpoint is `model.safetensors` and `config.json`; a local folder may bring a tokenizer in `processor/`.

    Args:
        config: Sizes of the CLIP model; the weights are random until some are loaded.
        tokenizer: By default CLIP's own, which needs no download.
    """

    name = "pickscore"
    license = "MIT"
    default_checkpoint = "yuvalkirstain/PickScore_v1"
    revision = "a4e4367c6dfa7288a00c550414478f865b875800"

    def __init__(self, config: "CLIPConfig", tokenizer: "CLIPTokenizer | None" = None) -> None:
        from transformers import CLIPModel

        super().__init__()
        self.model: Any = CLIPModel(config)
        self.size: int = cast(Any, config.vision_config).image_size
        self.tokenizer = tokenizer or clip_tokenizer()

    @classmethod
    def _load(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        from transformers import CLIPConfig, CLIPTokenizer

        config = CLIPConfig.from_dict(read_json(checkpoint.file("config.json")))
        path = checkpoint.file("model.safetensors")
        processor = checkpoint.extra("processor")
        tokenizer = CLIPTokenizer.from_pretrained(processor) if processor else None
        with torch.device("meta"):
            scorer = cls(config, tokenizer, **options)
        # Older transformers saved the position numbers, which are no weights; newer ones make them.
        weights = {key: value for key, value in read_weights(path).items() if not key.endswith(".position_ids")}
        assign_weights(scorer.model, weights, path)
        for tower in (scorer.model.vision_model, scorer.model.text_model):
            positions = tower.embeddings.position_embedding.num_embeddings
            tower.embeddings.position_ids = torch.arange(positions)[None]
        return scorer

    def preprocess(self, picture: Image.Image) -> Tensor:
        """Convert to RGB (alpha dropped), short side to 224 by Pillow, centre crop, normalise: transformers 4.27."""
        square = resize_and_crop_picture(picture.convert("RGB"), self.size, math.floor)
        return normalize(to_pixels(square))

    def transform(self, pixels: Tensor) -> Tensor:
        """The same on a float tensor.

        Pillow rounds to 8 bits while it resizes: scores differ by up to 0.25 from those of the picture (small random
        model, whose scores spread by 5 over pictures), and not at all where nothing is resized.
        """
        return normalize(resize_and_crop(pixels, self.size, math.floor))

    def encode_images(self, inputs: Tensor) -> Tensor:
        """(batch, 3, size, size) -> unit vectors (batch, dim)."""
        return _projected(self.model.vision_model(inputs).pooler_output, self.model.visual_projection)

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors (batch, dim).

        No attention mask is needed: attention is causal, and the text's vector is taken at its first end token.
        """
        tokens = self.tokenizer(
            list(prompts),
            padding=True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        pooled = self.model.text_model(tokens.input_ids.to(self.device)).pooler_output
        return _projected(pooled, self.model.text_projection)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """exp(logit_scale) x cosine, (batch,)."""
        return self.model.logit_scale.exp() * (images * texts).sum(-1)

    def towers(self) -> Sequence[nn.Module]:
        """CLIP's vision and text transformer."""
        return [self.model.vision_model, self.model.text_model]


def _projected(pooled: Tensor, projection: nn.Linear) -> Tensor:
    weight = at_least_float32(projection.weight)
    return unit_length(linear(pooled.to(weight.dtype), weight), dim=-1)
