"""FAU-Net, the small network of a later version of the FERGI paper (arXiv 2312.03187), many of them at once.

Each action unit passes a sigmoid with a gain and an offset of its own; 16 hidden units see the results; the output is a
weighted sum of both. What reaches the output, the inputs included, passes a sigmoid once more. The loss is RankNet's
(Burges et al., Learning to Rank using Gradient Descent, ICML 2005) with an L1 penalty.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fergi_reward.core.progress import Progress
from fergi_reward.data.table import Pairs

HIDDEN_UNITS = 16
EPOCHS = 300
LEARNING_RATE = 1e-3
L1_PENALTY = 1e-4
# As the authors computed, whatever the default dtype and device of the process are.
PLACE: Any = {"dtype": torch.float32, "device": "cpu"}


def initial(networks: int, action_units: int, seed: int) -> list[Tensor]:
    """The parameters of networks side by side, as torch draws them one network after the other from one seed.

    Returns:
        Gains and offsets of the action units, weights and biases of the hidden units, weights and bias of the output;
        the first dimension of each is the network.
    """
    drawn = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(networks):
            for _ in range(action_units):
                nn.Linear(1, 1, **PLACE)  # the authors draw these, too, before they set them to 1 and -1
            hidden = nn.Linear(action_units, HIDDEN_UNITS, **PLACE)
            drawn.append((hidden, nn.Linear(action_units + HIDDEN_UNITS, 1, **PLACE)))
    layers = [
        [
            torch.stack([layer.weight.detach().T for layer in side]),
            torch.stack([layer.bias.detach()[None] for layer in side]),
        ]
        for side in zip(*drawn, strict=True)
    ]
    gains = torch.ones(networks, 1, action_units, **PLACE)
    return [parameter.requires_grad_() for parameter in (gains, -gains, *layers[0], *layers[1])]


def forward(parameters: list[Tensor], activations: Tensor) -> Tensor:
    """What each network makes of each image.

    Args:
        parameters: As `initial` gives them.
        activations: (images, action units).

    Returns:
        (networks, images).
    """
    gains, offsets, hidden_weights, hidden_biases, output_weights, output_biases = parameters
    inputs = torch.sigmoid(activations * gains + offsets)
    hidden = torch.baddbmm(hidden_biases, inputs, hidden_weights)
    dense = torch.sigmoid(torch.cat([inputs, hidden], dim=-1))
    return torch.baddbmm(output_biases, dense, output_weights).squeeze(-1)


def train(
    activations: NDArray[np.float64], pairs: Pairs, training: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    """Train networks side by side, with a progress bar.

    Args:
        activations: (images, action units).
        pairs: Pairs of these images.
        training: Mask of the pairs that each network sees, (networks, pairs).
        seed: Seed of the initial parameters.

    Returns:
        What each network makes of each image, (networks, images).
    """
    parameters = initial(len(training), activations.shape[1], seed)
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    images = torch.from_numpy(activations).float()
    better, worse = (torch.tensor(side, device="cpu") for side in (pairs.better, pairs.worse))
    shares = torch.from_numpy(training / training.sum(axis=1, keepdims=True)).float()
    for _ in Progress(range(EPOCHS), desc=f"training {len(training)} networks", unit="epoch"):
        outputs = forward(parameters, images)
        # Each order of a pair has the same loss, so one order is enough; no network has a part in another's loss.
        ranknet = (nn.functional.softplus(outputs[:, worse] - outputs[:, better]) * shares).sum()
        penalty = torch.stack([parameter.abs().sum() for parameter in parameters]).sum()
        optimiser.zero_grad()
        (ranknet + L1_PENALTY * penalty).backward()
        optimiser.step()
    with torch.inference_mode():
        return forward(parameters, images).double().numpy()
