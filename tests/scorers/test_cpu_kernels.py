import pytest
import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from fergi_reward.scorers.cpu_kernels import FastCPUKernels


def inputs(dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 17, 8, generator=draw).to(dtype).requires_grad_() for _ in range(3)]


@pytest.mark.parametrize(
    "options", [{}, {"scale": 0.3}, {"is_causal": True}, {"attn_mask": torch.ones(17, 17).tril() > 0}]
)
def test_attention_and_its_gradients_are_those_of_float64(options: dict) -> None:
    with FastCPUKernels():
        out = scaled_dot_product_attention(*(low := inputs()), **options)
    exact = scaled_dot_product_attention(*(high := inputs(torch.float64)), **options)
    torch.testing.assert_close(out.double(), exact, rtol=0.02, atol=0.02)
    out.float().square().sum().backward()
    exact.square().sum().backward()
    for one, other in zip(low, high, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=0.05, atol=0.05)


def test_other_dtypes_are_left_alone() -> None:
    with FastCPUKernels():
        out = scaled_dot_product_attention(*inputs(torch.float32))
    assert torch.equal(out, scaled_dot_product_attention(*inputs(torch.float32)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (1, 1, 5), (0, 5)])
def test_linear_layers_are_those_of_float64(
    dtype: torch.dtype, tolerance: float, bias: bool, shape: tuple[int, ...]
) -> None:
    draw = torch.Generator().manual_seed(0)
    values, weight, offset = (torch.randn(size, generator=draw).to(dtype) for size in (shape, (3, 5), (3,)))
    with torch.inference_mode(), FastCPUKernels():
        out = linear(values, weight, offset if bias else None)
    exact = values.double() @ weight.double().T + (offset.double() if bias else 0)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), exact, rtol=tolerance, atol=tolerance)


def test_linear_layers_pass_gradients() -> None:
    weight = torch.ones(3, 5, requires_grad=True)
    with FastCPUKernels():
        linear(torch.full((2, 5), 2.0), weight).sum().backward()
    torch.testing.assert_close(weight.grad, torch.full((3, 5), 4.0))
