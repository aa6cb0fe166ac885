"""The dtype of a model's numbers: all of it in the one that is asked for, except for what overflows in float16."""

import torch
from torch import Tensor, nn


def cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Turn all floating-point parameters and buffers to `dtype`, whatever mixture they are in.

    In float16 those stay in float32 that transformers and diffusers load so, because they overflow: a model of theirs
    names them in `_keep_in_fp32_modules` (T5's `wo`). Those in `_keep_in_fp32_modules_strict` stay in bfloat16 too.
    """
    kept = _kept_in_float32(module, dtype)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            _set_dtype(tensor, torch.float32 if kept & set(name.split(".")) else dtype)


def dtype_of(module: nn.Module) -> torch.dtype | None:
    """The dtype that `cast` would have left as it is: of the first floating-point number; None where there is none."""
    return next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), None)


def _kept_in_float32(module: nn.Module, dtype: torch.dtype) -> set[str]:
    """The names of modules in it that `dtype` would make overflow."""
    lists = ["_keep_in_fp32_modules_strict"] if dtype in (torch.float16, torch.bfloat16) else []
    lists += ["_keep_in_fp32_modules"] if dtype == torch.float16 else []
    return {name for kind in lists for name in getattr(module, kind, None) or ()}


def _set_dtype(tensor: Tensor, dtype: torch.dtype) -> None:
    tensor.data = tensor.data.to(dtype)
