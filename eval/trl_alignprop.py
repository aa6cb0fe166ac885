"""AlignProp by TRL 0.23.1's own trainer, the other side of trl_comparison.py, which runs this in TRL's environment.

.parity/trl/bin/python eval/trl_alignprop.py PIPELINE EPOCHS OPTIONS
"""

import itertools
import json
import resource
import sys
import time

import torch
from accelerate import PartialState
from torch import Tensor

# The version of this environment has no such trainer.
from trl import AlignPropConfig, AlignPropTrainer, DefaultDDPOStableDiffusionPipeline  # type: ignore[attr-defined]


def redness(images: Tensor, prompts: tuple[str, ...], metadata: object) -> tuple[Tensor, dict[str, float]]:
    """Red minus the other colours, (B,)."""
    rewards = images[:, 0].mean((1, 2)) - images[:, 1:].mean((1, 2, 3))
    seen.append(rewards.mean().item())
    return rewards, {}


PartialState()  # This version logs through accelerate before it has a state of its own.
pipeline, epochs, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
prompts = itertools.cycle(options.pop("prompts"))
seen: list[float] = []
seconds = []
config = AlignPropConfig(**options, log_with=None, save_freq=1000, project_kwargs={"project_dir": "trl_out"})
trainer = AlignPropTrainer(
    config, redness, lambda: (next(prompts), {}), DefaultDDPOStableDiffusionPipeline(pipeline, use_lora=True)
)
for epoch in range(epochs):
    started = time.perf_counter()
    trainer.step(epoch, epoch)
    seconds.append(time.perf_counter() - started)
batches = config.train_gradient_accumulation_steps
rewards = torch.tensor(seen).view(epochs, batches).mean(1).tolist()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"seconds": seconds, "rewards": rewards, "memory": peak}))
