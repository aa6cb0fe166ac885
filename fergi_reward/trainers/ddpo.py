"""DDPO: a diffusion model fine-tuned by policy gradient on any reward, differentiable or not.

Black et al., Training Diffusion Models with Reinforcement Learning, arXiv 2305.13301: denoising is a chain of Gaussian
decisions; those that led to images better than the last ones of their prompt are made more probable. Options are named
as in TRL's DDPOConfig, which TRL no longer has.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, reward_metrics
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.schedule import gaussian_kl, gaussian_log_prob
from fergi_reward.trainers.advantages import PerPromptStatTracker, standardize
from fergi_reward.trainers.ddpo_config import DDPOConfig
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.losses import clipped_loss
from fergi_reward.trainers.rollout import (
    Rollout,
    check_random,
    passes_of_updates,
    recorder,
    sample,
    say_first_ratio,
)
from fergi_reward.trainers.shares import epoch_prompts, reward_summary


class DDPOTrainer:
    """Sample, reward, reinforce; again. What happens to the pipeline: see `TrainedModel`.

    Args:
        config: The options.
        reward: Any callable from pixels and prompts to rewards.
        pipeline: What is trained.
        prompts: What to sample from; grids and judges see the first of them.
        judges: By name, rewards that are not trained on but only asked now and then.

    Attributes:
        random_steps: Those that draw noise, and so have a probability to train.
        tracker: The last rewards of each prompt.

    Raises:
        FergiRewardError: As `Loop`; or no step draws noise.
    """

    config_class = DDPOConfig
    learns_from: ClassVar[Literal["reward"]] = "reward"

    def __init__(
        self,
        config: DDPOConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        self.config, self.reward = config, reward
        self.loop = Loop(type(self).__name__, config, pipeline, prompts, judges, reward=reward)
        self.model = self.loop.model
        self.random_steps = self.model.schedule.random_steps(config.sample_eta)
        check_random(self.random_steps, config)
        self.tracker = PerPromptStatTracker(
            config.per_prompt_stat_tracking_buffer_size, config.per_prompt_stat_tracking_min_count
        )

    def train(self) -> Path:
        """Run all epochs that are left; returns the folder of the finished weights."""
        return self.loop.run_epochs(self.epoch, reward_summary, {"stat_tracker": self.tracker})

    def epoch(self, epoch: int) -> dict[str, float]:
        """Sample the epoch's images, then train on them; returns the metrics of both."""
        rollout, metrics = self.collect(epoch)
        return metrics | self.improve(rollout)

    def collect(self, epoch: int) -> tuple[Rollout, dict[str, float]]:
        """Sample this process's share of the epoch's images, and judge each among those of all processes."""
        prompts = epoch_prompts(self.loop, epoch)
        trajectory, rewards = sample(self.loop, self.reward, epoch, prompts, recorder(self.loop, self.random_steps))
        advantages = self.advantages(prompts, rewards.total)
        return Rollout.of(self.loop, epoch, trajectory, advantages), reward_metrics(rewards)

    def advantages(self, prompts: Sequence[str], rewards: Tensor) -> Tensor:
        """How much better than the last images of its prompt, or than all of the epoch, each image is, (N,)."""
        tracked, most = self.config.per_prompt_stat_tracking, self.config.train_adv_clip_max
        found = self.tracker.update(prompts, rewards) if tracked else standardize(rewards, rewards)
        return found.clamp(-most, most)

    def improve(self, rollout: Rollout) -> dict[str, float]:
        """Make the steps to good images more probable: optimiser steps, each on all trained steps of some images."""
        updates = []
        for passes in passes_of_updates(self.loop, rollout, self.random_steps):
            losses = (self.loss(rollout, rows, steps) for rows, steps in passes)
            updates.append(self.loop.update(losses, len(passes)))
        metrics = self.loop.means(updates)
        say_first_ratio(self.loop, rollout, updates[0])
        return metrics

    def loss(self, rollout: Rollout, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """PPO's loss, and the KL divergence's, of one step of each of some images; and figures to log.

        Args:
            rollout: What was sampled.
            rows: (B,) which images, on the CPU.
            steps: (B,) which step of each.
        """
        config, trajectory = self.config, rollout.trajectory
        rows, steps = (sent(places, self.loop.accelerator.device) for places in (rows, steps))
        latents, following = trajectory.latents[rows, steps], trajectory.latents[rows, steps + 1]
        conditioning = trajectory.conditioning[rows]
        constant = not config.train_unconditional
        mean, std = self.model.step(latents, steps, conditioning, guided=config.train_cfg, detach_absence=constant)
        log_probs, old_log_probs = gaussian_log_prob(following, mean, std), trajectory.log_probs[rows, steps]
        clipped = clipped_loss(log_probs, old_log_probs, rollout.advantages[rows], config.train_clip_range)
        figures = {"approx_kl": clipped.approx_kl, "clip_fraction": clipped.clip_fraction}
        if not config.train_kl_beta:
            return clipped.loss, figures
        with torch.no_grad(), self.model.weights.reference():
            reference_mean, _ = self.model.step(latents, steps, conditioning, guided=config.train_cfg)
        divergence = gaussian_kl(mean, reference_mean, std).mean()
        return clipped.loss + config.train_kl_beta * divergence, {**figures, "reference_kl": divergence.detach()}
