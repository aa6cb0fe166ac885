"""DDPO: a diffusion model fine-tuned by policy gradient on any reward, differentiable or not.

Black et al., Training Diffusion Models with Reinforcement Learning, arXiv 2305.13301: denoising is a chain of
Gaussian decisions; those that led to images better than expected are made more probable. Options are named as in
TRL's DDPOConfig, which TRL no longer has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fergi_reward.trainers.advantages import PerPromptStatTracker, standardize
from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.diffusion import gaussian_kl, gaussian_log_prob
from fergi_reward.trainers.lora import adapter_disabled
from fergi_reward.trainers.losses import clipped_loss
from fergi_reward.trainers.pipelines import Conditioning, Pipeline, decode, encode_prompts, latent_shape
from fergi_reward.trainers.rewards import Reward, RewardQueue, reward_metrics
from fergi_reward.trainers.samples import draw_prompts
from fergi_reward.trainers.seeds import generator
from fergi_reward.trainers.trainer import Trainer
from fergi_reward.trainers.trajectory import Trajectory, predict, sample_trajectory


@dataclass(frozen=True)
class DDPOConfig(TrainerConfig):
    """Options of DDPO. Batch sizes are those of one process."""

    sample_eta: float = option(1.0, "Noise of a step: 1 is DDPM's. At 0 nothing is random, and nothing can be trained.")
    sample_batch_size: int = option(1, "Images sampled and rewarded at a time.")
    sample_num_batches_per_epoch: int = option(2, "Batches sampled in an epoch.")
    train_gradient_accumulation_steps: int = option(
        1, "Training batches in an optimiser step; each already accumulates all of its timesteps."
    )
    train_num_inner_epochs: int = option(1, "Passes over the samples of an epoch.")
    train_timestep_fraction: float = option(1.0, "Share of an image's steps, drawn anew in each pass, to train on.")
    train_cfg: bool = option(
        True, "Train the guided prediction; off: the conditional one, at half the work, while sampling stays guided."
    )
    train_adv_clip_max: float = option(5.0, "Advantages are clipped to plus and minus this.")
    train_clip_range: float = option(1e-4, "How far an importance ratio may leave 1 before its gradient stops.")
    train_kl_beta: float = option(
        0.0, "Weight of the KL divergence from the model without the adapter; above 0 it costs a third more work."
    )
    async_reward_computation: bool = option(
        False, "Score a batch in a thread of its own while the next one is sampled."
    )
    per_prompt_stat_tracking: bool = option(
        True, "Judge an image by the rewards of its own prompt; off: by all rewards of the epoch."
    )
    per_prompt_stat_tracking_buffer_size: int = option(16, "Rewards of a prompt that are remembered.")
    per_prompt_stat_tracking_min_count: int = option(
        16, "A prompt with fewer remembered rewards is judged by all rewards of the epoch."
    )

    @property
    def samples_per_epoch(self) -> int:
        """Images that one process samples in an epoch."""
        return self.sample_batch_size * self.sample_num_batches_per_epoch

    @property
    def updates_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        update = self.train_batch_size * self.train_gradient_accumulation_steps
        return self.train_num_inner_epochs * self.samples_per_epoch // update

    @property
    def picture_batch_size(self) -> int:
        """Images drawn at a time where nothing is trained."""
        return self.sample_batch_size

    def problems(self) -> list[str]:
        """Ranges, and batches that do not divide each other."""
        counts = [
            *("sample_batch_size", "sample_num_batches_per_epoch", "train_num_inner_epochs"),
            *("per_prompt_stat_tracking_buffer_size", "per_prompt_stat_tracking_min_count"),
        ]
        positive = ["sample_eta", "train_timestep_fraction", "train_adv_clip_max", "train_clip_range"]
        found = [*super().problems(), *self.below(1, counts), *self.not_positive(positive)]
        found += self.below(0, ["train_kl_beta"])
        return found + self.above(1, ["train_timestep_fraction"]) + self._batch_problems()

    def _batch_problems(self) -> list[str]:
        step = self.train_batch_size * self.train_gradient_accumulation_steps
        if step < 1 or self.samples_per_epoch % step == 0:
            return []
        return [
            f"an epoch has {self.samples_per_epoch} samples (sample_batch_size x sample_num_batches_per_epoch), which "
            f"{step} (train_batch_size x train_gradient_accumulation_steps) does not divide"
        ]


@dataclass(frozen=True)
class Experience:
    """What an epoch trains on: trajectories, and how good each was.

    Attributes:
        trajectory: Of N images.
        advantages: (N,).
        indices: (N,) number of each image among those of all processes.
    """

    trajectory: Trajectory
    advantages: Tensor
    indices: Tensor


class DDPOTrainer(Trainer[DDPOConfig]):
    """Sample, reward, reinforce; again. Arguments and what becomes of the pipeline: see `Trainer`."""

    def __init__(
        self,
        config: DDPOConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        super().__init__(config, reward, pipeline, prompts, judges)
        steps = self.schedule.random_steps(config.sample_eta)
        self.trained_steps = torch.tensor(steps, device=self.accelerator.device)
        self.tracker = PerPromptStatTracker(
            config.per_prompt_stat_tracking_buffer_size, config.per_prompt_stat_tracking_min_count
        )

    def epoch(self, epoch: int) -> dict[str, float]:
        """Sample the epoch's images, then train on them."""
        experience, metrics = self._sample(epoch)
        return metrics | self._train(epoch, experience)

    def _sample(self, epoch: int) -> tuple[Experience, dict[str, float]]:
        """Sample this process's share of the epoch's images and judge them among those of all processes."""
        config, count = self.config, self.config.samples_per_epoch
        total = count * self.accelerator.num_processes
        prompts = draw_prompts(self.prompts, total, generator(config.seed, "prompts", epoch))
        first = self.accelerator.process_index * count
        trajectories = []
        queue = RewardQueue(self.reward, config.async_reward_computation)
        with queue, self.progress("sampling", count, "image") as progress:
            for start in range(first, first + count, config.sample_batch_size):
                indices = range(start, start + config.sample_batch_size)
                batch = [prompts[index] for index in indices]
                trajectories.append(self._denoise(batch, [generator(config.seed, "noise", epoch, i) for i in indices]))
                with torch.no_grad():
                    pixels = decode(self.pipeline, trajectories[-1].latents[:, -1])
                queue.put(pixels, batch)
                progress.update(len(batch))
            gathered = self.gathered(queue.rewards())
        advantages = self._advantages(prompts, gathered.total)[first : first + count]
        experience = Experience(Trajectory.cat(trajectories), advantages, torch.arange(first, first + count))
        return experience, reward_metrics(gathered)

    def _denoise(self, prompts: list[str], generators: list[torch.Generator]) -> Trajectory:
        return sample_trajectory(
            self.network,
            self.schedule,
            encode_prompts(self.pipeline, prompts),
            latent_shape(self.pipeline),
            generators,
            self.trained_steps.tolist(),
            eta=self.config.sample_eta,
            guidance=self.guidance,
            guided_log_probs=self.config.train_cfg,
        )

    def _advantages(self, prompts: list[str], rewards: Tensor) -> Tensor:
        tracked = self.config.per_prompt_stat_tracking
        advantages = self.tracker.update(prompts, rewards) if tracked else standardize(rewards, rewards)
        return advantages.clamp(-self.config.train_adv_clip_max, self.config.train_adv_clip_max)

    def _train(self, epoch: int, experience: Experience) -> dict[str, float]:
        config, updates = self.config, list[dict[str, Tensor]]()
        images = len(experience.indices)
        rows_in_update = config.train_batch_size * config.train_gradient_accumulation_steps
        with self.progress("training", config.updates_per_epoch, "update") as progress:
            for inner_epoch in range(config.train_num_inner_epochs):
                key = (config.seed, "rows", epoch, inner_epoch, self.accelerator.process_index)
                order = torch.randperm(images, generator=generator(*key))
                steps = self._step_order(epoch, inner_epoch, experience.indices)
                for rows in order.split(rows_in_update):
                    updates.append(self._update(experience, rows, steps))
                    progress.update()
        means = self.accelerator.reduce(mean_of(updates), reduction="mean")
        return {name: figure.item() for name, figure in means.items()}

    def _step_order(self, epoch: int, inner_epoch: int, indices: Tensor) -> Tensor:
        """Which steps each image is trained on, in which order (N, S): its own, so that a batch mixes noise levels."""
        count = max(1, int(len(self.trained_steps) * self.config.train_timestep_fraction))
        generators = [generator(self.config.seed, "steps", epoch, inner_epoch, index) for index in indices.tolist()]
        orders = [torch.randperm(len(self.trained_steps), generator=drawn)[:count] for drawn in generators]
        return self.trained_steps[torch.stack(orders).to(self.trained_steps.device)]

    def _update(self, experience: Experience, rows: Tensor, steps: Tensor) -> dict[str, Tensor]:
        """One optimiser step from all steps of the images in `rows`; returns its figures."""
        batches = rows.split(self.config.train_batch_size)
        passes = [(batch, column) for batch in batches for column in range(steps.shape[1])]
        figures = []
        for batch, column in passes:
            loss, of_pass = self._loss(experience, batch, steps[batch, column])
            self.accelerator.backward(loss / len(passes))
            figures.append(of_pass)
        return mean_of(figures) | {"grad_norm": self.step_optimizer()}

    def _loss(self, experience: Experience, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one step of each image in `rows`, `steps[b]` of the b-th, and its figures."""
        trajectory, config = experience.trajectory, self.config
        latents, following = trajectory.latents[rows, steps], trajectory.latents[rows, steps + 1]
        conditioning = trajectory.conditioning[rows]
        mean, std = self._step(latents, steps, conditioning)
        old_log_probs = trajectory.log_probs[rows, steps]
        log_probs = gaussian_log_prob(following, mean, std)
        clipped = clipped_loss(log_probs, old_log_probs, experience.advantages[rows], config.train_clip_range)
        loss = clipped.loss
        figures = {"approx_kl": clipped.approx_kl, "clip_fraction": clipped.clip_fraction}
        if config.train_kl_beta:
            with torch.no_grad(), adapter_disabled(self.pipeline):
                reference_mean, _ = self._step(latents, steps, conditioning)
            divergence = gaussian_kl(mean, reference_mean, std).mean()
            loss = loss + config.train_kl_beta * divergence
            figures |= {"reference_kl": divergence.detach()}
        return loss, {"loss": loss.detach(), **figures}

    def _step(self, latents: Tensor, steps: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B,) of the steps that are trained."""
        guidance = self.guidance if self.config.train_cfg else None
        prediction, _ = predict(self.network, latents, self.schedule.timesteps[steps], conditioning, guidance)
        return self.schedule.step(prediction, latents, steps, self.config.sample_eta)

    def state(self) -> dict[str, Any]:
        """The remembered rewards too."""
        return super().state() | {"stat_tracker": self.tracker.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """The remembered rewards too."""
        super().load_state(state)
        self.tracker.load_state_dict(state["stat_tracker"])


def mean_of(figures: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of scalars by name."""
    return {name: torch.stack([of_one[name] for of_one in figures]).mean() for name in figures[0]}
