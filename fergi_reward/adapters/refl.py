"""The reward model of ReFL (ImageReward's trainer)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fergi_reward.adapters.adapter import Adapter
from fergi_reward.adapters.host_pixels import from_clip_normalized
from fergi_reward.callables.rewards import Reward

# Bytes of UTF-8. Scorers read at most 77 tokens of a prompt, which is less.
PROMPT_BYTES = 1024


@dataclass(frozen=True)
class Tokens:
    """Tokenised prompts, (B, PROMPT_BYTES) each."""

    input_ids: Tensor
    attention_mask: Tensor


class PromptTokenizer:
    """Stands for ImageReward's tokenizer. Its tokens are bytes, from which each scorer's own tokenizer gets the text.

    BERT's tokens, cut after 35, would be all that other scorers than ImageReward saw of a prompt.
    """

    def __call__(self, text: str | Sequence[str], **options: object) -> Tokens:
        """Tokens of prompts; the options that ReFL gives to BERT's tokenizer have no meaning here."""
        prompts = [text] if isinstance(text, str) else text
        ids = torch.zeros(len(prompts), PROMPT_BYTES, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            encoded = list(prompt.encode()[:PROMPT_BYTES])
            ids[row, : len(encoded)] = torch.tensor(encoded)
            mask[row, : len(encoded)] = 1
        return Tokens(ids, mask)

    def decode(self, input_ids: Tensor, attention_mask: Tensor) -> list[str]:
        """The prompts again; of a character that was cut, nothing is left."""
        rows = zip(input_ids.tolist(), attention_mask.sum(1).tolist(), strict=True)
        return [bytes(ids[:length]).decode(errors="ignore") for ids, length in rows]


@dataclass(frozen=True)
class Blip:
    """Where ReFL looks for the tokenizer."""

    tokenizer: PromptTokenizer


class ReFLReward(Adapter):
    """In place of `RM.load(...)` in ReFL, whose loss is relu(2 - reward)."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(reward)
        self.blip = Blip(PromptTokenizer())

    def score_gard(self, prompt_ids: Tensor, prompt_attention_mask: Tensor, image: Tensor) -> Tensor:
        """Rewards whose gradients reach the images.

        Args:
            prompt_ids: (B, PROMPT_BYTES), from `blip.tokenizer`.
            prompt_attention_mask: The same.
            image: (B, 3, H, W), normalised by CLIP's statistics.

        Returns:
            (B, 1) float32.
        """
        prompts = self.blip.tokenizer.decode(prompt_ids, prompt_attention_mask)
        return self.rewards(from_clip_normalized(image), prompts).total[:, None]

    def to(self, *place: object, **options: object) -> Self:
        """ReFL moves its model; the reward stays where it was loaded and takes images from anywhere."""
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """ReFL freezes its model; scorers are frozen when loaded."""
        return self
