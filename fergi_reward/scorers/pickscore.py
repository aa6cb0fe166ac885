"""PickScore (Kirstain et al., Pick-a-Pic, arXiv 2305.01569): CLIP ViT-H/14 tuned on half a million choices."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from PIL import Image
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.hub.published import PICKSCORE
from fergi_reward.images import normalize, resize_and_crop, resize_and_crop_picture, to_pixels
from fergi_reward.scorers.base import Option
from fergi_reward.scorers.checkpoints import Checkpoint
from fergi_reward.scorers.clip import CLIPScorer
from fergi_reward.scorers.clip_tokenizer import scorers_tokenizer, with_special_tokens_in_any_case
from fergi_reward.scorers.tokens import cut, padded

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPTokenizer


class PickScorer(CLIPScorer):
    """The score is exp(logit_scale) x cosine of the image and text embedding, about 100 x cosine; near 20 for photos.

    The checkpoint is `model.safetensors` and `config.json`; a local folder may bring a tokenizer in `processor/`.

    Args:
        config: Sizes of the CLIP model; the weights are random until some are loaded.
        tokenizer: By default CLIP's own, which needs no download.
    """

    name = "pickscore"
    license = PICKSCORE.license
    files = str(PICKSCORE)
    default_checkpoint = PICKSCORE.name
    parameter_count = 986_000_000
    revision = PICKSCORE.revision

    def __init__(self, config: "CLIPConfig", tokenizer: "CLIPTokenizer | None" = None) -> None:
        super().__init__(config)
        self.tokenizer = tokenizer or scorers_tokenizer()

    @classmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        from transformers import CLIPTokenizer

        processor = checkpoint.extra("processor")
        tokenizer = with_special_tokens_in_any_case(CLIPTokenizer.from_pretrained(processor)) if processor else None
        scorer = super()._sized(checkpoint, tokenizer=tokenizer, **options)
        ours, theirs = len(scorer.tokenizer), scorer.model.config.text_config.vocab_size
        if ours != theirs:  # a number without a vector fails late, and a tokenizer without words scores nonsense
            raise FergiRewardError(
                f"the tokenizer has {ours:,} tokens, the model of {checkpoint.place} {theirs:,}: copy its folder "
                "processor too, whole"
            )
        return scorer

    def preprocess(self, picture: Image.Image) -> Tensor:
        """Convert to RGB (alpha dropped), short side to 224 by Pillow, centre crop, normalise: transformers 4.27."""
        square = resize_and_crop_picture(picture.convert("RGB"), self.size, math.floor)
        return normalize(to_pixels(square))

    def transform(self, pixels: Tensor) -> Tensor:
        """The same on a float tensor: scores are within 0.01 of the picture's (the golden ones spread by 5)."""
        return normalize(resize_and_crop(pixels, self.size, math.floor))

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers (batch, longest), padded with end tokens, of long prompts the first 75."""
        length = self.model.config.text_config.max_position_embeddings
        texts = [cut(tokens, length) for tokens in self.tokenizer(list(prompts), verbose=False).input_ids]
        longest = length if self.full_length else max(map(len, texts))
        return sent(padded(texts, longest, self.tokenizer.pad_token_id), self.device)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """exp(logit_scale) x cosine, (batch,)."""
        return self.model.logit_scale.exp() * super().compare(images, texts)
