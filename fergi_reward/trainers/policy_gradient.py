"""What trainers share that draw pictures with noise on the way and make the steps to good ones more probable.

Black et al., Training Diffusion Models with Reinforcement Learning, arXiv 2305.13301: denoising is a chain of
Gaussian decisions; those that led to images better than expected are made more probable. Whether they are steps of
diffusion or of flow matching is the schedule's business.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, RewardQueue, reward_metrics
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.ddim import gaussian_kl, gaussian_log_prob
from fergi_reward.diffusion.pipelines import Conditioning, Pipeline, decode, latent_shape
from fergi_reward.diffusion.trajectory import Trajectory, predict, sample_trajectory
from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.dry_run import conditioning_bytes, latents_bytes, prediction_memory
from fergi_reward.trainers.losses import clipped_loss
from fergi_reward.trainers.online import OnlineTrainer
from fergi_reward.trainers.trainer import mean_of


@dataclass(frozen=True)
class PolicyGradientConfig(TrainerConfig):
    """Options of all policy gradients. Batch sizes are those of one process."""

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
        0.0, "Weight of the KL divergence from the model before training; above 0 it costs a third more work."
    )
    async_reward_computation: bool = option(
        False, "Score a batch in a thread of its own while the next one is sampled. TF32 is then off."
    )

    @property
    def uses_tf32(self) -> bool:
        """Not beside a thread whose scorers turn it off while they score, for the whole process: bits would vary."""
        return self.allow_tf32 and not self.async_reward_computation

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

    def training_memory(self, pipeline: Pipeline) -> int:
        """Peak bytes of one prediction of a training batch and back."""
        return prediction_memory(self, pipeline, self.train_batch_size, guided=self.train_cfg)

    def kept_memory(self, pipeline: Pipeline) -> int:
        """Bytes of an epoch's trajectories with their prompts."""
        trajectory = (self.sample_num_steps + 1) * latents_bytes(pipeline)
        return self.samples_per_epoch * (trajectory + conditioning_bytes(pipeline))

    def problems(self) -> list[str]:
        """Ranges, and batches that do not divide each other."""
        counts = ["sample_batch_size", "sample_num_batches_per_epoch", "train_num_inner_epochs"]
        positive = ["train_timestep_fraction", "train_adv_clip_max", "train_clip_range"]
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
        epoch: Counted from 0.
    """

    trajectory: Trajectory
    advantages: Tensor
    indices: Tensor
    epoch: int


PolicyConfig = TypeVar("PolicyConfig", bound=PolicyGradientConfig)


class PolicyGradientTrainer(OnlineTrainer[PolicyConfig]):
    """Sample, reward, reinforce; again. Arguments and what becomes of the pipeline: see `OnlineTrainer`.

    Raises:
        FergiRewardError: No step can be trained.
    """

    def __init__(
        self,
        config: PolicyConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        super().__init__(config, reward, pipeline, prompts, judges)
        if not self.trained_steps(0):
            raise FergiRewardError(
                f"with sample_eta {config.sample_eta} none of sample_num_steps {config.sample_num_steps} draws noise, "
                "so none has a probability to train: take more steps, or less noise"
            )

    @abstractmethod
    def advantages(self, prompts: Sequence[str], rewards: Tensor) -> Tensor:
        """How much better than expected each image is, (N,), from the rewards (N,) of all processes."""

    def random_steps(self, epoch: int) -> list[int]:
        """Which steps draw noise in an epoch: all that can."""
        return self.schedule.random_steps(self.config.sample_eta)

    def trained_steps(self, epoch: int) -> list[int]:
        """Which steps are trained in an epoch: those that have a probability."""
        return self.random_steps(epoch)

    def epoch(self, epoch: int) -> dict[str, float]:
        """Sample the epoch's images, then train on them."""
        experience, metrics = self._sample(epoch)
        return metrics | self._train(experience)

    def _sample(self, epoch: int) -> tuple[Experience, dict[str, float]]:
        """Sample this process's share of the epoch's images and judge them among those of all processes."""
        prompts, trajectories = self.epoch_prompts(epoch), list[Trajectory]()
        random_steps = self.random_steps(epoch)
        self.keep_encoded(prompts)
        queue = RewardQueue(self.reward, self.config.async_reward_computation)
        with queue, self.progress("sampling", len(self.share), "image") as progress:
            for batch, generators in self.batches(epoch, prompts, self.config.sample_batch_size):
                trajectories.append(self._denoise(batch, generators, random_steps))
                with torch.no_grad():
                    pixels = decode(self.pipeline, trajectories[-1].latents[:, -1])
                queue.put(pixels, batch)
                progress.update(len(batch))
            gathered = self.gathered(queue.rewards())
        most = self.config.train_adv_clip_max
        advantages = self.advantages(prompts, gathered.total).clamp(-most, most)[self.share.start : self.share.stop]
        mine, indices = sent(advantages, self.accelerator.device), torch.tensor(self.share)
        return Experience(Trajectory.cat(trajectories), mine, indices, epoch), reward_metrics(gathered)

    def _denoise(self, prompts: list[str], generators: list[torch.Generator], random_steps: list[int]) -> Trajectory:
        return sample_trajectory(
            self.network,
            self.schedule,
            self.encoded(prompts),
            latent_shape(self.pipeline),
            generators,
            random_steps,
            eta=self.config.sample_eta,
            guidance=self.guidance,
            guided_log_probs=self.config.train_cfg,
        )

    def _train(self, experience: Experience) -> dict[str, float]:
        config, epoch, updates = self.config, experience.epoch, list[dict[str, Tensor]]()
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
        return self.means(updates)

    def _step_order(self, epoch: int, inner_epoch: int, indices: Tensor) -> Tensor:
        """Which steps each image is trained on, in which order (N, S): its own, so that a batch mixes noise levels."""
        trained = torch.tensor(self.trained_steps(epoch))
        count = max(1, int(len(trained) * self.config.train_timestep_fraction))
        generators = [generator(self.config.seed, "steps", epoch, inner_epoch, index) for index in indices.tolist()]
        orders = [torch.randperm(len(trained), generator=drawn)[:count] for drawn in generators]
        return trained[torch.stack(orders)]

    def _update(self, experience: Experience, rows: Tensor, steps: Tensor) -> dict[str, Tensor]:
        """One optimiser step from all steps of the images in `rows`; returns its figures."""
        batches = rows.split(self.config.train_batch_size)
        passes = [(batch, column) for batch in batches for column in range(steps.shape[1])]
        figures = []
        for batch, column in passes:
            loss, of_pass = self.loss(experience, batch, steps[batch, column])
            self.accelerator.backward(loss / len(passes))
            figures.append({"loss": loss.detach(), **of_pass})
        return mean_of(figures) | {"grad_norm": self.optimisation.step()}

    def loss(self, experience: Experience, rows: Tensor, steps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """PPO's loss, and the KL's, of one step of each image in `rows`, `steps[b]` of the b-th; and figures to log.

        Both are on the CPU: to read them there does not wait for a GPU.
        """
        trajectory, config = experience.trajectory, self.config
        rows, steps = (sent(places, self.accelerator.device) for places in (rows, steps))
        latents, following = trajectory.latents[rows, steps], trajectory.latents[rows, steps + 1]
        conditioning = trajectory.conditioning[rows]
        mean, std = self._step(latents, steps, conditioning)
        old_log_probs = trajectory.log_probs[rows, steps]
        log_probs = gaussian_log_prob(following, mean, std)
        clipped = clipped_loss(log_probs, old_log_probs, experience.advantages[rows], config.train_clip_range)
        figures = {"approx_kl": clipped.approx_kl, "clip_fraction": clipped.clip_fraction}
        if not config.train_kl_beta:
            return clipped.loss, figures
        with torch.no_grad(), self.weights.reference():
            reference_mean, _ = self._step(latents, steps, conditioning)
        divergence = gaussian_kl(mean, reference_mean, std).mean()
        return clipped.loss + config.train_kl_beta * divergence, {**figures, "reference_kl": divergence.detach()}

    def _step(self, latents: Tensor, steps: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and standard deviation (B,) of the steps that are trained."""
        prediction = self.trained_prediction(latents, steps, conditioning)
        return self.schedule.step(prediction, latents, steps, self.config.sample_eta)

    def trained_prediction(self, latents: Tensor, steps: Tensor, conditioning: Conditioning) -> Tensor:
        """What the network says of latents (B, C, H, W), guided if that is what is trained."""
        guidance = self.guidance if self.config.train_cfg else None
        return predict(self.network, latents, self.schedule.timesteps[steps], conditioning, guidance)[0]
