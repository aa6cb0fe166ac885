"""TRL's former trainers, one epoch each, with the emoji world's reward by its adapters: python host_trl.py PIPELINE.

The last line says in JSON, of each trainer, how far the rewards that it used lie from what the reward itself says of
the same images, and how far its weights moved.
"""

import itertools
import json
import sys

import torch
from accelerate import PartialState
from accelerate.tracking import GeneralTracker
from trl import AlignPropConfig, AlignPropTrainer, DDPOConfig, DDPOTrainer, DefaultDDPOStableDiffusionPipeline

from fergi_reward.adapters import RewardGuard, TRLAlignPropReward, TRLDDPOReward
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import emoji

PROMPTS = ["a red cat", "a blue house", "a green tree", "a yellow car"]
COMMON = {
    "num_epochs": 1,
    "save_freq": 1000,
    "sample_num_steps": 5,
    "train_batch_size": 4,
    "train_gradient_accumulation_steps": 1,
    "mixed_precision": "no",
    "seed": 0,
    "project_kwargs": {"project_dir": "trl_out"},
}


class Silent(GeneralTracker):
    """Hooks are handed the tracker, so there must be one."""

    name = "silent"
    requires_logging_directory = False
    tracker = None

    def store_init_configuration(self, values):
        pass

    def log(self, values, step):
        pass


class Seen:
    """What a trainer hands to its hook for images."""

    def __init__(self):
        self.batches = []

    def ddpo(self, batches, step, tracker):
        for images, prompts, _, rewards, terms in batches:
            self.batches.append((images, prompts, rewards, terms))

    def alignprop(self, batch, step, tracker):
        self.batches.append((batch["images"], batch["prompts"], batch["rewards"], {}))


def run(trainer, seen, reward):
    """Train, and compare."""
    before = [weight.detach().clone() for weight in trainer.trainable_layers]
    trainer.train()
    moved = max((old - new).abs().max().item() for old, new in zip(before, trainer.trainable_layers, strict=True))
    differences, names = [], set()
    for images, prompts, rewards, terms in seen.batches:
        with torch.no_grad():
            expected = reward(images.detach(), list(prompts))
        differences.append((rewards.detach() - expected.total).abs().max().item())
        differences += [(terms[name] - expected.terms[name]).abs().max().item() for name in terms]
        names |= set(terms)
    images = sum(len(batch[0]) for batch in seen.batches)
    return {"images": images, "largest difference": max(differences), "weights moved": moved, "terms": sorted(names)}


def watched(trainer, pipeline, reward):
    """Two epochs of TRL's loop with a guard: its verdicts must be those on the pictures that the weights draw."""
    settings = {"num_inference_steps": 5, "output_type": "pt"}

    def draw(prompts, seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipeline.sd_pipeline(prompts, generator=generators, **settings).images

    guard = RewardGuard({"redness": redness}, PROMPTS, reward=reward, parameters=trainer.trainable_layers)
    step, differences = 0, []
    for epoch in range(2):
        verdict = guard.check(epoch, draw)
        with torch.no_grad():
            expected = redness(draw(PROMPTS, range(len(PROMPTS))), PROMPTS).mean().item()
        differences.append(abs(verdict.metrics["judges/redness_mean"] - expected))
        step = trainer.step(epoch, step)
    trained = [weight.detach().clone() for weight in trainer.trainable_layers]
    guard.restore_best()
    moved = max((old - new).abs().max().item() for old, new in zip(trained, trainer.trainable_layers, strict=True))
    return {"images": 2 * len(PROMPTS), "largest difference": max(differences), "weights moved": moved, "terms": []}


def redness(pixels, prompts):
    return pixels[:, 0].mean((1, 2))


def prompt_function():
    names = itertools.cycle(PROMPTS)
    return lambda: (next(names), {})


PartialState()  # This version logs through accelerate before it has a state of its own.
reward = CombinedReward.from_pretrained(emoji.CALIBRATION, checkpoints=emoji.checkpoints())
ddpo, alignprop = Seen(), Seen()
pipeline = DefaultDDPOStableDiffusionPipeline(sys.argv[1], use_lora=True)
config = DDPOConfig(**COMMON, log_with=Silent(), sample_batch_size=4, sample_num_batches_per_epoch=2)
trainer = DDPOTrainer(config, TRLDDPOReward(reward), prompt_function(), pipeline, ddpo.ddpo)
results = {"DDPOTrainer": run(trainer, ddpo, reward)}
results["DDPOTrainer, guarded"] = watched(trainer, pipeline, reward)
pipeline = DefaultDDPOStableDiffusionPipeline(sys.argv[1], use_lora=True)
config = AlignPropConfig(
    **COMMON, log_with=Silent(), truncated_backprop_rand=False, truncated_backprop_timestep=3, log_image_freq=1
)
trainer = AlignPropTrainer(config, TRLAlignPropReward(reward), prompt_function(), pipeline, alignprop.alignprop)
results["AlignPropTrainer"] = run(trainer, alignprop, reward)
print(json.dumps(results))
