"""What a program has set for its own work changes neither loading nor scoring: the bits are those of a scorer alone."""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.devices import chosen_device
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.scorers.true_float32 import true_float32
from fergi_reward.toy import emoji, tiny

PROMPTS = ["a cat on a red background", "a tree on a blue background"]


@contextmanager
def changed(change: Callable[[], object], back: Callable[[], object]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        back()


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    return changed(lambda: torch.set_default_dtype(dtype), lambda: torch.set_default_dtype(torch.float32))


def deterministic() -> AbstractContextManager[None]:
    return changed(lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False))


def rough_matrices() -> AbstractContextManager[None]:
    return changed(
        lambda: torch.set_float32_matmul_precision("medium"), lambda: torch.set_float32_matmul_precision("highest")
    )


@contextmanager
def evaluating() -> Iterator[None]:
    with default_dtype(torch.bfloat16), torch.device("meta"), torch.inference_mode(), torch.autocast("cpu"):
        yield


@contextmanager
def training() -> Iterator[None]:
    with default_dtype(torch.float64), torch.device("meta"), torch.no_grad(), deterministic(), rough_matrices():
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each scorer by name."""
    places = dict(emoji.checkpoints())
    for name, weights, head in (("clip", tiny.clip(), None), ("aesthetic", tiny.aesthetic(), tiny.aesthetic().head)):
        places[name] = folder = tmp_path_factory.mktemp(name)
        save_file(dict(weights.model.state_dict()), folder / "model.safetensors")
        tiny.clip().model.config.save_pretrained(folder)
        if head:
            torch.save(
                {f"layers.{key}": value for key, value in head.state_dict().items()}, folder / "aesthetic-model.pth"
            )
    return places


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


@pytest.fixture(scope="module", params=["image_reward", "pickscore", "hps_v2", "clip", "aesthetic"])
def alone(request: pytest.FixtureRequest, folders, pixels) -> tuple[str, Path, torch.Tensor]:
    """A scorer's name, its folder, and its scores where nothing else is set."""
    scorer = load_scorer(request.param, folders[request.param])
    return request.param, folders[request.param], scorer.score(pixels, PROMPTS)


@pytest.mark.parametrize("surroundings", [evaluating, training])
def test_a_scorer_loads_and_scores_as_if_alone(alone, pixels, surroundings) -> None:
    name, folder, expected = alone
    with surroundings():
        scorer = load_scorer(name, folder)
        inside = scorer.score(pixels, PROMPTS)
        assert all(weight.dtype == torch.float32 and weight.device.type == "cpu" for weight in scorer.parameters())
    assert torch.equal(inside, expected)
    assert torch.equal(scorer.score(pixels, PROMPTS), expected)
    leaf = pixels.clone().requires_grad_()
    scorer(leaf, PROMPTS).sum().backward()
    assert leaf.grad.abs().sum() > 0


def reward_of(folders: dict[str, Path], **options: object) -> CombinedReward:
    places = {"pickscore": folders["pickscore"]}
    return CombinedReward(list(places), Calibration.load(emoji.CALIBRATION), checkpoints=places, **options)


@pytest.mark.parametrize("offload", [False, True])
def test_a_reward_that_loads_in_inference_mode_can_be_trained_through_later(folders, pixels, offload: bool) -> None:
    reward = reward_of(folders, offload=offload)
    with torch.inference_mode():
        reward.score(pixels, PROMPTS)
    leaf = pixels.clone().requires_grad_()
    reward.scorers[0](leaf, PROMPTS).sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_a_predictor_loads_and_predicts_as_if_alone(predictor_for, tmp_path: Path, folders, pixels) -> None:
    pickscore = PickScorer.from_pretrained(folders["pickscore"])
    predictor_for(pickscore).save(tmp_path)
    embeddings = pickscore.embed(pixels, PROMPTS)
    expected = ReactionPredictor.load(tmp_path)(*embeddings)
    with evaluating():
        predictor = ReactionPredictor.load(tmp_path)
        assert torch.equal(predictor(*embeddings).mean, expected.mean)
    leaf = embeddings[0].clone().requires_grad_()
    predictor(leaf, embeddings[1]).mean.sum().backward()
    assert leaf.grad.abs().sum() > 0


@pytest.fixture
def tf32() -> Iterator[None]:
    """TF32 as trainers allow it."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def precisions() -> list[str]:
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]


def test_tf32_that_a_trainer_allows_is_off_while_a_scorer_runs_and_on_afterwards(tf32, pixels) -> None:
    scorer, seen = tiny.pickscore(), []
    scorer.towers()[0].register_forward_pre_hook(lambda *_: seen.append(precisions()))
    scorer(pixels, "a cat")
    scorer.score(pixels, "a cat")
    assert seen == [["ieee", "ieee"]] * 2
    assert precisions() == ["tf32", "tf32"]
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_tf32_comes_back_when_the_last_of_several_threads_leaves(tf32) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with true_float32():
            entered.set()
            leave.wait()

    with true_float32():
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
    assert precisions() == ["ieee", "ieee"]
    leave.set()
    thread.join()
    assert precisions() == ["tf32", "tf32"]


def test_cuda_is_the_gpu_of_the_thread_that_made_the_reward(monkeypatch: pytest.MonkeyPatch, folders) -> None:
    """Without a GPU here: what PyTorch says of GPUs is said for it."""
    assert chosen_device("cuda") == torch.device("cuda")  # CUDA was not used yet: none is current
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    reward = reward_of(folders, device="cuda")
    assert reward._scorers._device == torch.device("cuda:3")
    assert pickle.loads(pickle.dumps(reward))._scorers._device == torch.device("cuda")


def test_a_calibration_is_not_touched_by_another_default_dtype() -> None:
    with default_dtype(torch.bfloat16):
        output = CombinedReward([tiny.pickscore()], Calibration.shipped(), device="cpu").combine(
            {"pickscore": torch.tensor([20.123456, 21.0], dtype=torch.float32)}, ["a", "b"]
        )
    assert output.total.dtype == torch.float32
