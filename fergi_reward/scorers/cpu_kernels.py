"""Operations on the CPU for which PyTorch does not take its own fastest kernel."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class FastCPUKernels(TorchFunctionMode):
    """Inside this context, attention in bfloat16 and linear layers run faster on the CPU.

    Unmasked bfloat16 attention runs as two matrix products: PyTorch's fused kernel takes as long in bfloat16 as in
    float32, the products less than half of that; the scores come as near to those in float32. Linear layers without
    gradients are handed to oneDNN: a tenth faster than MKL, to which PyTorch gives those in float32, and a twentieth
    faster than PyTorch's own way to it in bfloat16, which copies the bias first. (With PyTorch 2.14 on an AMD EPYC
    without AMX. On an Intel Xeon without bfloat16 units the gain is small: in two runs one thread scored 1.07 and 1.08
    times as fast with ImageReward in float32, 0.92 and 1.03 times with PickScore, and 0.97 times, in both, with
    ImageReward in bfloat16.) All libraries whose towers the scorers use call these two functions: this is the one place
    to act.
    """

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401
        """Every call of a torch function inside the context comes through here."""
        if function is scaled_dot_product_attention:
            return _attention(*args, **kwargs or {})
        if function is linear:
            return _linear(*args, **kwargs or {})
        return function(*args, **kwargs or {})


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # A compiler has kernels of its own to choose from.
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or input.device.type != "cpu":
        return linear(input, weight, bias)
    if input.dtype not in _onednn_dtypes():
        return linear(input, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


@cache
def _onednn_dtypes() -> tuple[torch.dtype, ...]:
    """The data types in which this machine's oneDNN has linear layers."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return ()
    return (torch.float32, torch.bfloat16) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else (torch.float32,)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    plain = attn_mask is None and not (is_causal or dropout_p or enable_gqa)
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or not plain:
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    batch, heads, length, width = query.shape
    query, key, value = (values.reshape(batch * heads, -1, width) for values in (query, key, value))
    # With beta = 0 the first argument is not read.
    weights = torch.baddbmm(query.new_empty(1, 1, 1), query, key.mT, beta=0, alpha=scale or width**-0.5)
    return (weights.softmax(-1) @ value).view(batch, heads, length, width)
