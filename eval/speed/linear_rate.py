"""What a machine has for linear layers, and how much of it a scorer's image tower needs."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from fergi_reward.images import Picture, open_picture
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.cpu_kernels import FastCPUKernels

CALLS = 4


def tower_operations(scorer: TowerScorer, picture: Picture) -> int:
    """Floating-point operations of the image tower for a picture."""
    tower = scorer.towers()[0]
    inputs = scorer._as_input(scorer.preprocess(open_picture(picture))[None])
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        tower(inputs)
    return counter.get_total_flops()


def widest_linear(scorer: TowerScorer) -> tuple[Callable[[], object], int]:
    """The widest linear layer of the image tower on 8 images' tokens: its work, several times, and the operations."""
    layers = [module.weight for module in scorer.towers()[0].modules() if isinstance(module, nn.Linear)]
    weight = max(layers, key=len)
    tokens = torch.rand(8 * 257, weight.shape[1]).to(weight.dtype)

    def work() -> None:
        with torch.inference_mode(), FastCPUKernels():
            for _ in range(CALLS):
                linear(tokens, weight)

    return work, CALLS * 2 * tokens.numel() * len(weight)
