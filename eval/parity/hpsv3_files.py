"""A tiny HPSv3 as published: its checkpoint, and of Qwen2-VL what the original package and the scorer here read."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from fergi_reward.scorers.hpsv3 import HPSv3Scorer
from fergi_reward.toy import tiny

# What Qwen2-VL's own says of one message with a picture and a text.
_CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
_TEXT = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "bos_token_id",
    "eos_token_id",
)
_VISION = ("depth", "embed_dim", "hidden_size", "num_heads", "mlp_ratio")


def write(scorer: HPSv3Scorer, folder: Path) -> None:
    """Write the files; weights that bfloat16 holds, as the published ones."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny.qwen_vl_tokenizer()
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    weights = {name: value.bfloat16().float() for name, value in scorer.state_dict().items()}
    weights["lm_head.weight"] = torch.zeros_like(weights["model.embed_tokens.weight"])
    save_file(weights, folder / "HPSv3.safetensors")
    written: dict[str, dict[str, Any]] = {
        "config.json": {
            "architectures": ["Qwen2VLForConditionalGeneration"],
            "model_type": "qwen2_vl",
            **{name: getattr(scorer.model.config, name) for name in _TEXT},
            "vocab_size": len(tokenizer) + 7,  # larger than the tokenizer needs, as the published one
            "rope_theta": scorer.model.config.rope_parameters["rope_theta"],
            "rope_scaling": {"type": "mrope", "mrope_section": scorer.model.config.rope_parameters["mrope_section"]},
            "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
            "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
            "vision_config": {name: getattr(scorer.visual.config, name) for name in _VISION},
        },
        "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>"},
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
            "min_pixels": 3136,
            "max_pixels": 12845056,
        },
        "chat_template.json": {"chat_template": _CHAT},
    }
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))


if __name__ == "__main__":
    write(tiny.hpsv3(), Path(sys.argv[1]))
