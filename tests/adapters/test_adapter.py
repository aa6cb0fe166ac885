"""What holds for every adapter: threads, processes, what is refused."""

import pickle
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch

from fergi_reward.adapters import DDPOPyTorchReward, FlowGRPOReward, ImscoreReward, ReFLReward, TRLDDPOReward
from fergi_reward.adapters.adapter import Adapter
from fergi_reward.core.errors import FergiRewardError
from tests.forked import context as forks


class OneAtATime(torch.nn.Module):
    """A reward with a parameter, which remembers how many threads were in it at once."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.inside = self.most = 0

    def forward(self, pixels, prompts):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.005)
        self.inside -= 1
        return self.scale * pixels.mean((1, 2, 3))


def test_threads_enter_a_reward_one_after_the_other_and_without_gradients(pixels, prompts):
    reward = OneAtATime()
    adapter = TRLDDPOReward(reward)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: adapter(pixels, prompts, ({},) * 3)[0], range(16)))
    assert reward.most == 1
    assert not any(answer.requires_grad for answer in answers)
    assert all(torch.equal(answer, pixels.mean((1, 2, 3))) for answer in answers)


def test_scorers_are_loaded_by_whichever_thread_comes_first(fresh_reward, pixels, prompts, expected):
    adapter = DDPOPyTorchReward(fresh_reward)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(adapter, pixels[row : row + 1], prompts[row : row + 1], ({},)) for row in (0, 1, 2, 1)]
        totals = [float(future.result()[0][0]) for future in asked]
    assert totals == pytest.approx(expected.total[[0, 1, 2, 1]].tolist(), abs=1e-5)


def test_another_process_loads_the_scorers_itself(fresh_pickscore, pixels, prompts):
    adapter = FlowGRPOReward(fresh_pickscore)
    unused = len(pickle.dumps(adapter))
    expected, _ = adapter(pixels, prompts, ({},) * 3)
    assert len(pickle.dumps(adapter)) == unused < 20_000
    with ProcessPoolExecutor(1, forks()) as pool:
        scores, _ = pool.submit(adapter, pixels, prompts, ({},) * 3, only_strict=True).result()
    assert scores.keys() == expected.keys() == {"avg", "pickscore"}
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize("kind", [Adapter, ImscoreReward, ReFLReward])
def test_a_scorer_that_was_given_as_an_object_is_pickled_with_its_weights(kind, smooth_reward, pixels, prompts):
    adapter = pickle.loads(pickle.dumps(kind(smooth_reward)))
    torch.testing.assert_close(adapter.rewards(pixels, prompts).total, smooth_reward(pixels, prompts).total.float())


def test_images_of_several_sizes_are_scored_each_by_itself(reward, pixels, prompts, expected):
    adapter = Adapter(reward)
    wide = torch.cat([pixels[0], pixels[1]], dim=2)
    total = adapter.detached_rewards_each([pixels[0], wide, pixels[2]], prompts).total
    assert total.tolist()[::2] == pytest.approx(expected.total.tolist()[::2], abs=1e-5)
    assert total[1].item() == pytest.approx(reward(wide[None], prompts[1]).total.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pixels, prompts: (pixels, prompts[:2]), "got 2 prompts for 3 images"),
        (lambda pixels, prompts: (pixels * 2 - 1, prompts), r"must lie in \[0, 1\], got -1 to 1"),
        (lambda pixels, prompts: (pixels * 255, prompts), r"must lie in \[0, 1\], got 0 to 255"),
        (lambda pixels, prompts: (pixels[:, None], prompts), r"shape \(batch, 3, height, width\), got \(3, 1, 3"),
        (lambda pixels, prompts: (pixels * float("nan"), prompts), "must be finite, got NaN"),
    ],
)
def test_what_a_host_gives_wrongly_is_one_sentence(change, message, pixels, prompts):
    images, texts = change(pixels, prompts)
    with pytest.raises(FergiRewardError, match=message):
        TRLDDPOReward(OneAtATime())(images, texts, ())


def test_a_reward_of_another_shape_is_refused(pixels, prompts):
    with pytest.raises(FergiRewardError, match=r"total has shape \(\) for pixels"):
        Adapter(lambda pixels, prompts: pixels.mean()).detached_rewards(pixels, prompts)
    with pytest.raises(FergiRewardError, match="there are no images"):
        Adapter(lambda pixels, prompts: pixels.mean()).detached_rewards_each([], [])
