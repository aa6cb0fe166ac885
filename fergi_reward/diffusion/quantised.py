"""Frozen weights in 4 bits: NF4 with double quantisation (Dettmers et al., QLoRA, arXiv 2305.14314), by bitsandbytes.

A linear layer keeps a code of 4 bits for each weight, and a scale for each block of 64. Where it multiplies, forward
and backward, its matrix is made again in the dtype of the frozen weights, and let go. The loader of diffusers does the
same for files, and on a GPU only; here a pipeline is quantised that is loaded or built already, on any device.
"""

import math
from collections.abc import Iterator

import torch
from torch import nn

from fergi_reward.diffusion.family import Pipeline, family_of

# Weights that share a scale, and scales that share one of their own: what bitsandbytes takes unasked.
BLOCK, SCALES = 64, 256
# Bytes of a layer's tables in float32: what the 16 codes and the 256 of a scale mean, and the mean of the scales.
TABLES = 4 * (16 + 256 + 1)


def quantise(pipeline: Pipeline, device: torch.device, dtype: torch.dtype) -> None:
    """Put the linear layers of the network and of the text encoders on `device` in 4 bits; they compute in `dtype`.

    One goes there after the other, so that the device never holds the whole model in more bits. Two kinds of layers
    stay as they are: those kept in float32 because they overflow (T5's `wo`), and the last of a language model.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    for holder, name, layer in list(_layers(pipeline)):
        # Its own matrix is replaced at once.
        with torch.device("meta"):
            made = Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, dtype, quant_type="nf4")
        values = layer.weight.data.to(dtype).contiguous()
        made.weight = Params4bit(values, requires_grad=False, quant_type="nf4", module=made)
        made.bias = layer.bias
        made.support_avx512bf16_for_cpu = False  # it would change the layout for inference, and no gradient goes there
        setattr(holder, name, made.to(device))
    family_of(pipeline).network.is_loaded_in_4bit = True  # by which peft knows it


def quantised_bytes(weights: int) -> int:
    """Bytes that so many weights of a layer take."""
    blocks = math.ceil(weights / BLOCK)
    return math.ceil(weights / 2) + blocks + 4 * math.ceil(blocks / SCALES) + TABLES


def matrices(pipeline: Pipeline) -> list[int]:
    """How many weights each matrix has that `quantise` would take; the pipeline has no adapter yet."""
    return [layer.weight.numel() for _, _, layer in _layers(pipeline)]


def _layers(pipeline: Pipeline) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """The layers that are quantised: each with what holds it, and its name there."""
    family = family_of(pipeline)
    for model in (family.network, *family.text_encoders):
        overflows = getattr(model, "_keep_in_fp32_modules", None) or ()
        end = getattr(model, "get_output_embeddings", lambda: None)()
        for holder in model.modules():
            for name, layer in holder.named_children():
                # A subclass may have its matrix read by what holds it.
                if type(layer) is nn.Linear and layer is not end and name not in overflows:
                    yield holder, name, layer
