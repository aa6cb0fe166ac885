"""Modules that visit a device come back as they were; the device `meta` stands for one that is not the CPU."""

import pytest
import torch
from torch import nn

from fergi_reward.core.parking import CPU, park, visiting

META = torch.device("meta")


@pytest.fixture
def module():
    """With a weight that two layers share, and buffers."""
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    made[2].weight = made[0].weight
    return made


def devices(module):
    return {value.device for value in (*module.parameters(), *module.buffers())}


@pytest.mark.parametrize("inference", [False, True])
def test_a_module_is_there_inside_and_afterwards_what_it_was(module, inference):
    before = {name: (value, value.data_ptr()) for name, value in module.state_dict(keep_vars=True).items()}
    with torch.inference_mode(inference), visiting(META, module):
        assert devices(module) == {META}
        assert torch.is_inference_mode_enabled() == inference
        with visiting(META, module):
            pass
        assert devices(module) == {META}
    after = module.state_dict(keep_vars=True)
    assert all(after[name] is value and value.data_ptr() == place for name, (value, place) in before.items())
    assert module[2].weight is module[0].weight
    module(torch.ones(2, 3)).sum().backward()  # as it could not through weights that inference mode has made


def test_an_error_brings_it_back(module):
    with pytest.raises(ValueError), visiting(META, module):
        raise ValueError
    assert devices(module) == {CPU}


def test_what_is_there_already_stays_there(module):
    module.to(META)
    with visiting(META, module):
        pass
    assert devices(module) == {META}
    with visiting(CPU, nn.Linear(1, 1)) as nothing:
        assert nothing is None


def test_a_module_that_is_parked_in_inference_mode_can_be_trained_through(card, module):
    module.to("cuda")
    with torch.inference_mode():
        park(module)
    assert devices(module) == {CPU}
    module(torch.ones(2, 3)).sum().backward()
