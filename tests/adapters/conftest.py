"""A reward of the real architectures, images, and a reward whose gradients can be checked by finite differences."""

import pytest
import torch

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import emoji, tiny


def emoji_reward(scorers=tuple(emoji.SCORERS)):
    """Its scorers are loaded at first use."""
    checkpoints = {name: emoji.checkpoints()[name] for name in scorers}
    return CombinedReward.from_pretrained(emoji.CALIBRATION, scorers=scorers, checkpoints=checkpoints)


@pytest.fixture(scope="session")
def reward():
    return emoji_reward()


@pytest.fixture
def fresh_pickscore():
    return emoji_reward(["pickscore"])


@pytest.fixture
def fresh_reward():
    return emoji_reward()


@pytest.fixture(scope="session")
def smooth_reward():
    """In float64, in which scorers round no pixel."""
    fit = Fit("pickscore", (Term("pickscore", 0.0, 1.0, 1.0),))
    return CombinedReward([tiny.pickscore().double()], Calibration("test", "test", (fit,), {}, "0", "", 0))


@pytest.fixture(scope="session")
def prompts():
    """As hosts hold them: from zip()."""
    return ("a red cat", "a blue house", "a red cat")


@pytest.fixture(scope="session")
def pixels():
    """In 8 bits, as pictures are: from and to other forms they come unchanged."""
    return torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture(scope="session")
def expected(reward, pixels, prompts):
    with torch.no_grad():
        return reward(pixels, prompts)
