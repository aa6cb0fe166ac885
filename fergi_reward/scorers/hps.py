"""HPS v2 and v2.1 (Wu et al., Human Preference Score v2, arXiv 2306.09341): open_clip's ViT-H/14, tuned on choices."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize as unit_length

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.hub.published import HPS_V2
from fergi_reward.images import long_side_to, normalize, pad_to_square, resize, to_pixels
from fergi_reward.scorers.base import Option, TowerScorer, at_least_float32
from fergi_reward.scorers.checkpoints import Checkpoint, load_weights, read_json
from fergi_reward.scorers.clip_tokenizer import open_clip_tokenizer, openai_tokens

# Version -> the term's name, the file on the hub. A calibration of v2.0 must never meet scores of v2.1, whose scale is
# another: so they are two terms. FERGI's column hps_v2 holds v2.0.
_VERSIONS = {"v2.0": ("hps_v2", "HPS_v2_compressed.pt"), "v2.1": ("hps_v2.1", "HPS_v2.1_compressed.pt")}

# The same weights and names in blocks that call scaled_dot_product_attention. In the default ones,
# nn.MultiheadAttention projects transposed inputs, for which PyTorch copies the weights once a patch: where gradients
# are asked for that takes twice as long in float32 and fifty times as long in bfloat16.
_BLOCKS = {"block_type": "custom"}


class HPSv2Scorer(TowerScorer):
    """The score is the cosine of the image and text embedding; about 0.2 to 0.35 for generated images.

    The checkpoint is `HPS_v2_compressed.pt` or `HPS_v2.1_compressed.pt`; a local folder may give other sizes than those
    of ViT-H/14 in `open_clip_config.json`.

    Args:
        config: Sizes of the model, in open_clip's format (`embed_dim`, `vision_cfg`, `text_cfg`); random weights.
        version: "v2.0" (the term `hps_v2`) or "v2.1" (the term `hps_v2.1`); they differ in the checkpoint only.
        antialias: The original resizes a float tensor with torchvision, which antialiases since its version 0.17 and
            did not before; scores move by up to 0.04. False gives the numbers of the older environments.

    Raises:
        FergiRewardError: The version is unknown.
    """

    name = "hps_v2"
    license = HPS_V2.license
    files = f"{_VERSIONS['v2.0'][1]} (hps_v2) or {_VERSIONS['v2.1'][1]} (hps_v2.1) of {HPS_V2.name}"
    default_checkpoint = HPS_V2.name
    parameter_count = 986_000_000
    revision = HPS_V2.revision

    def __init__(self, config: Mapping[str, Any], *, version: str = "v2.0", antialias: bool = True) -> None:
        from open_clip.model import CLIP

        super().__init__()
        self.name, self._file = _version(version)
        self.antialias = antialias
        self.sizes = config
        self.size: int = config["vision_cfg"]["image_size"]
        self.length: int = config["text_cfg"]["context_length"]
        self.tokenizer = open_clip_tokenizer()
        model: Any = CLIP(**{**config, **{tower: config[tower] | _BLOCKS for tower in ("vision_cfg", "text_cfg")}})
        # The projections leave their towers: they stay in float32 when the towers do not.
        self.image_projection, model.visual.proj = model.visual.proj, None
        self.text_projection, model.text_projection = model.text_projection, None
        # A mask is made for each batch's own length instead.
        del model.attn_mask
        self.model = model

    @classmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        from open_clip import get_model_config

        sizes = checkpoint.extra("open_clip_config.json")
        return cls(read_json(sizes) if sizes else get_model_config("ViT-H-14"), **options)

    def _fill(self, checkpoint: Checkpoint) -> None:
        load_weights(self, checkpoint.file(self._file), scorer_key)

    def preprocess(self, picture: Image.Image) -> Tensor:
        """Convert to RGB (alpha dropped), to a float tensor, then `transform`: the original does it so."""
        return self.transform(to_pixels(picture.convert("RGB"))[None])[0]

    def transform(self, pixels: Tensor) -> Tensor:
        """Long side to 224, zeros around it to a square, normalise; nothing is cropped or clamped."""
        height, width = long_side_to(pixels.shape[-2], pixels.shape[-1], self.size)
        return normalize(pad_to_square(resize(pixels, height, width, antialias=self.antialias)))

    def encode_images(self, inputs: Tensor) -> Tensor:
        """(batch, 3, size, size) -> unit vectors (batch, dim)."""
        return _projected(self.model.visual(inputs), self.image_projection)

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors (batch, dim); attention is causal, so what follows the longest text's end token is cut."""
        tokens = sent(openai_tokens(self.tokenizer, prompts, self.length, full_length=self.full_length), self.device)
        ends, length = tokens.argmax(dim=-1), tokens.shape[1]
        embedded = self.model.token_embedding(tokens) + self.model.positional_embedding[:length]
        embedded = embedded.to(self.model.token_embedding.weight.dtype)
        mask = nn.Transformer.generate_square_subsequent_mask(length, self.device, embedded.dtype)
        hidden = self.model.ln_final(self.model.transformer(embedded, attn_mask=mask))
        return _projected(hidden[torch.arange(len(ends), device=self.device), ends], self.text_projection)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """The cosine, (batch,)."""
        return (images * texts).sum(-1)

    def towers(self) -> Sequence[nn.Module]:
        """The vision transformer and the parts of the text transformer."""
        return [self.model.visual, self.model.transformer, self.model.token_embedding, self.model.ln_final]


def _version(version: str) -> tuple[str, str]:
    if version not in _VERSIONS:
        raise FergiRewardError(f"there is no HPS {version!r}: choose from {', '.join(_VERSIONS)}")
    return _VERSIONS[version]


def scorer_key(key: str) -> str:
    """The official checkpoint's name of a weight -> this module's."""
    return {"visual.proj": "image_projection", "text_projection": "text_projection"}.get(key, f"model.{key}")


def _projected(pooled: Tensor, projection: Tensor) -> Tensor:
    projection = at_least_float32(projection)
    return unit_length(pooled.to(projection.dtype) @ projection, dim=-1)
