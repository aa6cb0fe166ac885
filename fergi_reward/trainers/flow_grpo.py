"""Flow-GRPO and DiffusionNFT: a flow-matching model fine-tuned online on any reward, differentiable or not.

Each prompt is drawn several times, and a picture counts for how much better it is than its group. From there two ways:

- `train_objective: grpo`. Flow-GRPO (Liu et al., arXiv 2505.05470) samples with noise on the way, so that each step has
  a probability, and raises that of the steps to good pictures. Training samples in few steps: what is learned holds for
  the many of `picture_num_steps`, with which pictures and judges are served, without noise. With `sde_window_size` it
  is MixGRPO (Li et al., arXiv 2507.21802): only the steps in a sliding window draw noise and are trained.
- `train_objective: nft`. DiffusionNFT (Zheng et al., arXiv 2509.16117) forgets how a picture came about, noises it
  anew, and moves the velocity there towards good pictures and away from bad ones. Sampling needs no noise.
"""

from collections.abc import Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.flow import FlowSchedule, sliding_window
from fergi_reward.diffusion.pipelines import (
    Pipeline,
    decode,
    latent_shape,
    schedule_of,
)
from fergi_reward.diffusion.samples import draw_prompts
from fergi_reward.diffusion.trajectory import denoise, noise_like, starting_noise
from fergi_reward.trainers.advantages import group_advantages, optimality
from fergi_reward.trainers.config import option
from fergi_reward.trainers.losses import nft_loss
from fergi_reward.trainers.policy_gradient import Experience, PolicyGradientConfig, PolicyGradientTrainer
from fergi_reward.trainers.weights import copied, swapped_in


@dataclass(frozen=True)
class FlowGRPOConfig(PolicyGradientConfig):
    """Options of Flow-GRPO, MixGRPO and DiffusionNFT."""

    train_objective: Literal["grpo", "nft"] = option(
        "grpo", "grpo: the probability of the steps taken; nft: the velocity between noise and the finished pictures."
    )
    sample_num_steps: int = option(10, "Denoising steps of an image that is trained on.")
    sample_eta: float = option(0.7, "Noise of a step, Flow-GRPO's a. 0 for none, which only nft can train on.")
    sample_group_size: int = option(
        8, "Images of a prompt in an epoch, at least 2, which are compared with each other."
    )
    picture_num_steps: int = option(40, "Denoising steps, without noise, of the pictures in grids and for judges.")
    sde_window_size: int = option(0, "MixGRPO: steps at a time that draw noise and are trained; 0: all that can.")
    sde_window_stride: int = option(1, "MixGRPO: how many steps the window moves towards the picture.")
    sde_window_epochs: int = option(1, "MixGRPO: epochs after which it moves.")
    nft_beta: float = option(1.0, "nft: how far the implicit positive and negative policies are from the old one.")
    nft_old_decay: float = option(
        0.0, "nft: how much of itself the old policy, which samples, keeps after an epoch; 0: it is always the latest."
    )

    def problems(self) -> list[str]:
        """Ranges, groups that do not fill an epoch, and objectives that lack what they need."""
        counts = ["picture_num_steps", "sde_window_stride", "sde_window_epochs"]
        found = [*super().problems(), *self.below(1, counts), *self.below(0, ["sde_window_size"])]
        found += [*self.not_positive(["nft_beta"]), *self.below(2, ["sample_group_size"])]
        if not 0 <= self.nft_old_decay < 1:
            found.append(f"nft_old_decay is {self.nft_old_decay}, must be at least 0 and below 1")
        if self.sample_group_size >= 1 and self.samples_per_epoch % self.sample_group_size:
            found.append(
                f"an epoch has {self.samples_per_epoch} samples (sample_batch_size x sample_num_batches_per_epoch), "
                f"which sample_group_size {self.sample_group_size} does not divide"
            )
        if self.train_objective == "grpo" and self.sample_eta == 0:
            found.append("sample_eta is 0, which leaves grpo no probability to train: give Flow-GRPO's 0.7")
        if self.train_objective == "nft" and self.sde_window_size:
            found.append(f"sde_window_size is {self.sde_window_size}, which is for grpo alone: give 0")
        return found


class FlowGRPOTrainer(PolicyGradientTrainer[FlowGRPOConfig]):
    """Draw groups, reward, and reinforce what was better than its group. Arguments: see `OnlineTrainer`.

    Raises:
        FergiRewardError: The pipeline is not of flow matching, or has fewer random steps than the window.
    """

    config_class = FlowGRPOConfig

    def __init__(
        self,
        config: FlowGRPOConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        super().__init__(config, reward, pipeline, prompts, judges)
        if not isinstance(self.schedule, FlowSchedule):
            raise FergiRewardError(f"a {type(pipeline).__name__} is not of flow matching: train it with DDPO")
        self.picture_schedule = schedule_of(pipeline, config.picture_num_steps, self.accelerator.device)
        self.old = copied(self.parameters) if config.train_objective == "nft" else []

    def epoch_prompts(self, epoch: int) -> list[str]:
        """Groups of one prompt each, behind each other."""
        config = self.config
        groups = config.samples_per_epoch * self.accelerator.num_processes // config.sample_group_size
        drawn = draw_prompts(self.prompts, groups, generator(config.seed, "prompts", epoch))
        return [prompt for prompt in drawn for _ in range(config.sample_group_size)]

    def advantages(self, prompts: Sequence[str], rewards: Tensor) -> Tensor:
        """By the images of the same prompt."""
        return group_advantages(prompts, rewards)

    def random_steps(self, epoch: int) -> list[int]:
        """All that can draw noise, or those in the window."""
        config, possible = self.config, super().random_steps(epoch)
        if not config.sde_window_size:
            return possible
        turn = epoch // config.sde_window_epochs
        return sliding_window(possible, config.sde_window_size, config.sde_window_stride, turn)

    def trained_steps(self, epoch: int) -> list[int]:
        """Those with a probability; nft trains at the noise levels of all."""
        if self.config.train_objective == "nft":
            return list(range(self.config.sample_num_steps))
        return super().trained_steps(epoch)

    def epoch(self, epoch: int) -> dict[str, float]:
        """Sample with the old policy, train, and let the old policy follow."""
        with self._old_policy():
            experience, metrics = self._sample(epoch)
        metrics |= self._train(experience)
        if self.old:
            torch._foreach_lerp_(self.old, copied(self.parameters), 1 - self.config.nft_old_decay)
        return metrics

    def loss(self, experience: Experience, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Flow-GRPO's, which is that of every policy gradient, or DiffusionNFT's."""
        if self.config.train_objective == "grpo":
            return super().loss(experience, rows, steps)
        return self._nft_loss(experience, rows, steps)

    def _nft_loss(self, experience: Experience, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        keys = zip(experience.indices[rows].tolist(), steps.tolist(), strict=True)
        rows, steps = (sent(places, self.accelerator.device) for places in (rows, steps))
        images, conditioning = experience.trajectory.latents[rows, -1], experience.trajectory.conditioning[rows]
        noise = noise_like(images, [generator(config.seed, "nft", experience.epoch, *key) for key in keys])
        latents = self.schedule.noised(images, noise, steps)
        # The old policy first: gradients need the parameters as they were in the forward pass.
        with torch.no_grad(), self._old_policy():
            old_velocity = self.trained_prediction(latents, steps, conditioning)
        velocity = self.trained_prediction(latents, steps, conditioning)
        good = optimality(experience.advantages[rows], config.train_adv_clip_max)
        loss = nft_loss(velocity, old_velocity, noise - images, good, config.nft_beta)
        if not config.train_kl_beta:
            return loss, {}
        with torch.no_grad(), self.weights.reference():
            reference = self.trained_prediction(latents, steps, conditioning)
        distance = ((velocity - reference) ** 2).mean()
        return loss + config.train_kl_beta * distance, {"reference_distance": distance.detach()}

    def draw(self, prompts: Sequence[str], generators: Sequence[torch.Generator]) -> Tensor:
        """As the finished model is used: in more steps than in training, without noise."""
        with torch.no_grad():
            conditioning = self.encoded(prompts)
            latents = starting_noise(latent_shape(self.pipeline), generators, conditioning)
            schedule, steps = self.picture_schedule, range(self.config.picture_num_steps)
            arguments = (self.network, schedule, conditioning, latents, steps, generators)
            return decode(self.pipeline, denoise(*arguments, eta=0.0, guidance=self.guidance))

    def state(self) -> dict[str, Any]:
        """The old policy too."""
        return super().state() | {"old": self.old}

    def load_state(self, state: dict[str, Any], changed: Set[str]) -> None:
        """The old policy too."""
        super().load_state(state, changed)
        for old, value in zip(self.old, state["old"], strict=True):
            old.copy_(value)

    def _old_policy(self) -> AbstractContextManager[None]:
        """The policy that samples, inside the block; only nft keeps one beside the latest."""
        return swapped_in(self.parameters, self.old) if self.old else nullcontext()
