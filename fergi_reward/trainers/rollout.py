"""What DDPO, Flow-GRPO and DiffusionNFT share: sampling an epoch's images, and going through them to train.

They sample images with a record of each denoising step, have them rewarded, and then train on single steps of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, RewardQueue, Rewards
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.flow import FlowSchedule
from fergi_reward.diffusion.schedule import Schedule
from fergi_reward.diffusion.trajectory import Trajectory, sample_trajectory
from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.dry_run import conditioning_bytes, latents_bytes, prediction_memory
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.processes import gathered
from fergi_reward.trainers.shares import batches, share
from fergi_reward.trainers.totals import batches_each, launched_processes, total_problems

# From what to draw, and a generator for each image, to how it was drawn.
Draw = Callable[[Conditioning, Sequence[torch.Generator]], Trajectory]


@dataclass(frozen=True)
class RolloutConfig(TrainerConfig):
    """Options of sampling and of going through the samples. Batch sizes are those of one process."""

    sample_batch_size: int = option(1, "Images sampled and rewarded at a time.", at_least=1)
    sample_num_batches_per_epoch: int = option(2, "Batches sampled in an epoch.", at_least=1)
    sample_total_images: int | None = option(
        None,
        "Images of an epoch over all processes; sample_num_batches_per_epoch follows from it.",
        shown="sample_batch_size x sample_num_batches_per_epoch on each process",
        at_least=1,
    )
    train_gradient_accumulation_steps: int = option(
        1, "Training batches in an optimiser step; each already accumulates all of its timesteps.", at_least=1
    )
    train_num_inner_epochs: int = option(1, "Passes over the samples of an epoch.", at_least=1)
    train_timestep_fraction: float = option(
        1.0, "Share of an image's steps, drawn again in each pass, to train on.", above=0, at_most=1
    )
    train_cfg: bool = option(
        True, "Train the guided prediction; off: the conditional one, at half the work, while sampling stays guided."
    )
    train_unconditional: bool = option(
        True, "Let gradients go through the unconditional prediction of guidance too; off: it counts as a constant."
    )
    train_adv_clip_max: float = option(5.0, "Advantages are clipped to plus and minus this.", above=0)
    train_kl_beta: float = option(
        0.0, "Weight of the distance from the model before training; above 0 it costs a third more work.", at_least=0
    )
    async_reward_computation: bool = option(
        False, "Score a batch in a thread of its own while the next one is sampled. TF32 is then off."
    )

    @property
    def uses_tf32(self) -> bool:
        """Not alongside a thread whose scorers turn it off while they score, for the whole process: bits would vary."""
        return self.allow_tf32 and not self.async_reward_computation

    @property
    def samples_per_epoch(self) -> int:
        """Images that one process samples in an epoch."""
        total = self.sample_total_images
        batches = self.sample_num_batches_per_epoch if total is None else batches_each(total, self.sample_batch_size)
        return self.sample_batch_size * batches

    @property
    def updates_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return self.train_num_inner_epochs * self.samples_per_epoch // self.images_per_update

    @property
    def images_per_update(self) -> int:
        """Images whose steps are in one optimiser step."""
        return self.train_batch_size * self.accumulation_steps

    @property
    def picture_batch_size(self) -> int:
        """Images drawn at a time where nothing is trained."""
        return self.sample_batch_size

    def training_memory(self, pipeline: Pipeline) -> int:
        """Peak bytes of one prediction of a training batch and back."""
        return prediction_memory(self, pipeline, self.train_batch_size, guided=self.train_cfg)

    def kept_memory(self, pipeline: Pipeline) -> int:
        """Bytes of an epoch's trajectories with their prompts."""
        trajectory = (self.sample_num_steps + 1) * latents_bytes(self, pipeline)
        return self.samples_per_epoch * (trajectory + conditioning_bytes(self, pipeline))

    def problems(self) -> list[str]:
        """Batches that do not divide each other."""
        names = ("sample_total_images", "sample_batch_size", "sample_num_batches_per_epoch")
        total, size, batches = (getattr(self, name) for name in names)
        found = [*super().problems(), *total_problems(total, size, batches, 2, names)]
        if not (self.train_unconditional or self.train_cfg):
            found.append(
                "train_unconditional is off, but without train_cfg no guided prediction is trained: leave it out"
            )
        if self.images_per_update >= 1 and self.samples_per_epoch % self.images_per_update:
            found.append(
                f"an epoch has {self.samples_per_epoch} samples (sample_batch_size x sample_num_batches_per_epoch), "
                f"which {self.images_per_update} (train_batch_size x train_gradient_accumulation_steps) does not divide"
            )
        return found


@dataclass(frozen=True)
class GroupConfig(RolloutConfig):
    """The same where each prompt is drawn several times, and images are drawn in more steps than in training."""

    retired: ClassVar[Mapping[str, str]] = {
        "train_objective": "leave it out; training/flow_grpo.py is Flow-GRPO, training/nft.py DiffusionNFT"
    }

    sample_num_steps: int = option(10, "Denoising steps of an image that is trained on.", at_least=1)
    sample_eta: float = option(0.7, "Noise of a step, Flow-GRPO's a; 0 for none.", at_least=0, at_most=1)
    sample_group_size: int = option(
        8, "Images of a prompt in an epoch, at least 2, which are compared with each other.", at_least=2
    )
    advantage_std: Literal["group", "all"] = option(
        "group",
        "Whose standard deviation divides an image's distance from the mean reward of its group: the group's, or "
        "that of all images of the epoch, Flow-GRPO's global_std.",
    )
    picture_num_steps: int = option(
        40, "Denoising steps, without noise, of the pictures in grids and for judges.", at_least=1
    )

    @property
    def picture_eta(self) -> float:
        """None: grids and judges see images as the finished model draws them."""
        return 0.0

    def problems(self) -> list[str]:
        """Groups that do not fill an epoch."""
        found = super().problems()
        # A group may be spread over processes.
        images = self.sample_total_images or self.samples_per_epoch * launched_processes()
        if self.sample_group_size >= 1 and images % self.sample_group_size:
            found.append(
                f"an epoch has {images} samples (sample_batch_size x sample_num_batches_per_epoch), "
                f"which sample_group_size {self.sample_group_size} does not divide"
            )
        return found


@dataclass(frozen=True)
class Rollout:
    """What this process trains on in an epoch: N of its images, and how good each was.

    Attributes:
        trajectory: How they were denoised.
        advantages: (N,), on the device.
        indices: (N,) number of each image among those of all processes.
        epoch: Counted from 0.
    """

    trajectory: Trajectory
    advantages: Tensor
    indices: Tensor
    epoch: int

    @classmethod
    def of(cls, loop: Loop[RolloutConfig], epoch: int, trajectory: Trajectory, advantages: Tensor) -> "Rollout":
        """This process's part.

        Args:
            loop: The run's loop.
            epoch: Counted from 0.
            trajectory: Denoising of this process's images.
            advantages: Those of the images of all processes, on the CPU.
        """
        mine = share(loop)
        own = sent(advantages[mine.start : mine.stop], loop.accelerator.device)
        return cls(trajectory, own, torch.tensor(mine), epoch)


def recorder(loop: Loop[RolloutConfig], random_steps: Sequence[int]) -> Draw:
    """What draws images with a record of every step, of which some draw noise."""
    config, model = loop.config, loop.model
    return lambda conditioning, generators: sample_trajectory(
        model.network,
        model.schedule,
        conditioning,
        model.family.latent_shape,
        generators,
        random_steps,
        eta=config.sample_eta,
        guidance=model.guidance,
        guided_log_probs=config.train_cfg,
    )


def sample(
    loop: Loop[RolloutConfig], reward: Reward, epoch: int, prompts: Sequence[str], draw: Draw
) -> tuple[Trajectory, Rewards]:
    """Sample this process's share of an epoch's images, and have them rewarded.

    Args:
        loop: The run's loop.
        reward: What rewards.
        epoch: Counted from 0.
        prompts: One for each image of all processes.
        draw: What draws them, such as a `recorder`.

    Returns:
        How this process's images were denoised, and the rewards of the images of all processes, on the CPU.
    """
    config, model, trajectories = loop.config, loop.model, list[Trajectory]()
    queue = RewardQueue(reward, config.async_reward_computation)
    with queue, loop.progress("sampling", config.samples_per_epoch, "image") as progress:
        for batch, generators in batches(loop, epoch, prompts, config.sample_batch_size):
            trajectory = draw(model.encoded(batch), generators)
            with torch.no_grad():
                pixels = model.family.decode(trajectory.latents[:, -1])
            queue.put(pixels, batch)
            trajectories.append(trajectory)
            progress.update(len(batch))
        rewards = gathered(loop.accelerator, queue.rewards())
    return Trajectory.cat(trajectories), rewards


def passes_of_updates(
    loop: Loop[RolloutConfig], rollout: Rollout, trained_steps: Sequence[int]
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For each optimiser step of an epoch the passes that it takes: which images, and of each of them which step.

    Both are (B,) and on the CPU: to read them there does not wait for a GPU. An image is trained on all of its steps,
    or on a share of them.
    """
    config, process = loop.config, loop.accelerator.process_index
    with loop.progress("training", config.updates_per_epoch, "update") as progress:
        for inner_epoch in range(config.train_num_inner_epochs):
            key = (config.seed, "rows", rollout.epoch, inner_epoch, process)
            order = torch.randperm(len(rollout.indices), generator=generator(*key))
            steps = step_order(config, trained_steps, rollout.epoch, inner_epoch, rollout.indices)
            for rows in order.split(config.images_per_update):
                columns = range(steps.shape[1])
                yield [(batch, steps[batch, at]) for batch in rows.split(config.train_batch_size) for at in columns]
                progress.update()


def say_what_is_trained(loop: Loop[RolloutConfig], possible: Sequence[int]) -> None:
    """Print how many images an epoch and an update have over all processes, and which steps can be trained.

    Args:
        loop: The run's loop.
        possible: Steps that have something to train.
    """
    config, processes = loop.config, loop.accelerator.num_processes
    images, each = config.samples_per_epoch * processes, config.images_per_update * processes
    count, steps = len(possible), config.sample_num_steps
    loop.run.say(
        f"{images} images per epoch, {each} per update, over {processes} "
        f"process{'es' * (processes > 1)}; {count} of {steps} denoising steps can be trained"
    )
    if 2 * count < steps:
        loop.run.say(
            f"warning: fewer than half of the steps draw noise; more steps or a smaller sample_eta than "
            f"{config.sample_eta} would let more of them, as would sde_type cps where a trainer has it"
        )


def say_first_ratio(loop: Loop[RolloutConfig], rollout: Rollout, first: Mapping[str, Tensor]) -> None:
    """After the first update of a run print how far importance ratios were from 1, at which they should have been.

    Args:
        loop: The run's loop.
        rollout: What was trained on.
        first: Figures of its first update; `approx_kl` is half the mean square of the ratios' logarithms.
    """
    if rollout.epoch == 0:
        loop.run.say(f"at the first update, importance ratios are 1 to {(2 * float(first['approx_kl'])) ** 0.5:.1e}")


def step_order(
    config: RolloutConfig, trained_steps: Sequence[int], epoch: int, inner_epoch: int, indices: Tensor
) -> Tensor:
    """Which steps each image is trained on, in which order (N, S): its own, so that a batch mixes noise levels."""
    trained = torch.tensor(trained_steps)
    count = max(1, int(len(trained) * config.train_timestep_fraction))
    generators = [generator(config.seed, "steps", epoch, inner_epoch, index) for index in indices.tolist()]
    orders = [torch.randperm(len(trained), generator=drawn)[:count] for drawn in generators]
    return trained[torch.stack(orders)]


def check_random(steps: Sequence[int], config: RolloutConfig) -> None:
    """Refuse to train the probability of steps where none has one.

    Raises:
        FergiRewardError: No step draws noise.
    """
    if not steps:
        raise FergiRewardError(
            f"with sample_eta {config.sample_eta} none of sample_num_steps {config.sample_num_steps} draws noise, "
            "so none has a probability to train: take more steps, or less noise"
        )


def check_flow(pipeline: Pipeline, schedule: Schedule) -> FlowSchedule:
    """The schedule of a pipeline that must be of flow matching.

    Raises:
        FergiRewardError: It is not.
    """
    if not isinstance(schedule, FlowSchedule):
        raise FergiRewardError(f"a {type(pipeline).__name__} is not of flow matching: train it with DDPO")
    return schedule
