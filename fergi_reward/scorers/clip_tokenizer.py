"""CLIP's tokenizer without a download: as transformers has it, and as OpenAI's package has it."""

import gzip
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fergi_reward.scorers.tokens import cut, padded

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer


@cache
def clip_tokenizer() -> "CLIPTokenizer":
    """The tokenizer of Stable Diffusion (49,408 tokens), from the BPE merges that open_clip ships."""
    return _clip_tokenizer()


@cache
def scorers_tokenizer() -> "CLIPTokenizer":
    """The same for scorers: pipelines set how theirs pads, and a scorer in another thread must not meet that."""
    return with_special_tokens_in_any_case(_clip_tokenizer())


def with_special_tokens_in_any_case(tokenizer: "CLIPTokenizer") -> "CLIPTokenizer":
    """It finds "<|EndOfText|>" too, as in transformers 4.27, which looked for these tokens in the lower-cased text."""
    from tokenizers import AddedToken

    found = [AddedToken(name, normalized=True, special=True) for name in tokenizer.all_special_tokens]
    tokenizer.add_tokens(found, special_tokens=True)
    return tokenizer


@cache
def open_clip_tokenizer() -> "SimpleTokenizer":
    """The tokenizer of open_clip, which takes a third of a second to make: one for all scorers."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@cache
def openai_tokenizer() -> "SimpleTokenizer":
    """That of OpenAI's package `clip`: open_clip's copy of it, with the names that OpenAI gave the two special tokens.

    Under open_clip's names they are ordinary text to the original, and OpenAI's are ordinary text to open_clip.
    """
    import regex
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer: Any = SimpleTokenizer()
    pattern = tokenizer.pat.pattern
    for theirs, name in (("<start_of_text>", "<|startoftext|>"), ("<end_of_text>", "<|endoftext|>")):
        tokenizer.encoder[name] = tokenizer.encoder.pop(theirs)
        tokenizer.cache[name] = tokenizer.cache.pop(theirs).replace(theirs, name)
        pattern = pattern.replace(theirs, regex.escape(name))
    tokenizer.pat = regex.compile(pattern, regex.IGNORECASE)
    return tokenizer


def openai_tokens(
    tokenizer: "SimpleTokenizer", prompts: Sequence[str], limit: int, *, full_length: bool = False
) -> Tensor:
    """Token numbers (batch, longest) on the CPU, padded with 0; of long prompts the first ones and the end token.

    Args:
        tokenizer: OpenAI's or open_clip's.
        prompts: What to read.
        limit: Tokens that are kept of a prompt.
        full_length: Pad to the limit; else to the longest text, which ends where the first end token is.
    """
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    texts = [cut([start, *tokenizer.encode(prompt), end], limit) for prompt in prompts]
    longest = limit if full_length else max(text.index(end) + 1 for text in texts)
    return padded([text[:longest] for text in texts], longest, 0)


def _clip_tokenizer() -> "CLIPTokenizer":
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    # Where open_clip lies is known without importing it, which takes more than a second.
    package: Any = find_spec("open_clip")
    with gzip.open(Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        merges: Any = [tuple(line.split()) for line in file.read().split("\n")[1 : 49408 - 512 - 2 + 1]]
    characters = list(bytes_to_unicode().values())
    tokens = characters + [character + "</w>" for character in characters] + ["".join(merge) for merge in merges]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
