"""Scorers of the published sizes, with random weights: the GPU against the CPU."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from fergi_reward.scorers.base import TowerScorer

NAMES = ["image_reward", "pickscore", "hps_v2", "clip", "aesthetic"]
PROMPTS = ["a red cat on a table", "two dogs", "a red cat on a table", "a lake at night, oil on canvas"]
# In float32, from docs/SCORERS.md; and what half precision may move a score of these random weights by.
FLOAT32 = {"image_reward": 2e-5, "pickscore": 5e-5, "hps_v2": 1e-6, "clip": 1e-6, "aesthetic": 2e-5}
Measured = Callable[..., None]


@pytest.fixture(scope="module", params=NAMES)
def on_gpu(request: pytest.FixtureRequest) -> Iterator[TowerScorer]:
    from official_models import official_scorer

    yield official_scorer(request.param, "cuda")
    torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def on_cpu(on_gpu: TowerScorer) -> TowerScorer:
    return copy.deepcopy(on_gpu).cpu()


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Smooth ones and noise, of several shapes."""
    draw = np.random.default_rng(0)
    coarse = [draw.integers(0, 256, shape, dtype=np.uint8) for shape in ((4, 4, 3), (3, 5, 3), (300, 400, 3))]
    return [Image.fromarray(array).resize((512, 448), Image.Resampling.BICUBIC) for array in coarse] + [
        Image.fromarray(draw.integers(0, 256, (224, 224, 3), dtype=np.uint8))
    ]


def pixels(count: int, height: int = 224, width: int = 224) -> torch.Tensor:
    """By default as scorers see them: resized ones are rounded to 8 bits, which a last bit can turn to other ones."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def apart(scores: torch.Tensor, reference: torch.Tensor) -> float:
    return (scores.cpu() - reference.cpu()).abs().max().item()


def low_precision(scorer: TowerScorer, dtype: torch.dtype) -> TowerScorer:
    """The scorer as `from_pretrained(dtype=…)` makes it."""
    other = copy.deepcopy(scorer)
    for tower in other.towers():
        tower.to(dtype)
    return other


def test_float32_is_the_cpu_s_whatever_the_program_allows(on_gpu, on_cpu, pictures, measured: Measured) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    bound = FLOAT32[on_gpu.name]
    for what, images in (("pictures", pictures), ("pixels", pixels(4))):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            difference = apart(on_gpu.score(images, PROMPTS), on_cpu.score(images, PROMPTS))
        measured(f"{what}, float32: GPU - CPU", difference, bound)
        assert difference <= bound, what


def test_resized_pixels_are_the_cpu_s_but_for_single_steps_of_8_bits(on_gpu, on_cpu, measured: Measured) -> None:
    images = pixels(4, 256, 320)
    difference = (on_gpu.transform(images.cuda()).cpu() - on_cpu.transform(images)).abs()
    share = (difference > 1e-4).float().mean().item()
    measured("share of resized pixels that are another 8-bit value", share, 0.005)
    assert share <= 0.005
    assert difference.max() < 1.01 / 255 / 0.26  # of CLIP's smallest standard deviation


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_moves_scores_as_on_the_cpu(on_gpu, on_cpu, dtype, measured: Measured) -> None:
    """Three times what the CPU's own rounding moves them by: the two round in other places, and pictures are few."""
    exact = on_cpu.score(pixels(4), PROMPTS)
    moved = apart(low_precision(on_gpu, dtype).score(pixels(4).cuda(), PROMPTS), exact)
    bound = 3 * apart(low_precision(on_cpu, torch.bfloat16).score(pixels(4), PROMPTS), exact)
    measured(f"{dtype}: GPU - float32", moved, bound)
    assert moved <= bound


def test_gradients_agree(on_gpu, on_cpu, measured: Measured) -> None:
    gradients = []
    for scorer in (on_gpu, on_cpu):
        images = pixels(2).to(scorer.device).requires_grad_()
        scorer(images, PROMPTS[:2]).sum().backward()
        assert images.grad is not None
        gradients.append(images.grad.cpu())
    relative = ((gradients[0] - gradients[1]).norm() / gradients[1].norm()).item()
    measured("gradient: GPU - CPU, relative", relative, 1e-3)
    assert gradients[1].norm() > 0
    assert relative < 1e-3


def test_every_batch_size_gives_the_same(on_gpu, measured: Measured) -> None:
    images, prompts = pixels(33).cuda(), [f"{PROMPTS[row % 4]} {row // 8}" for row in range(33)]
    alone = torch.cat([on_gpu.score(images[row : row + 1], prompts[row]) for row in range(33)])
    worst = max(apart(on_gpu.score(images, prompts, batch_size=size), alone) for size in (2, 3, 7, 8, 32, 64))
    worst = max(worst, apart(on_gpu(images, prompts).detach(), alone))
    measured("batch sizes 1 to 64", worst, 2 * FLOAT32[on_gpu.name])
    assert worst <= 2 * FLOAT32[on_gpu.name]


@pytest.mark.parametrize("on_gpu", ["image_reward", "pickscore"], indirect=True)
def test_compiled_towers_score_the_same(on_gpu, measured: Measured) -> None:
    eager = low_precision(on_gpu, torch.bfloat16)
    compiled = copy.deepcopy(eager)
    for tower in compiled.towers():
        tower.compile()
    exact = on_gpu.score(pixels(4).cuda(), PROMPTS)
    moved, bound = (apart(one.score(pixels(4).cuda(), PROMPTS), exact) for one in (compiled, eager))
    measured("compiled bfloat16 - float32", moved, 2 * bound)
    assert moved <= 2 * bound
    images = pixels(2).cuda().requires_grad_()
    compiled(images, PROMPTS[:2]).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def waits(work: Callable[[], object]) -> Sequence[str]:
    """Where the program waited for the GPU, as PyTorch counts it; of switching that on it warns as well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{one.filename}:{one.lineno}" for one in caught if "called a synchronizing" in str(one.message)]


def test_pixels_stay_on_the_card(on_gpu, measured: Measured) -> None:
    """The one wait is that of the check that pixels lie in [0, 1]."""
    images = pixels(4).cuda()
    on_gpu(images, PROMPTS)
    assert waits(lambda: images.sum().item())
    places = waits(lambda: on_gpu(images, PROMPTS))
    measured("waits for the GPU in forward", len(places), 1)
    assert len(places) <= 1, places
