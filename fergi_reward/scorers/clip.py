"""CLIP ViT-L/14 (Radford et al., arXiv 2103.00020): how well an image matches its prompt, with no human preference."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import normalize as unit_length

from fergi_reward.core.transfers import sent
from fergi_reward.hub.published import CLIP
from fergi_reward.images import Picture, normalize, picture_list, resize_and_crop, resize_and_crop_picture, to_pixels
from fergi_reward.scorers.base import Option, TowerScorer, at_least_float32, in_order
from fergi_reward.scorers.checkpoints import Checkpoint, load_weights, read_json
from fergi_reward.scorers.clip_tokenizer import openai_tokenizer, openai_tokens

if TYPE_CHECKING:
    from transformers import CLIPConfig, PretrainedConfig


class CLIPImageScorer(TowerScorer):
    """What scorers on CLIP's image tower share; it sees images as OpenAI's package `clip` prepares them.

    A subclass makes `model` (with `vision_model` and `visual_projection`) and `size`.
    """

    model: Any
    size: int

    def preprocess(self, picture: Image.Image) -> Tensor:
        """Short side to 224 by Pillow, centre crop, then to RGB (alpha dropped), normalise; as for ImageReward."""
        square = resize_and_crop_picture(picture, self.size, round)
        return normalize(to_pixels(square.convert("RGB")))

    def transform(self, pixels: Tensor) -> Tensor:
        """The same on a float tensor."""
        return normalize(resize_and_crop(pixels, self.size, round))

    def encode_images(self, inputs: Tensor) -> Tensor:
        """(batch, 3, size, size) -> unit vectors (batch, dim)."""
        return _projected(self.model.vision_model(inputs).pooler_output, self.model.visual_projection)


class CLIPScorer(CLIPImageScorer):
    """The score is the cosine of the image and text embedding: FERGI's column CLIP_score, 0.29 on average there.

    The checkpoint is `model.safetensors` and `config.json`. Prompts too meet the model as OpenAI's package prepares
    them, which ImageReward's package calls for its CLIP score.

    Args:
        config: Sizes of the CLIP model; the weights are random until some are loaded.
    """

    name = "clip"
    license = CLIP.license
    files = str(CLIP)
    default_checkpoint = CLIP.name
    parameter_count = 428_000_000
    revision = CLIP.revision

    def __init__(self, config: "CLIPConfig") -> None:
        from transformers import CLIPModel

        super().__init__()
        self.model = CLIPModel(config)
        self.sizes = config_record(config)
        self.size = cast(Any, config.vision_config).image_size

    @classmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        from transformers import CLIPConfig

        return cls(CLIPConfig.from_dict(read_json(checkpoint.file("config.json"))), **options)

    def _fill(self, checkpoint: Checkpoint) -> None:
        load_weights(self.model, checkpoint.file("model.safetensors"), without_positions)
        for tower in (self.model.vision_model, self.model.text_model):
            number_positions(tower)

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors (batch, dim).

        No attention mask is needed: attention is causal, and the text's vector is taken at its first end token.
        """
        return _projected(self.model.text_model(self.tokens(prompts)).pooler_output, self.model.text_projection)

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers (batch, longest); of long prompts the first 75 and the end token, as `clip.tokenize` cuts."""
        length = self.model.config.text_config.max_position_embeddings
        return sent(openai_tokens(openai_tokenizer(), prompts, length, full_length=self.full_length), self.device)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """The cosine, (batch,)."""
        return (images * texts).sum(-1)

    def embed(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> tuple[Tensor, Tensor]:
        """What `compare` compares, for pictures or pixels, without gradients; arguments and errors as for `score`.

        Returns:
            Unit vectors of the images and of the prompts, (n, dim) each, on the model's device.
        """
        listed = images if isinstance(images, Tensor) else picture_list(images)
        with torch.inference_mode(), self._own_precision():
            encoded = list(self.encoded(listed, prompts, batch_size))
        images = in_order([(rows, features.float()) for rows, features, _ in encoded])
        return images, in_order([(rows, features.float()) for rows, _, features in encoded])

    @property
    def width(self) -> int:
        """How many numbers an embedding has."""
        return int(self.model.config.projection_dim)

    def fingerprint(self) -> str:
        """SHA-256 over the last projections and the scale, which are in float32 whatever the dtype of the towers.

        Any training of the model moves them, so that two models with one fingerprint make the same embeddings.
        """
        digest = hashlib.sha256()
        for part in (self.model.visual_projection.weight, self.model.text_projection.weight, self.model.logit_scale):
            digest.update(part.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    def towers(self) -> Sequence[nn.Module]:
        """CLIP's vision and text transformer."""
        return [self.model.vision_model, self.model.text_model]


def config_record(config: "PretrainedConfig") -> dict[str, Any]:
    """A configuration of transformers as JSON, without the version of the library that wrote it."""
    return {name: value for name, value in config.to_diff_dict().items() if name != "transformers_version"}


def without_positions(key: str) -> str | None:
    """Older transformers saved the position numbers, which are no weights; newer ones make them."""
    return None if key.endswith(".position_ids") else key


def number_positions(tower: nn.Module) -> None:
    """Make the position numbers of a tower that was built on the meta device."""
    embeddings: Any = tower.embeddings
    embeddings.position_ids = torch.arange(embeddings.position_embedding.num_embeddings, device="cpu")[None]


def _projected(pooled: Tensor, projection: nn.Linear) -> Tensor:
    weight = at_least_float32(projection.weight)
    return unit_length(linear(pooled.to(weight.dtype), weight), dim=-1)
