import pytest

from fergi_reward.toy import tiny


@pytest.fixture
def pipeline():
    return tiny.stable_diffusion(seed=0)
