"""DiffusionNFT: a flow-matching model fine-tuned on any reward, without noise, probabilities or guidance.

Zheng et al., DiffusionNFT, arXiv 2509.16117: each prompt is drawn several times, and an image counts for how much
better it is than its group. How it was sampled does not matter: the finished image is noised again, and the velocity
there moves towards good images and away from bad ones. An old policy, which follows the trained one, samples.
"""

from collections.abc import Mapping, Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fergi_reward.callables.rewards import Reward, reward_metrics
from fergi_reward.core.seeds import generator
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.dpm_solver import solve
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.trajectory import Trajectory, noise_like, starting_noise
from fergi_reward.trainers.advantages import group_advantages, optimality
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.losses import adaptive_nft_loss, nft_loss
from fergi_reward.trainers.nft_config import NFTConfig
from fergi_reward.trainers.rollout import (
    Rollout,
    check_flow,
    passes_of_updates,
    recorder,
    sample,
)
from fergi_reward.trainers.shares import epoch_prompts, reward_summary
from fergi_reward.trainers.weights import copied, overwrite, swapped_in


class OldPolicy:
    """The policy that samples: values of the trained parameters that follow them slowly.

    Args:
        parameters: What is trained.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters, self.values = parameters, copied(parameters)

    def swapped_in(self) -> AbstractContextManager[None]:
        """The old policy in place of the trained one, inside the block."""
        return swapped_in(self.parameters, self.values)

    def follow(self, decay: float) -> None:
        """Move towards the trained parameters, and keep `decay`, in [0, 1), of what it was."""
        torch._foreach_lerp_(self.values, copied(self.parameters), 1 - decay)

    def state_dict(self) -> list[Tensor]:
        """The values."""
        return self.values

    def load_state_dict(self, state: list[Tensor], changed: Set[str] = frozenset()) -> None:
        """Take the values of another; whatever has `changed`, they go with the weights of their checkpoint."""
        overwrite(self.values, state)


class NFTTrainer:
    """Draw groups, reward, and learn from what was better than its group. What happens to the pipeline: `TrainedModel`.

    Args:
        config: The options.
        reward: Any callable from pixels and prompts to rewards.
        pipeline: What is trained, of flow matching.
        prompts: What to sample from; grids and judges see the first of them.
        judges: By name, rewards that are not trained on but only asked now and then.

    Raises:
        FergiRewardError: As `Loop`; or the pipeline is not of flow matching.
    """

    config_class = NFTConfig
    learns_from: ClassVar[Literal["reward"]] = "reward"

    def __init__(
        self,
        config: NFTConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        self.config, self.reward = config, reward
        self.loop = Loop(type(self).__name__, config, pipeline, prompts, judges, reward=reward)
        self.model = self.loop.model
        self.schedule = check_flow(pipeline, self.model.schedule)
        self.old = OldPolicy(self.model.parameters)

    def train(self) -> Path:
        """Run all epochs that are left; returns the folder of the finished weights."""
        return self.loop.run_epochs(self.epoch, reward_summary, {"old": self.old})

    def epoch(self, epoch: int) -> dict[str, float]:
        """Sample with the old policy, train, and let the old policy follow; returns the metrics."""
        with self.old.swapped_in():
            rollout, metrics = self.collect(epoch)
        metrics |= self.improve(rollout)
        self.old.follow(self.config.old_decay((epoch + 1) * self.config.updates_per_epoch))
        return metrics

    def collect(self, epoch: int) -> tuple[Rollout, dict[str, float]]:
        """Sample this process's share of the epoch's images, and compare each with its group."""
        prompts = epoch_prompts(self.loop, epoch, self.config.sample_group_size)
        steps = self.schedule.random_steps(self.config.sample_eta)
        draw = recorder(self.loop, steps) if self.config.sample_solver == "euler" else self._solve
        trajectory, rewards = sample(self.loop, self.reward, epoch, prompts, draw)
        most, spread = self.config.train_adv_clip_max, self.config.advantage_std
        advantages = group_advantages(prompts, rewards.total, spread).clamp(-most, most)
        return Rollout.of(self.loop, epoch, trajectory, advantages), reward_metrics(rewards)

    def _solve(self, conditioning: Conditioning, generators: Sequence[torch.Generator]) -> Trajectory:
        """Images by DPM-Solver++, with a record of where they began and ended."""
        model = self.model
        noise = starting_noise(model.family.latent_shape, generators, conditioning)
        latents = solve(model.network, self.schedule, conditioning, noise, model.guidance)
        return Trajectory(
            torch.stack([noise, latents], dim=1), noise.new_full((len(noise), 1), torch.nan), conditioning
        )

    def improve(self, rollout: Rollout) -> dict[str, float]:
        """Move the velocity at the noise levels of all sampling steps: optimiser steps, each on some images."""
        updates = []
        for passes in passes_of_updates(self.loop, rollout, range(self.config.sample_num_steps)):
            losses = (self.loss(rollout, rows, steps) for rows, steps in passes)
            updates.append(self.loop.update(losses, len(passes)))
        return self.loop.means(updates)

    def loss(self, rollout: Rollout, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """DiffusionNFT's loss of some images at one noise level each, and figures to log.

        Args:
            rollout: What was sampled.
            rows: (B,) which images, on the CPU: to read them there does not wait for a GPU.
            steps: (B,) at the noise level of which step each.
        """
        config = self.config
        keys = zip(rollout.indices[rows].tolist(), steps.tolist(), strict=True)
        rows, steps = (sent(places, self.loop.accelerator.device) for places in (rows, steps))
        images, conditioning = rollout.trajectory.latents[rows, -1], rollout.trajectory.conditioning[rows]
        noise = noise_like(images, [generator(config.seed, "nft", rollout.epoch, *key) for key in keys])
        latents = self.model.schedule.noised(images, noise, steps)

        def velocity() -> Tensor:
            constant, guided = not config.train_unconditional, config.train_cfg
            return self.model.predict(latents, steps, conditioning, guided=guided, detach_absence=constant)

        # The old policy first: gradients need the parameters as they were in the forward pass.
        with torch.no_grad(), self.old.swapped_in():
            old = velocity()
        new, good = velocity(), optimality(rollout.advantages[rows], config.train_adv_clip_max)
        if config.nft_weighting == "plain":
            loss = nft_loss(new, old, noise - images, good, config.nft_beta)
        else:
            times, most = self.schedule.sigmas[steps], config.train_adv_clip_max
            loss = adaptive_nft_loss(new, old, noise - images, good, config.nft_beta, times, most)
        if not config.train_kl_beta:
            return loss, {}
        with torch.no_grad(), self.model.weights.reference():
            reference = velocity()
        distance = ((new - reference) ** 2).mean()
        return loss + config.train_kl_beta * distance, {"reference_distance": distance.detach()}
