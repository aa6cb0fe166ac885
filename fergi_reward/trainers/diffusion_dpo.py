"""Diffusion-DPO: a diffusion model fine-tuned on pairs of pictures of which one is preferred, without a reward.

Wallace et al., Diffusion Model Alignment Using Direct Preference Optimization, arXiv 2311.12908: the model is to
denoise the preferred picture better than the model that it came from does, by more than it denoises the other better.
A pair counts by how sure it is (conservative DPO), so that pairs annotated from faces count for what they are worth.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.seeds import generator
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.flow import FlowSchedule
from fergi_reward.diffusion.schedule import Schedule
from fergi_reward.trainers.augmentation import Augmentation
from fergi_reward.trainers.diffusion_dpo_config import DiffusionDPOConfig
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.losses import implicit_rewards, preference_loss
from fergi_reward.trainers.pair_batches import PairBatch, PairBatches
from fergi_reward.trainers.pairs import REASONS, Pairs, PairTable
from fergi_reward.trainers.processes import in_order, mean_of, most_batches


class DiffusionDPOTrainer:
    """Learn from pairs which pictures are better. What happens to the pipeline: see `TrainedModel`.

    Args:
        config: The options.
        pairs: What is learned from; see `pairs.load_table`.
        pipeline: What is trained.
        prompts: What grids and judges get to see.
        judges: By name, scorers that are asked now and then.
        held_out: Pairs that are not trained on, to measure how many of them the model gets right.
    """

    config_class = DiffusionDPOConfig
    learns_from: ClassVar[Literal["pairs"]] = "pairs"

    def __init__(
        self,
        config: DiffusionDPOConfig,
        pairs: PairTable,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
        held_out: PairTable | None = None,
    ) -> None:
        self.config = config
        self.loop = Loop(type(self).__name__, config, pipeline, prompts, judges, pairs=pairs)
        self.model = self.loop.model
        self.noise_levels = self.model.family.training_schedule(self.loop.accelerator.device)
        self.pairs = Pairs(pairs, seed=config.seed, shuffle_buffer=config.shuffle_buffer)
        augmentation = Augmentation(config.seed, config.caption_dropout, config.random_flip)
        self.batches = PairBatches(self.loop, self.pairs, config.confidence, augmentation)
        self.beta = config.beta or published_beta(self.noise_levels)
        measured = Pairs(held_out, seed=config.seed, shuffle_buffer=config.shuffle_buffer) if held_out else None
        self.held_out = measured.first(config.held_out_num_pairs) if measured else []

    def train(self) -> Path:
        """Run all epochs that are left; returns the folder of the finished weights."""
        return self.loop.run_epochs(self.epoch, summary, {"pairs": self.pairs})

    def epoch(self, epoch: int) -> dict[str, float]:
        """Some optimiser steps, and a look at the held-out pairs; returns their metrics."""
        config, figures = self.config, list[dict[str, Tensor]]()
        with self.loop.progress("training", config.train_updates_per_epoch, "update") as progress:
            for _ in range(config.train_updates_per_epoch):
                losses = (self.loss(batch) for batch in self.batches.of_update())
                figures.append(self.loop.update(losses, config.accumulation_steps))
                progress.update()
        metrics = self.loop.means(figures) | {f"skipped/{why}": float(self.pairs.skipped[why]) for why in REASONS}
        if epoch + 1 == config.num_epochs or (epoch + 1) % config.held_out_freq == 0:
            with self.loop.optimisation.averaged():
                metrics |= self._measure()
        return metrics

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some pairs, and their figures."""
        noise, steps = self._noise(batch)
        noised = self.noise_levels.noised(batch.latents, noise, steps)
        target = self.noise_levels.target(batch.latents, noise, steps)

        def errors() -> Tensor:
            prediction = self.model.network(noised, self.noise_levels.timesteps[steps], batch.conditioning)
            return (prediction.to(target.dtype) - target).square().flatten(1).mean(1)

        with torch.no_grad(), self.model.weights.reference():
            reference_errors = errors()
        better, worse = implicit_rewards(errors(), reference_errors, self.beta).chunk(2)
        losses = preference_loss(better - worse, batch.confidences)
        figures = {
            "loss": losses,
            "implicit_accuracy": (better > worse).float(),
            "margin": better - worse,
            "implicit_reward/better": better,
            "implicit_reward/worse": worse,
        }
        return losses.mean(), {name: figure.detach().mean() for name, figure in figures.items()}

    def _noise(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Noise (2 B, C, H, W) and steps (2 B,): the same for both pictures of a pair, of the pair's number alone."""
        generators = [generator(self.config.seed, "noise", number) for number in batch.numbers]
        steps = [self.noise_levels.random_step(drawn) for drawn in generators]
        noise = torch.stack([torch.randn(self.model.family.latent_shape, generator=drawn) for drawn in generators])
        device = batch.latents.device
        return sent(noise, device).repeat(2, 1, 1, 1).to(batch.latents), sent(torch.tensor(steps * 2), device)

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        """The figures of the held-out pairs, with the same noise each time."""
        mine = list[tuple[int, list[dict[str, Tensor]]]]()
        for start, batch in self.batches.of(self.held_out):
            _, of_batch = self.loss(batch)
            figures = torch.stack(list(of_batch.values())).cpu()
            mine.append((start, [dict(zip(of_batch, figures, strict=True))] * len(batch.numbers)))
        if self.model.is_sharded:  # all processes must predict as often as the one with the most batches
            most = most_batches(self.loop.accelerator, len(self.held_out), self.config.train_batch_size)
            for _ in range(most - len(mine)):
                self.loss(self.batches.blank())
        of_pairs = [of_pair for of_batch in in_order(mine) for of_pair in of_batch]
        return {f"held_out/{name}": mean.item() for name, mean in mean_of(of_pairs).items()} if of_pairs else {}


def published_beta(noise_levels: Schedule) -> float:
    """The beta that the field uses with the error that a model is trained on.

    5000 belongs to the noise of Stable Diffusion 1.5 and XL (Wallace et al., section 5.1); with the velocity of flow
    matching the programs for Stable Diffusion 3.5 have 100 (Flow-GRPO, Flow-Factory, verl-omni). For a diffusion
    model that predicts v nobody has published one: it gets that of noise.
    """
    return 100.0 if isinstance(noise_levels, FlowSchedule) else 5000.0


def summary(metrics: Mapping[str, float]) -> str:
    """The loss, and how many pairs the model gets right, for an epoch's line in the terminal."""
    skipped = [f"{count:.0f} {name[8:]}" for name, count in metrics.items() if name.startswith("skipped/") and count]
    shown = f"loss {metrics['loss']:.4f}, implicit accuracy {metrics['implicit_accuracy']:.1%}"
    return f"{shown}, skipped {' and '.join(skipped)}" if skipped else shown
