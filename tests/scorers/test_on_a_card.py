"""Scorers on a GPU, here a pretended one: what is on one device or in one dtype, and where a program waits for it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fergi_reward.scorers.base import TowerScorer
from fergi_reward.toy import tiny
from tests.pretended_gpu import Card, Wait

MAKE = {
    "image_reward": tiny.image_reward,
    "pickscore": tiny.pickscore,
    "hps_v2": tiny.hps,
    "clip": tiny.clip,
    "aesthetic": tiny.aesthetic,
}
PROMPTS = ["a red cat", "a blue dog on a very long road " * 9, "x"]
PIXELS = torch.rand(3, 3, 50, 70, generator=torch.Generator().manual_seed(0))
DRAWN = np.random.default_rng(0).integers(0, 255, (3, 50, 70, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(values) for values in DRAWN]
# Relative to the size of the scores: how far they may be from those of float32 on the CPU.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.01}

pytestmark = pytest.mark.filterwarnings("ignore:ImageReward reads 35 tokens")


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, Tensor]]:
    """The scores on the CPU and their gradients, by name."""
    found = {}
    for name, make in MAKE.items():
        scorer, pixels = make(), PIXELS.clone().requires_grad_()
        scores = scorer(pixels, PROMPTS)
        scores.sum().backward()
        found[name] = {"pictures": scorer.score(PICTURES, PROMPTS), "pixels": scores.detach(), "gradient": pixels.grad}
    return found


def on_card(name: str, dtype: torch.dtype = torch.float32) -> TowerScorer:
    scorer = MAKE[name]().requires_grad_(False)
    for tower in scorer.towers():
        tower.to(dtype)
    return scorer.to("cuda")


def kinds(waits: list[Wait]) -> list[tuple[str, str]]:
    return [(wait.kind, wait.place.rpartition(":")[0]) for wait in waits]


CHECK = ("card to host", "fergi_reward/images.py")


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", MAKE)
def test_every_way_of_asking_gives_the_scores_of_the_cpu(
    card: Card, expected: dict, name: str, dtype: torch.dtype
) -> None:
    scorer, tolerance = on_card(name, dtype), TOLERANCES[dtype]
    wanted, pixels = expected[name], PIXELS.to("cuda")
    near = {"rtol": tolerance, "atol": tolerance * float(wanted["pixels"].abs().max())}

    def equal(scores: Tensor, what: str) -> None:
        assert (scores.device, scores.dtype) == (torch.device("cuda:0"), torch.float32)
        torch.testing.assert_close(scores.cpu(), wanted[what], **near)

    equal(scorer.score([*PICTURES, PICTURES[0]], [*PROMPTS, "x"], batch_size=2)[:3], "pictures")
    equal(scorer.score(pixels, PROMPTS, batch_size=2), "pixels")
    from_host = PIXELS.clone().requires_grad_()
    equal((scores := scorer(from_host, PROMPTS)).detach(), "pixels")
    scores.sum().backward()
    assert from_host.grad.isfinite().all()
    watched = pixels.clone().requires_grad_()
    with card.watched() as waits, torch.autocast("cuda", dtype=torch.bfloat16):
        scores = scorer(watched, PROMPTS)
    scores.sum().backward()
    assert kinds(waits) == [CHECK]
    equal(scores.detach(), "pixels")
    if dtype == torch.float32:
        torch.testing.assert_close(watched.grad.cpu(), wanted["gradient"], rtol=1e-3, atol=1e-6)
    assert bool(watched.grad.isfinite().all())


@pytest.mark.parametrize("name", MAKE)
def test_a_scorer_waits_only_for_the_check_of_the_pixels(card: Card, name: str) -> None:
    scorer, pixels = on_card(name), PIXELS.to("cuda")
    asked: list[Callable[[], object]] = [
        lambda: scorer.score(pixels, PROMPTS, batch_size=2),
        lambda: scorer.score(pixels, "one prompt"),
        lambda: scorer(pixels, ["b", "a", "b"]),
    ]
    if hasattr(scorer, "embed"):
        asked.append(lambda: scorer.embed(pixels, PROMPTS, batch_size=2))
    for ask in asked:
        with card.watched() as waits:
            ask()
        assert kinds(waits) == [CHECK]
    with card.watched() as waits:
        scorer.score([*PICTURES, PICTURES[0]], [*PROMPTS, "x"], batch_size=2)
    assert waits == []


def test_kernels_for_the_cpu_are_not_chosen_on_the_card(card: Card) -> None:
    scorer, modes = tiny.pickscore(), []
    scorer.model.vision_model.register_forward_pre_hook(lambda *_: modes.append(torch._C._len_torch_function_stack()))
    outside = torch._C._len_torch_function_stack()
    scorer(PIXELS, "a cat")
    scorer.to("cuda")(PIXELS, "a cat")
    assert modes == [outside + 1, outside]


@pytest.mark.parametrize("name", ["pickscore", "clip"])
def test_embeddings_are_those_of_the_cpu(card: Card, name: str) -> None:
    for found, wanted in zip(
        on_card(name).embed(PICTURES, PROMPTS, batch_size=2), MAKE[name]().embed(PICTURES, PROMPTS), strict=True
    ):
        torch.testing.assert_close(found.cpu(), wanted)
