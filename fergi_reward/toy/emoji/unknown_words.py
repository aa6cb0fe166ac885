"""Says which words of a prompt this world's models do not know, and would draw in silence."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fergi_reward.core.errors import FergiRewardWarning
from fergi_reward.toy.emoji.pictures import KNOWN_CAPTIONS
from fergi_reward.toy.emoji.vocabulary import WORDS

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import CLIPTokenizer

_SHOWN = 5


def warn_of_unknown_words(text_encoder: "nn.Module", tokenizer: "CLIPTokenizer") -> None:
    """Let a text encoder warn, the first time that it reads words which no caption of this world has."""
    text_encoder.register_forward_pre_hook(_Reader(tokenizer), with_kwargs=True)


class _Reader:
    """Reads what the text encoder reads: a hook, so that the pipeline stays one of diffusers' own classes."""

    def __init__(self, tokenizer: "CLIPTokenizer") -> None:
        self.tokenizer, self.has_warned = tokenizer, False

    def __call__(self, encoder: "nn.Module", arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        if self.has_warned:
            return
        rows: Tensor = arguments[0] if arguments else keywords["input_ids"]
        words = dict.fromkeys(word for row in rows.tolist() for word in self._words(row))
        if unknown := [word for word in words if word not in WORDS]:
            self.has_warned = True
            warnings.warn(_message(unknown), FergiRewardWarning, stacklevel=2)

    def _words(self, tokens: list[int]) -> list[str]:
        """The words of a prompt as far as it is read: without the piece of one that was cut."""
        pieces = self.tokenizer.convert_ids_to_tokens(tokens, skip_special_tokens=True)
        whole = max((place for place, piece in enumerate(pieces, 1) if piece.endswith("</w>")), default=0)
        return str(self.tokenizer.decode(self.tokenizer.convert_tokens_to_ids(pieces[:whole]))).split()


def _message(unknown: list[str]) -> str:
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    return (
        f"the toy does not know {', '.join(map(repr, unknown[:_SHOWN]))}{more}, and draws something else: "
        f"write a caption {KNOWN_CAPTIONS}"
    )
