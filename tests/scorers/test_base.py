"""What holds for every scorer, on tiny models of the real architectures."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPTokenizer

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer
from fergi_reward.toy import tiny

TINY: list[Callable[[], TowerScorer]] = [tiny.image_reward, tiny.pickscore, tiny.hps, tiny.clip, tiny.aesthetic]
PROMPTS = ["a cat", "a dog on a hill", "a cat", ""]


@pytest.fixture(scope="module", params=TINY, ids=lambda make: make.__name__)
def scorer(request: pytest.FixtureRequest) -> TowerScorer:
    return request.param()


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(1)
    sizes = [(40, 60, 3), (64, 33, 3), (32, 32, 3), (50, 50, 4)]
    return [Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def pixels(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 20, 28, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05


@contextmanager
def batches_seen_by(module: torch.nn.Module) -> Iterator[list[int]]:
    """The batch sizes with which the module is called inside the block."""
    seen: list[int] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    yield seen
    handle.remove()


def test_gradients_pass_gradcheck_through_the_whole_scorer(scorer: TowerScorer) -> None:
    double = copy.deepcopy(scorer).double().requires_grad_(False)
    image = pixels(1)[..., :5, :7].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: double(x, "a cat"), image)


def test_half_precision_pixels_get_their_gradient(scorer: TowerScorer) -> None:
    image = pixels(1).bfloat16().requires_grad_()
    scorer(image, "a cat").sum().backward()
    assert image.grad is not None
    assert image.grad.dtype == torch.bfloat16
    assert image.grad.abs().sum() > 0


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)), batch_size=st.integers(1, 5))
def test_the_same_number_alone_and_in_any_batch(
    scorer: TowerScorer, pictures, order: list[int], batch_size: int
) -> None:
    alone = [scorer.score(picture, prompt).item() for picture, prompt in zip(pictures, PROMPTS, strict=True)]
    together = scorer.score([pictures[i] for i in order], [PROMPTS[i] for i in order], batch_size=batch_size)
    assert together.tolist() == pytest.approx([alone[i] for i in order], abs=1e-5)


def test_forward_and_score_agree_on_pixels(scorer: TowerScorer) -> None:
    torch.testing.assert_close(scorer(pixels(), PROMPTS[:2]), scorer.score(pixels(), PROMPTS[:2]))


def test_different_prompts_and_images_score_differently(scorer: TowerScorer) -> None:
    scores = torch.stack([scorer(pixels(), prompt) for prompt in ("a cat", "a dog on a hill")])
    assert len({round(score, 5) for score in scores.flatten().tolist()}) == (2 if scorer.name == "aesthetic" else 4)


def test_arrays_paths_and_images_are_the_same_picture(scorer: TowerScorer, pictures, tmp_path: Path) -> None:
    pictures[0].save(tmp_path / "a.png")
    scores = scorer.score([pictures[0], np.asarray(pictures[0]), tmp_path / "a.png", str(tmp_path / "a.png")], "a")
    assert scores.tolist() == pytest.approx([scores[0].item()] * 4, abs=1e-5)


def test_a_picture_with_several_prompts_is_encoded_once(scorer: TowerScorer, pictures, tmp_path: Path) -> None:
    pictures[1].save(tmp_path / "a.png")
    with batches_seen_by(scorer.towers()[0]) as seen:
        scores = scorer.score([pictures[0], tmp_path / "a.png"] * 2, PROMPTS, batch_size=2)
    assert seen == [2]
    one_by_one = [scorer.score(pictures[i % 2], prompt).item() for i, prompt in enumerate(PROMPTS)]
    assert scores.tolist() == pytest.approx(one_by_one, abs=1e-5)


@pytest.mark.parametrize("make", [tiny.pickscore, tiny.hps, tiny.clip], ids=lambda make: make.__name__)
def test_equal_prompts_are_encoded_once(make: Callable[[], TowerScorer], pictures) -> None:
    scorer = make()
    with batches_seen_by(scorer.towers()[1]) as seen:
        scorer.score(pictures, PROMPTS)
        scorer(pixels(4), PROMPTS)
        scorer(pixels(4), "a cat")
    assert seen == [3, 3, 1]


def test_scores_may_enter_a_loss(scorer: TowerScorer) -> None:
    weight = torch.ones(2, requires_grad=True)
    (weight * scorer.score(pixels(), "a")).sum().backward()
    torch.testing.assert_close(weight.grad, scorer.score(pixels(), "a"))


def test_low_precision_towers_give_float32_scores_near_the_full_ones(scorer: TowerScorer) -> None:
    low = copy.deepcopy(scorer)
    for tower in low.towers():
        tower.to(torch.bfloat16)
    assert low(pixels(), "a cat").dtype == low.score(pixels(), "a cat").dtype == torch.float32
    torch.testing.assert_close(low.score(pixels(), "a cat"), scorer.score(pixels(), "a cat"), rtol=0.05, atol=0.05)


def test_a_float64_model_scores_in_float64(scorer: TowerScorer) -> None:
    double = copy.deepcopy(scorer).double()
    assert double(pixels(), "a cat").dtype == torch.float64
    assert double.score(pixels(), "a cat").dtype == torch.float32
    torch.testing.assert_close(double(pixels(), "a cat").float(), scorer(pixels(), "a cat"), rtol=1e-4, atol=1e-4)


def test_compiled_towers_score_the_same(scorer: TowerScorer) -> None:
    """With the tracer alone, for one with its gradients, too: what follows takes minutes and is PyTorch's to test."""
    compiled = copy.deepcopy(scorer)
    for tower in compiled.towers():
        tower.compile(backend="aot_eager" if scorer.name == "image_reward" else "eager")
    torch.testing.assert_close(compiled.score(pixels(), "a cat"), scorer.score(pixels(), "a cat"))
    torch.testing.assert_close(compiled(pixels(), "a cat"), scorer(pixels(), "a cat"))


def test_an_autocast_around_the_call_changes_nothing(scorer: TowerScorer) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        inside = scorer(pixels(), "a cat")
    assert torch.equal(inside, scorer(pixels(), "a cat"))


def test_what_a_scorer_says_of_itself(scorer: TowerScorer) -> None:
    assert scorer.higher_is_better
    assert scorer.is_differentiable
    assert scorer.license in ("MIT", "Apache-2.0", "none stated (its code: MIT)")
    assert scorer.files
    assert len(scorer.revision) == 40


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["a"], "1 prompts for 2 images"),
        (["a", 7], "prompt 1 must be a string, got int"),
        (None, "got NoneType"),
        (["a", "b\ud800"], "prompt 1 is no text: .* half of a surrogate pair"),
        ("\udcff", "the prompt is no text"),
    ],
)
def test_bad_prompts_are_refused(scorer: TowerScorer, prompts: object, message: str) -> None:
    with pytest.raises(FergiRewardError, match=message):
        scorer(pixels(), prompts)
    with pytest.raises(FergiRewardError, match=message):
        scorer.score(pixels(), prompts)


def test_bad_images_are_refused(scorer: TowerScorer) -> None:
    with pytest.raises(FergiRewardError, match="no images"):
        scorer.score([], [])
    with pytest.raises(FergiRewardError, match="batch_size must be at least 1, got 0"):
        scorer.score(pixels(), "a", batch_size=0)
    for bad in (pixels() * 255, pixels() * math.nan):
        with pytest.raises(FergiRewardError, match="pixels must"):
            scorer.score(bad, "a")
        with pytest.raises(FergiRewardError, match="pixels must"):
            scorer(bad, "a")


@pytest.mark.parametrize("size", [(1, 1), (2000, 10), (9, 2000)])
def test_odd_sizes_have_a_defined_score(scorer: TowerScorer, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "red")
    assert math.isfinite(scorer.score(picture, "red").item())
    assert math.isfinite(scorer(torch.rand(1, 3, *size), "red").item())


def test_the_digest_is_that_of_the_weights_and_of_nothing_that_use_changes(scorer: TowerScorer, pictures) -> None:
    make = next(each for each in TINY if each().name == scorer.name)
    before = make().weights_digest()
    scorer.score(pictures, PROMPTS)  # tokenizers remember how they were called last
    assert scorer.weights_digest() == before
    other = copy.deepcopy(scorer)
    weights = next(iter(other.parameters())).data.view(-1)
    weights[-1] = torch.nextafter(weights[-1], torch.tensor(9.0))
    assert other.weights_digest() != before
    assert copy.deepcopy(scorer).bfloat16().weights_digest() != before


def test_the_digest_is_another_with_another_activation_option_or_tokenizer() -> None:
    plain = tiny.hps().weights_digest()
    older = tiny.hps()
    older.antialias = False
    assert older.weights_digest() != plain
    one, two = (tiny.pickscore() for _ in range(2))
    config = copy.deepcopy(two.model.config)
    config.text_config.hidden_act = "quick_gelu"
    two = type(two)(config)
    two.load_state_dict(one.state_dict())
    assert two.weights_digest() != one.weights_digest()
    two = type(one)(one.model.config, CLIPTokenizer(vocab=clip_tokenizer().get_vocab(), merges=[]))
    two.load_state_dict(one.state_dict())
    assert two.weights_digest() != one.weights_digest()


@pytest.mark.parametrize(
    "make",
    [tiny.pickscore, tiny.clip, tiny.aesthetic, tiny.hps, tiny.image_reward, tiny.hpsv3],
    ids=lambda m: m.__name__,
)
def test_tiny_scorers_are_frozen_as_loaded_ones_are(make):
    scorer = make()
    assert not scorer.training and not any(parameter.requires_grad for parameter in scorer.parameters())
