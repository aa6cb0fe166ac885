"""CLIP's tokenizer cut down to the words of the captions, so that embeddings of 49,408 tokens need not be stored."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fergi_reward.toy.emoji.pictures import COLOUR_NAMES, OBJECT_NAMES

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MAX_TOKENS = 16
WORDS = ("a", "on", "background", *OBJECT_NAMES, *COLOUR_NAMES)


def emoji_tokenizer() -> "CLIPTokenizer":
    """CLIP's byte-pair encoding with only the merges that the captions need: other words fall into letters."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    ranks = SimpleTokenizer().bpe_ranks
    merges: Any = sorted({merge for word in WORDS for merge in _merges(word, ranks)}, key=ranks.__getitem__)
    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(f"{character}</w>" for character in characters), *("".join(pair) for pair in merges)]
    # The end of a text has the largest number, by which CLIP's text model finds it.
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def _merges(word: str, ranks: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """What CLIP merges in a word, in order: always the neighbours of the lowest rank."""
    pieces, merged = [*word[:-1], f"{word[-1]}</w>"], []
    while known := [pair for pair in pairwise(pieces) if pair in ranks]:
        pair = min(known, key=ranks.__getitem__)
        merged.append(pair)
        place = list(pairwise(pieces)).index(pair)
        pieces[place : place + 2] = ["".join(pair)]
    return merged
