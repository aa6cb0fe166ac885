"""FAU-Net, many at once, against one at a time as the paper words it."""

import numpy as np
import torch
from torch import nn

from fergi_reward.calibration import faunet
from fergi_reward.data.table import Pairs


class PlainNetwork(nn.Module):
    """One network, an action unit at a time, drawn from torch's generator as it stands."""

    def __init__(self, action_units):
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(1, 1) for _ in range(action_units))
        self.hidden = nn.Linear(action_units, 16)
        self.output = nn.Linear(action_units + 16, 1)
        for gate in self.gates:
            nn.init.constant_(gate.weight, 1)
            nn.init.constant_(gate.bias, -1)

    def forward(self, activations):
        gated = [gate(activations[:, [unit]]).sigmoid() for unit, gate in enumerate(self.gates)]
        inputs = torch.cat(gated, dim=1)
        return self.output(torch.cat([inputs, self.hidden(inputs)], dim=1).sigmoid())


def plainly_trained(activations, pairs, training, seed):
    """Both orders of every pair, binary cross-entropy of the probability that the first is better."""
    torch.manual_seed(seed)
    outputs = []
    for mask in training:
        network = PlainNetwork(activations.shape[1])
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        first = activations[np.concatenate([pairs.better[mask], pairs.worse[mask]])]
        second = activations[np.concatenate([pairs.worse[mask], pairs.better[mask]])]
        target = torch.arange(2).flip(0).repeat_interleave(int(mask.sum())).float()[:, None]
        for _ in range(faunet.EPOCHS):
            loss = nn.functional.binary_cross_entropy((network(first) - network(second)).sigmoid(), target)
            loss = loss + 1e-4 * sum(parameter.abs().sum() for parameter in network.parameters())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        outputs.append(network(activations).detach().numpy()[:, 0])
    return np.stack(outputs)


def test_networks_side_by_side_end_where_networks_one_by_one_do(monkeypatch):
    monkeypatch.setattr(faunet, "EPOCHS", 100)
    rng = np.random.default_rng(0)
    activations = rng.exponential(size=(30, 3)).astype(np.float32)
    better, worse = rng.permutation(30)[:24].reshape(2, 12)
    pairs = Pairs(better, worse, np.repeat(["a", "b", "c"], 4))
    training = np.array(["a", "b", "c"])[:, None] != pairs.users
    found = faunet.train(activations, pairs, training, seed=3)
    expected = plainly_trained(torch.from_numpy(activations), pairs, training, seed=3)
    # The bias of the output says nothing about pairs, and the L1 penalty rocks it to and fro around 0.
    found, expected = (outputs - outputs.mean(axis=1, keepdims=True) for outputs in (found, expected))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.ptp(expected, axis=0).max() > 0.01  # the networks differ


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    faunet.initial(2, 3, seed=0)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_the_default_dtype_and_device_change_no_parameter():
    plain = faunet.initial(2, 3, seed=0)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            others = faunet.initial(2, 3, seed=0)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(plain, others, strict=True):
        assert other.dtype == torch.float32 and torch.equal(one, other)
