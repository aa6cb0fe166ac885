"""Threads that call one adapter at once: few forward passes, each with its own rewards, error, gradient, settings."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event

import pytest
import torch

from fergi_reward.adapters import DDPOPyTorchReward, FlowGRPOReward, TRLAlignPropReward, TRLDDPOReward
from fergi_reward.adapters.adapter import Adapter
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers import scorer_set


class Brightness(torch.nn.Module):
    """The mean of the red channel, times a parameter; its first call waits until all others have come, or for a second.

    It keeps the size of each batch and how many calls were in it at once.
    """

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.batches, self.inside = [], 0
        self.others = lambda: True

    def forward(self, pixels, prompts):
        self.inside += 1
        assert self.inside == 1 and len(pixels) == len(prompts)
        self.batches.append(len(pixels))
        until = time.monotonic() + 1
        while len(self.batches) == 1 and not self.others() and time.monotonic() < until:
            time.sleep(0.001)
        self.inside -= 1
        return self.scale * pixels[:, 0].mean((1, 2))


def plain(value, size=8):
    """An image of one colour."""
    return torch.full((1, 3, size, size), value)


@contextmanager
def meeting(adapter, reward, callers):
    """A pool of callers of whom the first is in the reward until all others wait."""
    reward.others = lambda: adapter._calls.waiting >= callers
    with ThreadPoolExecutor(callers) as pool:
        yield pool


def test_sixteen_threads_with_an_image_each_need_three_forward_passes_of_the_towers(reward, pixels, prompts, expected):
    adapter, passes = DDPOPyTorchReward(reward), []

    def wait_for_the_others(*_):
        passes.append(1)
        until = time.monotonic() + 1
        while len(passes) == 1 and adapter._calls.waiting < 16 and time.monotonic() < until:
            time.sleep(0.001)

    hook = reward.scorers[0].towers()[0].register_forward_pre_hook(wait_for_the_others)
    rows = [number % 3 for number in range(16)]
    try:
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(adapter, pixels[row : row + 1], prompts[row : row + 1], ({},)) for row in rows]
            totals = [float(future.result()[0][0]) for future in asked]
    finally:
        hook.remove()
    assert len(passes) <= 3
    assert totals == pytest.approx(expected.total[rows].tolist(), abs=1e-5)


def test_an_error_reaches_only_the_caller_whose_image_it_is():
    reward = Brightness()
    adapter = TRLDDPOReward(lambda pixels, prompts: reward(pixels, prompts).log())  # a black image has none
    values = [0.5, 0.25, 0.0, 1.0, 0.0, 0.75]
    with meeting(adapter, reward, len(values)) as pool:
        asked = [pool.submit(adapter, plain(value), (f"number {place}",)) for place, value in enumerate(values)]
        for place, (value, future) in enumerate(zip(values, asked, strict=True)):
            if value:
                assert future.result()[0].item() == pytest.approx(torch.tensor(value).log().item())
            else:
                with pytest.raises(FergiRewardError, match=f"-inf for image 0 of its batch, prompt 'number {place}'"):
                    future.result()


def test_images_of_several_sizes_and_types_are_batches_of_their_own():
    reward = Brightness()
    adapter = Adapter(reward)
    images = [
        plain(number / 32, 8 + number % 2).to((torch.float32, torch.float64)[number % 3 == 0]) for number in range(12)
    ]
    with meeting(adapter, reward, 12) as pool:
        totals = list(pool.map(lambda image: adapter.detached_rewards(image, "a cat").total.item(), images))
    assert totals == pytest.approx([number / 32 for number in range(12)])
    assert sum(reward.batches) == 12 and len(reward.batches) <= 5


def test_gradients_stay_with_their_caller_who_is_alone_in_the_reward():
    reward = Brightness()
    adapter = TRLAlignPropReward(reward)
    start = Barrier(12)

    def ask(number):
        pixels = plain(number / 16).requires_grad_(number % 2 == 0)
        start.wait()
        with torch.set_grad_enabled(number % 2 == 0):
            total, _ = adapter(pixels, ("a cat",))
        if number % 2:
            return total.item(), total.requires_grad
        total.sum().backward()
        return total.item(), pixels.grad

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert [value for value, _ in answers] == pytest.approx([number / 16 for number in range(12)])
    for number, (_, gradient) in enumerate(answers):
        if number % 2:
            assert gradient is False
        else:
            expected = torch.zeros(1, 3, 8, 8)
            expected[:, 0] = 1 / 64
            torch.testing.assert_close(gradient, expected)
    # Six calls with a gradient, each alone, also gave the parameter its own.
    assert reward.scale.grad.item() == pytest.approx(sum(range(0, 12, 2)) / 16)


def test_each_caller_keeps_its_autocast_and_its_inference_mode():
    adapter = Adapter(lambda pixels, prompts: (pixels[:, 0, 0] @ pixels[:, 0, 0].mT)[:, 0].float())
    value = 1 + 2**-7  # squared, it has more digits than bfloat16
    pixels = torch.full((1, 3, 1, 1), 1.0) * (1 / value)
    exact, start = (1 / value) ** 2, Barrier(9)

    def ask(number):
        with torch.inference_mode(number % 3 == 0), torch.autocast("cpu", torch.bfloat16, enabled=number % 3 == 1):
            start.wait()
            total = adapter.detached_rewards(pixels, "a cat").total
        assert not total.is_inference() and not total.requires_grad
        return total.item()

    with ThreadPoolExecutor(9) as pool:
        for number, total in enumerate(pool.map(ask, range(9))):
            assert (total == pytest.approx(exact, rel=1e-6)) is (number % 3 != 1)


def test_asyncio_calls_by_threads_meet_and_the_loop_stays_free():
    reward = Brightness()
    adapter, ticks = FlowGRPOReward(reward), []

    async def tick(done):
        while not done.is_set():
            ticks.append(1)
            await asyncio.sleep(0.002)

    async def run():
        done = Event()
        ticking = asyncio.create_task(tick(done))
        images = [plain(number / 8) for number in range(4)]
        calls = [asyncio.to_thread(adapter, image, ["a cat"], [{}]) for image in images]
        reward.others = lambda: len(ticks) > 5
        answers = await asyncio.gather(*calls)
        done.set()
        await ticking
        return [answer["avg"].item() for answer, _ in answers]

    assert asyncio.run(run()) == [0, 0.125, 0.25, 0.375]
    assert len(ticks) > 5


def test_a_fork_while_a_thread_is_in_the_reward_can_ask():
    reward = Brightness()
    adapter, begun, end = Adapter(reward), Event(), Event()
    reward.others = lambda: begun.set() or end.is_set()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(adapter.detached_rewards, plain(0.5), "a cat")
        assert begun.wait(10)

        child = os.fork()
        if child == 0:
            reward.others, reward.inside = (lambda: True), 0
            answers = adapter.detached_rewards(plain(0.25), "a cat"), adapter.rewards(plain(0.75), "a cat")
            os._exit([answer.total.item() for answer in answers] != [0.25, 0.75])
        assert os.waitpid(child, 0)[1] == 0
        end.set()
        assert asked.result().total.item() == 0.5


def test_sixty_four_threads_load_a_fresh_reward_once(fresh_reward, pixels, prompts, expected, monkeypatch):
    loads, load = [], scorer_set.load_scorer
    monkeypatch.setattr(
        scorer_set, "load_scorer", lambda name, *rest, **how: loads.append(name) or load(name, *rest, **how)
    )
    adapter, start = DDPOPyTorchReward(fresh_reward), Barrier(64)

    def ask(number):
        start.wait()
        row = number % 3
        return float(adapter(pixels[row : row + 1], prompts[row : row + 1], ({},))[0][0])

    with ThreadPoolExecutor(64) as pool:
        totals = list(pool.map(ask, range(64)))
    assert sorted(loads) == sorted(set(loads)) == sorted(fresh_reward.names)
    assert totals == pytest.approx([expected.total[number % 3].item() for number in range(64)], abs=1e-5)
