"""Flow-GRPO: a flow-matching model fine-tuned by policy gradient on any reward, differentiable or not.

Liu et al., Flow-GRPO, arXiv 2505.05470: each prompt is drawn several times, and an image counts for how much better it
is than its group. Sampling draws noise on the way, so that each step has a probability, and that of the steps to good
images is raised. Training samples in few steps: what is learned holds for the many of `picture_num_steps`, with which
grids and judges are served, without noise. With `sde_window_size` it is MixGRPO (Li et al., arXiv 2507.21802): only the
steps in a sliding window draw noise and are trained. Without noise or probabilities: see `nft`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, reward_metrics
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.flow import sliding_window
from fergi_reward.diffusion.schedule import gaussian_kl, gaussian_log_prob
from fergi_reward.trainers.advantages import group_advantages
from fergi_reward.trainers.flow_grpo_config import FlowGRPOConfig
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.losses import clipped_loss
from fergi_reward.trainers.rollout import (
    Rollout,
    check_flow,
    check_random,
    passes_of_updates,
    recorder,
    sample,
    say_first_ratio,
)
from fergi_reward.trainers.shares import epoch_prompts, reward_summary


class FlowGRPOTrainer:
    """Draw groups, reward, and reinforce what was better than its group. What happens to the pipeline: `TrainedModel`.

    Args:
        config: The options.
        reward: Any callable from pixels and prompts to rewards.
        pipeline: What is trained, of flow matching.
        prompts: What to sample from; grids and judges see the first of them.
        judges: By name, rewards that are not trained on but only asked now and then.

    Raises:
        FergiRewardError: As `Loop`; the pipeline is not of flow matching, no step draws noise, or fewer than the
            window has.
    """

    config_class = FlowGRPOConfig
    learns_from: ClassVar[Literal["reward"]] = "reward"

    def __init__(
        self,
        config: FlowGRPOConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        self.config, self.reward = config, reward
        self.loop = Loop(type(self).__name__, config, pipeline, prompts, judges, reward=reward)
        self.model = self.loop.model
        self.schedule = replace(check_flow(pipeline, self.model.schedule), law=config.sde_type)
        self.model.schedule = self.schedule
        check_random(self.random_steps(0), config)

    def train(self) -> Path:
        """Run all epochs that are left; returns the folder of the finished weights."""
        return self.loop.run_epochs(self.epoch, reward_summary)

    def epoch(self, epoch: int) -> dict[str, float]:
        """Sample the epoch's groups, then train on them; returns the metrics of both."""
        rollout, metrics = self.collect(epoch)
        return metrics | self.improve(rollout)

    def collect(self, epoch: int) -> tuple[Rollout, dict[str, float]]:
        """Sample this process's share of the epoch's images, and compare each with its group."""
        prompts = epoch_prompts(self.loop, epoch, self.config.sample_group_size)
        draw = recorder(self.loop, self.random_steps(epoch))
        trajectory, rewards = sample(self.loop, self.reward, epoch, prompts, draw)
        most, spread = self.config.train_adv_clip_max, self.config.advantage_std
        advantages = group_advantages(prompts, rewards.total, spread).clamp(-most, most)
        return Rollout.of(self.loop, epoch, trajectory, advantages), reward_metrics(rewards)

    def random_steps(self, epoch: int) -> list[int]:
        """Which steps draw noise and are trained in an epoch: all that can, or those in the window."""
        config, possible = self.config, self.schedule.random_steps(self.config.sample_eta)
        if not config.sde_window_size:
            return possible
        turn = epoch // config.sde_window_epochs
        return sliding_window(possible, config.sde_window_size, config.sde_window_stride, turn)

    def improve(self, rollout: Rollout) -> dict[str, float]:
        """Make the steps to good images more probable: optimiser steps, each on all trained steps of some images."""
        updates = []
        for passes in passes_of_updates(self.loop, rollout, self.random_steps(rollout.epoch)):
            losses = (self.loss(rollout, rows, steps) for rows, steps in passes)
            updates.append(self.loop.update(losses, len(passes)))
        metrics = self.loop.means(updates)
        say_first_ratio(self.loop, rollout, updates[0])
        return metrics

    def loss(self, rollout: Rollout, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """GRPO's clipped loss, and the KL divergence's, of one step of each of some images; and figures to log.

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
        divergence = gaussian_kl(mean, reference_mean, std)
        if config.train_kl_form == "per_time":
            divergence = divergence * self.schedule.lengths(steps)
        divergence = divergence.mean()
        return clipped.loss + config.train_kl_beta * divergence, {**figures, "reference_kl": divergence.detach()}
