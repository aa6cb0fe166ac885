"""What the options of DDPO, Flow-GRPO and DiffusionNFT have in common; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.totals import batches_each, counted_processes, total_problems

if TYPE_CHECKING:
    from fergi_reward.diffusion.family import Family, Pipeline
    from fergi_reward.diffusion.flow import FlowSchedule
    from fergi_reward.diffusion.schedule import Schedule


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
        batches = (
            self.sample_num_batches_per_epoch
            if total is None
            else batches_each(total, self.sample_batch_size, self.processes)
        )
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
    def scales_of_losses(self) -> list[str]:
        """The weight of the distance from the model before training, if it has one."""
        return ["train_kl_beta"] * bool(self.train_kl_beta)

    @property
    def picture_batch_size(self) -> int:
        """Images drawn at a time where nothing is trained."""
        return self.sample_batch_size

    def schedule(self, family: "Family") -> "Schedule":
        """The steps of sampling, on the CPU.

        Raises:
            FergiRewardError: The trainer is not for a model of this kind.
        """
        import torch

        return family.schedule(self.sample_num_steps, torch.device("cpu"))

    def trainable_steps(self, family: "Family") -> int:
        """How many denoising steps have something to train; here those that draw noise."""
        from fergi_reward.trainers.rollout import check_random  # imports torch

        steps = self.schedule(family).random_steps(self.sample_eta)
        check_random(steps, self)
        return len(steps)

    def steps_of_an_image(self, possible: int) -> int:
        """On how many of the steps that can be trained each image is trained in a pass over the samples."""
        return max(1, int(possible * self.train_timestep_fraction))

    def what_is_trained(self, family: "Family", processes: int) -> str:
        """Images of an epoch and of an update, and the steps of them that are trained; a warning below half."""
        images, each = self.samples_per_epoch * processes, self.images_per_update * processes
        possible, steps = self.trainable_steps(family), self.sample_num_steps
        trained = self.steps_of_an_image(possible)
        line = (
            f"{images} images per epoch{self.grouped(images)}, {each} per update, over {counted_processes(processes)}; "
            f"{possible} of {steps} denoising steps can be trained"
        )
        if trained < possible:
            line += f", each image on {trained} of them"
        if 2 * possible >= steps:
            return line
        return (
            f"{line}\nwarning: fewer than half of the steps draw noise; more steps or a smaller sample_eta than "
            f"{self.sample_eta} would let more of them, as would sde_type cps where a trainer has it"
        )

    def grouped(self, images: int) -> str:
        """In how many groups so many images are drawn, in brackets; here in none."""
        return ""

    def training_memory(self, pipeline: "Pipeline") -> int:
        """Peak bytes of one prediction of a training batch and back."""
        from fergi_reward.trainers.dry_run import prediction_memory  # imports torch

        return prediction_memory(self, pipeline, self.train_batch_size, guided=self.train_cfg)

    def kept_memory(self, pipeline: "Pipeline") -> int:
        """Bytes of an epoch's trajectories with their prompts."""
        from fergi_reward.trainers.dry_run import conditioning_bytes, latents_bytes  # imports torch

        trajectory = (self.sample_num_steps + 1) * latents_bytes(self, pipeline)
        return self.samples_per_epoch * (trajectory + conditioning_bytes(self, pipeline))

    def problems(self) -> list[str]:
        """Batches that do not divide each other."""
        found = [*super().problems(), *self._images_problems()]
        if not (self.train_unconditional or self.train_cfg):
            found.append(
                "train_unconditional is off, but without train_cfg no guided prediction is trained: leave it out"
            )
        known = self.images_per_update >= 1 and not (self._images_problems() or self._total_problems())
        if known and self.samples_per_epoch % self.images_per_update:
            found.append(
                f"an epoch has {self.samples_per_epoch} samples ({self._stated_by}), "
                f"which {self.images_per_update} (train_batch_size x train_gradient_accumulation_steps) does not divide"
            )
        return found

    @property
    def _stated_by(self) -> str:
        """The options that say how many images an epoch has."""
        stated = self.sample_total_images is not None
        return "sample_total_images" if stated else "sample_batch_size x sample_num_batches_per_epoch"

    def _images_problems(self) -> list[str]:
        """A total for which there is no number of batches: no other clause can count on it."""
        names = ("sample_total_images", "sample_batch_size", "sample_num_batches_per_epoch")
        total, size, batches = (getattr(self, name) for name in names)
        return total_problems(total, size, batches, 2, names, self.processes)


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

    def grouped(self, images: int) -> str:
        """As the options say; where two groups have drawn one prompt, these count as one."""
        return f" ({images // self.sample_group_size} groups of {self.sample_group_size})"

    def schedule(self, family: "Family") -> "FlowSchedule":
        """The steps of sampling, which must be of flow matching."""
        from fergi_reward.trainers.rollout import check_flow  # imports torch

        return check_flow(family.pipeline, super().schedule(family))

    def problems(self) -> list[str]:
        """Groups that do not fill an epoch."""
        found = super().problems()
        # A group may be spread over processes.
        images = self.sample_total_images or self.samples_per_epoch * self.processes
        known = self.sample_group_size >= 1 and not self._images_problems()
        if known and images % self.sample_group_size:
            found.append(
                f"an epoch has {images} samples ({self._stated_by}), which "
                f"sample_group_size {self.sample_group_size} does not divide"
            )
        return found
