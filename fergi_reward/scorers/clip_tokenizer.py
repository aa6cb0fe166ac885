"""CLIP's tokenizer without a download."""

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


@cache
def clip_tokenizer() -> "CLIPTokenizer":
    """The tokenizer of Stable Diffusion and PickScore (49,408 tokens), from the BPE merges that open_clip ships."""
    import open_clip
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    with gzip.open(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        merges: Any = [tuple(line.split()) for line in file.read().split("\n")[1 : 49408 - 512 - 2 + 1]]
    characters = list(bytes_to_unicode().values())
    tokens = characters + [character + "</w>" for character in characters] + ["".join(merge) for merge in merges]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
