"""ImageReward (Xu et al., arXiv 2304.05977): BLIP's ViT and a text encoder that reads the image by cross-attention.

The vision transformer is timm's. The text encoder is written here: computing the keys and values of an image once, for
all prompts it is scored with, saves close to half of the work per prompt, and no library's module allows it.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.files.text_lines import read_lines
from fergi_reward.hub.published import BERT, IMAGE_REWARD
from fergi_reward.images import normalize, resize_and_crop, resize_and_crop_picture, to_pixels
from fergi_reward.scorers.base import Option, TowerScorer, at_least_float32
from fergi_reward.scorers.checkpoints import Checkpoint, load_weights, read_json
from fergi_reward.scorers.tokens import cut, padded

if TYPE_CHECKING:
    from transformers import BertTokenizer

MAX_TOKENS = 35
# Mean and standard deviation of the head's output over the training set, by which the original standardises it.
SCORE_MEAN, SCORE_STD = 0.16717362830052426, 1.0333394966054072
# Where the original package keeps its checkpoint; it leaves the vocabulary to transformers, under BERT's older name.
_ORIGINAL = Checkpoint("~/.cache/ImageReward")
_FILES = f"{IMAGE_REWARD}, and {BERT}"
_TOKENIZER = Checkpoint(
    BERT.name,
    BERT.revision,
    (Checkpoint(BERT.name), Checkpoint("bert-base-uncased"), _ORIGINAL),
    "image_reward",
    _FILES,
)

# The official checkpoint's names of the weights -> this module's, by replacing parts in this order.
_RENAMED = {
    "blip.visual_encoder.": "visual_encoder.",
    "blip.text_encoder.embeddings.": "text_encoder.",
    "blip.text_encoder.encoder.layer.": "text_encoder.layers.",
    "mlp.layers.": "head.",
    ".self.": ".",
    ".output.": ".",
    ".intermediate.dense.": ".intermediate.",
    ".LayerNorm.": ".norm.",
}
# Weights of BLIP's contrastive pre-training (and position numbers): no part of the score.
_UNUSED = ("blip.vision_proj.", "blip.text_proj.", "blip.text_encoder.embeddings.position_ids")


@dataclass(frozen=True)
class VisionSizes:
    """Sizes of the vision transformer; by default ViT-L/16."""

    image_size: int = 224
    patch_size: int = 16
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16


@dataclass(frozen=True)
class TextSizes:
    """Sizes of the text encoder, as named in `med_config.json`; by default those of BERT base."""

    vocab_size: int = 30524
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12


class ImageRewardScorer(TowerScorer):
    """The score is standardised over the training set: about -2 to 2.

    The checkpoint is `ImageReward.pt` and `med_config.json`. A local folder may bring the image tower's sizes in
    `vision_config.json` and the tokenizer's `vocab.txt`; without the latter, that of BERT comes from the hub.

    Args:
        vision: Sizes of the image tower; the weights are random until some are loaded.
        text: Sizes of the text encoder.
        tokenizer: See `bert_tokenizer`.
    """

    name = "image_reward"
    license = IMAGE_REWARD.license
    default_checkpoint = IMAGE_REWARD.name
    parameter_count = 447_000_000
    revision = IMAGE_REWARD.revision
    files = _FILES
    # The repository has moved to another owner.
    other_places = (Checkpoint("zai-org/ImageReward", revision), Checkpoint("zai-org/ImageReward"), _ORIGINAL)

    def __init__(self, vision: VisionSizes, text: TextSizes, tokenizer: "BertTokenizer") -> None:
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        if len(tokenizer) != text.vocab_size:
            raise FergiRewardError(
                f"the tokenizer has {len(tokenizer)} tokens, the text encoder {text.vocab_size}: copy the checkpoint's "
                "vocab.txt too, whole"
            )
        self.size = vision.image_size
        self.sizes = {"vision": asdict(vision), "text": asdict(text)}
        self.tokenizer = tokenizer
        self.visual_encoder = VisionTransformer(
            img_size=vision.image_size,
            patch_size=vision.patch_size,
            embed_dim=vision.embed_dim,
            depth=vision.depth,
            num_heads=vision.num_heads,
            num_classes=0,
            global_pool="",
        )
        self.text_encoder = _TextEncoder(text, vision.embed_dim)
        self.head = linear_head(text.hidden_size)

    @classmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        text = TextSizes(**_known(TextSizes, read_json(checkpoint.file("med_config.json"))))
        sizes = checkpoint.extra("vision_config.json")
        vision = VisionSizes(**_known(VisionSizes, read_json(sizes))) if sizes else VisionSizes()
        words = checkpoint.extra("vocab.txt") or _TOKENIZER.file("vocab.txt")
        tokenizer = bert_tokenizer([line.rstrip("\r\n") for _, line in read_lines(words)])
        return cls(vision, text, tokenizer, **options)

    def _fill(self, checkpoint: Checkpoint) -> None:
        load_weights(self, checkpoint.file("ImageReward.pt"), _renamed)

    def preprocess(self, picture: Image.Image) -> Tensor:
        """Short side to 224 by Pillow, centre crop, then to RGB (alpha dropped), normalise.

        The order matters: resizing with alpha weighs colours by it, and resizing a palette picks nearest colours.
        """
        square = resize_and_crop_picture(picture, self.size, round)
        return normalize(to_pixels(square.convert("RGB")))

    def transform(self, pixels: Tensor) -> Tensor:
        """The same on a float tensor: scores are within 0.001 of the picture's (the golden ones spread by 1).

        Pixels have no alpha, by which Pillow weighs colours when it resizes.
        """
        return normalize(resize_and_crop(pixels, self.size, round))

    def encode_images(self, inputs: Tensor) -> Tensor:
        """What the text encoder reads of each image: keys and values (batch, layers, 2, heads, patches, width)."""
        return self.text_encoder.read(self.visual_encoder(inputs))

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers, padded, and which of them count: (batch, 2, longest). After 35 they are cut, with one warning.

        A [PAD] that the prompt itself holds counts, as in the original, whose mask comes from its tokenizer.
        """
        listed = self.tokenizer(list(prompts)).input_ids
        if any(len(tokens) > MAX_TOKENS for tokens in listed):
            warnings.warn(f"ImageReward reads {MAX_TOKENS} tokens of a prompt; longer ones are cut", stacklevel=1)
        texts = [cut(tokens, MAX_TOKENS) for tokens in listed]
        longest = MAX_TOKENS if self.full_length else max(map(len, texts))
        tokens = padded(texts, longest, self.tokenizer.pad_token_id)
        counted = padded([[1] * len(text) for text in texts], longest, 0)
        return sent(torch.stack([tokens, counted], dim=1), self.device)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """The text encoder reads text and image; the head judges the first token's state. (batch,)."""
        tokens, counted = texts.unbind(dim=1)
        first = self.text_encoder(tokens, counted.bool(), images)[:, 0]
        values = self.head(first.to(self.head[0].weight.dtype)).squeeze(-1)
        return (at_least_float32(values) - SCORE_MEAN) / SCORE_STD

    def towers(self) -> Sequence[nn.Module]:
        """The vision transformer and the text encoder."""
        return [self.visual_encoder, self.text_encoder]


def linear_head(width: int) -> nn.Sequential:
    """Five linear layers without activations, (batch, width) -> (batch, 1): LAION's aesthetic predictor has it too.

    The originals drop out where the identities are, while training.
    """
    return nn.Sequential(
        nn.Linear(width, 1024),
        nn.Identity(),
        nn.Linear(1024, 128),
        nn.Identity(),
        nn.Linear(128, 64),
        nn.Identity(),
        nn.Linear(64, 16),
        nn.Linear(16, 1),
    )


def bert_tokenizer(vocabulary: Sequence[str]) -> "BertTokenizer":
    """BERT's uncased tokenizer with BLIP's two tokens [DEC] and [ENC] after the vocabulary."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}, do_lower_case=True)
    tokenizer.add_tokens(["[DEC]", "[ENC]"], special_tokens=True)
    return tokenizer


class _TextEncoder(nn.Module):
    """BERT with a cross-attention in each layer (BLIP's, arXiv 2201.12086), normalised after each addition."""

    def __init__(self, sizes: TextSizes, image_width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.position_embeddings = nn.Embedding(sizes.max_position_embeddings, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)
        self.layers: Any = nn.ModuleList([_Layer(sizes, image_width) for _ in range(sizes.num_hidden_layers)])

    def read(self, patches: Tensor) -> Tensor:
        """(batch, patches, image width) -> keys and values for each layer."""
        return torch.stack([layer.crossattention.keys_values(patches) for layer in self.layers], dim=1)

    def forward(self, tokens: Tensor, attended: Tensor, images: Tensor) -> Tensor:
        """(batch, length) token numbers, which of them count, what `read` gave -> states (batch, length, width)."""
        embedded = self.word_embeddings(tokens) + self.position_embeddings.weight[: tokens.shape[1]]
        hidden = self.norm(embedded)
        mask = attended[:, None, None]
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, mask, images[:, number])
        return hidden


class _Layer(nn.Module):
    def __init__(self, sizes: TextSizes, image_width: int) -> None:
        super().__init__()
        self.attention = _Attention(sizes, sizes.hidden_size)
        self.crossattention = _Attention(sizes, image_width)
        self.intermediate = nn.Linear(sizes.hidden_size, sizes.intermediate_size)
        self.dense = nn.Linear(sizes.intermediate_size, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)

    def forward(self, hidden: Tensor, mask: Tensor, image: Tensor) -> Tensor:
        hidden = self.attention(hidden, self.attention.keys_values(hidden), mask)
        hidden = self.crossattention(hidden, image)
        return self.norm(self.dense(gelu(self.intermediate(hidden))) + hidden)


class _Attention(nn.Module):
    def __init__(self, sizes: TextSizes, source_width: int) -> None:
        super().__init__()
        self.heads = sizes.num_attention_heads
        self.query = nn.Linear(sizes.hidden_size, sizes.hidden_size)
        self.key = nn.Linear(source_width, sizes.hidden_size)
        self.value = nn.Linear(source_width, sizes.hidden_size)
        self.dense = nn.Linear(sizes.hidden_size, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)

    def keys_values(self, source: Tensor) -> Tensor:
        """(batch, length, source width) -> (batch, 2, heads, length, width)."""
        return torch.stack([self._by_head(self.key(source)), self._by_head(self.value(source))], dim=1)

    def forward(self, hidden: Tensor, keys_values: Tensor, mask: Tensor | None = None) -> Tensor:
        query = self._by_head(self.query(hidden))
        read = scaled_dot_product_attention(query, keys_values[:, 0], keys_values[:, 1], mask)
        return self.norm(self.dense(read.transpose(1, 2).flatten(2)) + hidden)

    def _by_head(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _known(sizes: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration file that `sizes` has, too: med_config.json holds much else."""
    return {field.name: values[field.name] for field in fields(sizes) if field.name in values}


def _renamed(key: str) -> str | None:
    """The official checkpoint's name of a weight -> this module's, None for what the score does not use."""
    if key.startswith(_UNUSED):
        return None
    for old, new in _RENAMED.items():
        key = key.replace(old, new)
    return key


def official_key(key: str) -> str:
    """The name of a weight of `ImageRewardScorer` in the official checkpoint: `_renamed` the other way round."""
    for pattern, official in (
        (r"attention\.(query|key|value)\.", r"attention.self.\1."),
        (r"(attention|layers\.\d+)\.(dense|norm)\.", r"\1.output.\2."),
        (r"intermediate\.", r"intermediate.dense."),
        (r"^text_encoder\.layers\.", r"blip.text_encoder.encoder.layer."),
        (r"^text_encoder\.", r"blip.text_encoder.embeddings."),
        (r"^(blip\..*)norm\.", r"\1LayerNorm."),
        (r"^visual_encoder\.", r"blip.visual_encoder."),
        (r"^head\.", r"mlp.layers."),
    ):
        key = re.sub(pattern, official, key)
    return key
