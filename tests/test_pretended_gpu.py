"""The instrument itself: it refuses what CUDA refuses, counts what waits, and leaves torch as it was."""

import copy
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn.functional import group_norm, layer_norm, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from fergi_reward.images import checked_pixels
from tests.pretended_gpu import Card, OnCard, WrongOnCard, pretended_gpu

CPU = torch.arange(6.0).reshape(2, 3)
MASK = torch.tensor([True, False])


@pytest.fixture
def x(card: Card) -> Tensor:
    return CPU.to("cuda")


def test_a_tensor_says_it_is_on_the_card_and_has_the_values_of_the_cpu(x: Tensor) -> None:
    assert isinstance(x, OnCard)
    assert (x.device, x.is_cuda, x.to("cuda") is x) == (torch.device("cuda:0"), True, True)
    y = (x @ x.T).softmax(-1)[:, 1:]
    assert y.device == x.device
    torch.testing.assert_close(y.cpu(), (CPU @ CPU.T).softmax(-1)[:, 1:])


@pytest.mark.parametrize(
    "refused",
    [
        lambda x: x + CPU,
        lambda x: x @ CPU.T,
        lambda x: torch.cat([x, CPU]),
        lambda x: torch.stack([x[0, 0], CPU[0, 0]]),
        lambda x: CPU.clone().add_(x),
        lambda x: CPU[0, 0].clone().add_(x[0, 0]),
        lambda x: torch.where(MASK[:, None], x, x),
        lambda x: torch.nn.functional.embedding(torch.tensor([0]), x),
        lambda x: CPU[x[0].long()],
        lambda x: x.__setitem__(x[:, 0].long().clamp(max=1), CPU),
        lambda x: torch.nn.Linear(3, 2)(x),
        lambda x: torch.randn(2, device="cuda", generator=torch.Generator()),
    ],
)
def test_two_devices_are_refused(x: Tensor, refused: Callable[[Tensor], object]) -> None:
    with pytest.raises(WrongOnCard):
        refused(x)


def test_two_dtypes_of_a_norm_are_refused(x: Tensor) -> None:
    weight = torch.ones(3, dtype=torch.bfloat16, device="cuda")
    with pytest.raises(WrongOnCard, match=r"float32 and .*bfloat16|bfloat16 and .*float32"):
        layer_norm(x, (3,), weight)
    with pytest.raises(WrongOnCard):
        group_norm(x, 3, weight)


def test_numpy_takes_no_tensor_of_the_card(x: Tensor) -> None:
    with pytest.raises(TypeError, match="cuda"):
        x.numpy()


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        ("values", lambda x: x[0, 0].item()),
        ("values", lambda x: bool(x[0, 0] > 1)),
        ("values", lambda x: int(x[0, 1])),
        ("values", lambda x: x.nonzero()),
        ("values", lambda x: x[x > 1]),
        ("values", lambda x: torch.equal(x, x)),
        ("card to host", lambda x: x.tolist()),
        ("card to host", lambda x: x.cpu()),
        ("card to host", lambda x: CPU.clone().copy_(x)),
        ("host to card", lambda x: CPU.to("cuda")),
        ("host to card", lambda x: torch.tensor([1.0, 2.0], device="cuda")),
        ("host to card", lambda x: x.new_tensor([1.0, 2.0])),
        ("host to card", lambda x: x[[1, 0]]),
        ("host to card", lambda x: x[torch.tensor([1, 0])]),
        ("host to card", lambda x: x.__setitem__([1], 0.0)),
        ("host to card", lambda x: x.index_put_((x[:, 0].long() * 0,), CPU[0, 0])),
        ("host to card", lambda x: x.copy_(CPU)),
        ("host to card", lambda x: x.__setitem__(0, CPU[0])),
    ],
)
def test_each_wait_is_counted_once(card: Card, x: Tensor, kind: str, waits: Callable[[Tensor], object]) -> None:
    with card.watched() as seen:
        waits(x)
    assert [wait.kind for wait in seen] == [kind]
    assert __file__ in seen[0].place


def test_what_does_not_wait_is_not_counted(card: Card, x: Tensor) -> None:
    with card.watched() as seen:
        y = (CPU[0, 1] * x * CPU[0, 0] + 2)[1:, None].half().float() + torch.zeros(3, device="cuda")
        y[0] = 0.5
        torch.where(y > 0, y, 0.0).to("cuda").masked_fill(y > 1, float("-inf"))
        y.to("cpu", non_blocking=True)
        CPU.to("cuda", non_blocking=True)
        x[torch.arange(2, device="cuda")]
        CPU.sum().item()
    assert seen == []


def test_a_wait_names_the_line_of_the_library(card: Card) -> None:
    pixels = torch.rand(1, 3, 4, 4, device="cuda")
    with card.watched() as seen:
        checked_pixels(pixels)
    assert {wait.place.rpartition(":")[0] for wait in seen} == {"fergi_reward/images.py"}


def test_gradients_reach_the_card_through_a_checkpoint_and_an_optimiser(card: Card) -> None:
    torch.manual_seed(0)
    expected, layer = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    layer.load_state_dict(expected.state_dict())
    layer.to("cuda")
    for one, values in ((expected, CPU), (layer, CPU.to("cuda"))):
        optimiser = torch.optim.AdamW(one.parameters(), lr=0.1)
        checkpoint(one, values, use_reentrant=False).square().sum().backward()
        assert one.weight.grad.device == values.device
        optimiser.step()
    torch.testing.assert_close(layer.weight.cpu(), expected.weight)


def test_autocast_takes_the_lists_of_cuda(x: Tensor) -> None:
    with torch.autocast("cuda", dtype=torch.float16):
        product = x @ x.T
        attended = scaled_dot_product_attention(*[x.view(1, 1, 2, 3)] * 3)
        # The CPU's list leaves this one in half precision.
        assert (product.dtype, attended.dtype, product.softmax(-1).dtype) == (
            torch.float16,
            torch.float16,
            torch.float32,
        )


@torch.inference_mode()
def test_inference_mode_hides_nothing(card: Card, x: Tensor) -> None:
    with card.watched() as waits:
        CPU.to("cuda")
        x.sum().item()
    assert [wait.kind for wait in waits] == ["host to card", "values"]
    with pytest.raises(WrongOnCard):
        x @ CPU.T
    with pytest.raises(WrongOnCard):
        layer_norm(x, (3,), x[0].half())


def test_inference_tensors_stay_inference_tensors(x: Tensor) -> None:
    with torch.inference_mode():
        made, view = x * 2, x[:, 1:]
        kept = torch.zeros(2, 3, device="cuda")
        kept[0] = made[1]
    assert made.is_inference() and not view.is_inference()
    assert kept.tolist() == [[6.0, 8.0, 10.0], [0.0, 0.0, 0.0]]
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        (x.clone().requires_grad_() * made).sum()


def test_files_and_copies_hold_the_values(x: Tensor) -> None:
    file = io.BytesIO()
    torch.save({"x": x}, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True)["x"].cpu(), CPU)
    twin = copy.deepcopy(torch.nn.Parameter(x))
    assert twin.device == x.device
    assert torch.equal(twin.detach().cpu(), CPU)


def test_threads_see_the_card_as_long_as_there_is_one() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        with pretended_gpu():
            assert pool.submit(CPU.to, "cuda").result().device == torch.device("cuda:0")
        assert pool.submit(torch.add, CPU, 1).result().device == torch.device("cpu")


def test_nothing_is_left_of_it() -> None:
    def state() -> list[object]:
        run, bf16 = threading.Thread.run, torch.cuda.is_bf16_supported
        modes = torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack()
        engine = torch._C._is_multithreading_enabled()
        overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
        return [run, bf16, torch.cuda.amp.common.amp_definitely_not_available, *modes, engine, overwritten]

    before = state()
    with pytest.raises(ValueError), pretended_gpu():
        x = CPU.to("cuda")
        assert state() != before
        raise ValueError
    assert state() == before
    with pytest.raises(RuntimeError, match="outlived"):
        x + 1
    with pytest.raises((RuntimeError, AssertionError), match=r"CUDA|NVIDIA"):
        CPU.to("cuda")
