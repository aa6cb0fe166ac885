"""A reward on the GPU alongside other work: parked scorers, streams, threads, the processes of a data loader."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fergi_reward import Calibration, CombinedReward
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny

PROMPTS = ["a red cat", "a blue house", "a dog"]
Measured = Callable[..., None]


def pixels() -> torch.Tensor:
    return torch.rand(3, 3, 64, 80, generator=torch.Generator().manual_seed(0))


def reward_of(scorers: list[TowerScorer], **options) -> CombinedReward:
    return CombinedReward(scorers, Calibration.load(emoji.CALIBRATION), device="cuda", **options)


def emoji_scorers(device: str) -> list[TowerScorer]:
    checkpoints, names = emoji.checkpoints(), Calibration.load(emoji.CALIBRATION).scorers
    return [load_scorer(name, checkpoints[name], device=device) for name in names]


@pytest.fixture(scope="module")
def scorers() -> Iterator[list[TowerScorer]]:
    yield emoji_scorers("cuda")


def test_parked_scorers_give_the_same_bits_and_leave_the_card(scorers) -> None:
    resident = reward_of(scorers).score(pixels(), PROMPTS).total
    parked = reward_of(emoji_scorers("cpu"), offload=True)
    before = torch.cuda.memory_allocated()
    total = parked.score(pixels(), PROMPTS).total
    assert torch.equal(total, resident)
    del total
    assert torch.cuda.memory_allocated() == before
    assert {scorer.device.type for scorer in parked.scorers} == {"cpu"}


def test_two_scorers_on_two_streams_give_what_each_gives_alone(scorers) -> None:
    alone = [scorer.score(pixels(), PROMPTS) for scorer in scorers]
    start, found = threading.Barrier(len(scorers)), list[torch.Tensor | None]([None] * len(scorers))

    def run(place: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            start.wait()
            for _ in range(10):
                found[place] = scorers[place].score(pixels(), PROMPTS)
            torch.cuda.current_stream().synchronize()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(scorers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, other) for one, other in zip(found, alone, strict=True))


def test_eight_threads_with_switches_of_their_own_give_the_same_bits(scorers) -> None:
    reward = reward_of(scorers)
    expected = reward.score(pixels(), PROMPTS).total
    # Once, for it is the process's: what a thread sets while another one scores holds for both.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

    def run(number: int) -> torch.Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=number % 3 == 0):
            return reward.score(pixels(), PROMPTS).total

    with ThreadPoolExecutor(8) as pool:
        assert all(torch.equal(total, expected) for total in pool.map(run, range(40)))


class Prepared(Dataset):
    """Pictures as a scorer sees them, prepared in a process of the loader."""

    def __init__(self, scorer: TowerScorer) -> None:
        self._preprocess = scorer.preprocess

    def __len__(self) -> int:
        return 6

    def __getitem__(self, row: int) -> torch.Tensor:
        array = np.random.default_rng(row).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        return self._preprocess(Image.fromarray(array))


def test_processes_that_a_loader_forks_prepare_pictures_while_the_card_is_in_use(scorers) -> None:
    scorer = scorers[0]
    scorer.score(pixels(), PROMPTS)
    alone = torch.stack([Prepared(scorer)[row] for row in range(6)])
    loader = DataLoader(Prepared(scorer), batch_size=3, num_workers=2, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), alone)
    assert scorer.score(pixels(), PROMPTS).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("make", [tiny.image_reward, tiny.pickscore, tiny.hps, tiny.clip, tiny.aesthetic])
def test_tiny_scorers_in_every_precision(make, dtype, measured: Measured) -> None:
    own_size = pixels()[..., :32, :32]  # resized pixels would be rounded to 8 bits, here and there to another one
    exact = make().score(own_size, PROMPTS)
    scorer = make()
    for tower in scorer.towers():
        tower.to(dtype)
    scorer.cuda()
    images = own_size.cuda().requires_grad_()
    scores = scorer(images, PROMPTS)
    scores.sum().backward()
    assert scores.dtype == torch.float32
    assert images.grad is not None
    assert images.grad.isfinite().all()
    difference = (scores.detach().cpu() - exact).abs().max().item()
    bound = (1e-5 if dtype == torch.float32 else 0.05) * max(1.0, exact.abs().max().item())
    measured(f"{scorer.name} {dtype}", difference, bound)
    assert difference <= bound
