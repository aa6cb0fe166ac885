"""Tiny language models that read prompts, and tokenizers whose tokens are single bytes: they need no download."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import (
        Gemma2Model,
        GemmaTokenizer,
        Mistral3ForConditionalGeneration,
        PixtralProcessor,
        Qwen3ForCausalLM,
    )

# FLUX.2's pipelines read three layers by number, so that there must be as many as the last of these says.
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 512,
    "initializer_range": 0.3,  # prompts far apart: from the usual 0.02 pictures hardly depend on them
}
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}:"
    "{% for part in message.content %}{{ part.text }}{% endfor %}{% endfor %}"
)


def qwen3() -> "Qwen3ForCausalLM":
    """A Qwen3 of 27 layers, the last of which FLUX.2 klein reads."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**_SIZES, num_hidden_layers=28)).eval()


def mistral3() -> "Mistral3ForConditionalGeneration":
    """A Mistral 3 of 30 layers, the last of which FLUX.2 reads; it sees pictures, too."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    text = {"model_type": "mistral", **_SIZES, "num_hidden_layers": 31}
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Mistral3Config(text_config=text, vision_config=vision)
    return Mistral3ForConditionalGeneration(config).eval()


def gemma2() -> "Gemma2Model":
    """A Gemma 2."""
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(Gemma2Config(**_SIZES, num_hidden_layers=2, query_pre_attn_scalar=8)).eval()


def mistral_processor() -> "PixtralProcessor":
    """Mistral's processor: a tokenizer, and what prepares pictures for the model."""
    from transformers import PixtralImageProcessor, PixtralProcessor

    from fergi_reward.toy.tiny import qwen_tokenizer

    marks: dict[str, Any] = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    tokenizer = qwen_tokenizer()
    tokenizer.add_tokens([*marks.values()], special_tokens=True)
    return PixtralProcessor(image_processor=PixtralImageProcessor(), tokenizer=tokenizer, chat_template=_CHAT, **marks)


def gemma_tokenizer(whole: Sequence[str] = ()) -> "GemmaTokenizer":
    """A tokenizer of Gemma's kind: bytes for whatever is no token of its own, as the texts in `whole` are."""
    from transformers import AddedToken, GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=[], add_bos_token=True)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in whole])
    return tokenizer
