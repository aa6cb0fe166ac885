"""TRL 0.23.1's own DDPO and AlignProp, the other side of trl_comparison.py, which runs this where TRL's packages are.

python eval/speed/trl_trainers.py DDPO|AlignProp PIPELINE EPOCHS OPTIONS
"""

import itertools
import json
import resource
import sys
import time
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

# The version of this environment has no such trainers.
from trl import (  # type: ignore[attr-defined]
    AlignPropConfig,
    AlignPropTrainer,
    DDPOConfig,
    DDPOTrainer,
    DefaultDDPOStableDiffusionPipeline,
)


def redness(images: Tensor, prompts: tuple[str, ...], metadata: object) -> tuple[Tensor, dict[str, float]]:
    """Red minus the other colours, (B,)."""
    rewards = images[:, 0].float().mean((1, 2)) - images[:, 1:].float().mean((1, 2, 3))
    seen.append(rewards.mean().item())
    return rewards, {}


def trainer_of(method: str, pipeline: str, options: dict[str, Any]) -> tuple[Any, int]:
    """The trainer, and how often it asks the reward in an epoch."""
    prompts = itertools.cycle(options.pop("prompts"))
    common: dict[str, Any] = {"log_with": None, "save_freq": 1000, "project_kwargs": {"project_dir": "trl_out"}}
    drawing = DefaultDDPOStableDiffusionPipeline(pipeline, use_lora=True)
    kind, config_class = {"DDPO": (DDPOTrainer, DDPOConfig), "AlignProp": (AlignPropTrainer, AlignPropConfig)}[method]
    config = config_class(**options, **common)
    batches = config.sample_num_batches_per_epoch if method == "DDPO" else config.train_gradient_accumulation_steps
    return kind(config, redness, lambda: (next(prompts), {}), drawing), batches


PartialState()  # This version logs through accelerate before it has a state of its own.
method, pipeline, epochs, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
seen: list[float] = []
seconds, step = [], 0
trainer, batches = trainer_of(method, pipeline, options)
for epoch in range(epochs):
    started = time.perf_counter()
    step = trainer.step(epoch, step)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - started)
rewards = torch.tensor(seen).view(epochs, batches).mean(1).tolist()
peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1000
print(json.dumps({"seconds": seconds, "rewards": rewards, "memory": peak / 1e9}))
