"""The options of `reward_backprop.py`; imports no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fergi_reward.trainers.config import TrainerConfig, option

if TYPE_CHECKING:
    from fergi_reward.diffusion.family import Family, Pipeline


@dataclass(frozen=True)
class RewardBackpropConfig(TrainerConfig):
    """Options of reward backpropagation. An epoch is one optimiser step."""

    needs_gradient = True

    backprop_steps_min: int = option(1, "Fewest last denoising steps that the gradient goes through.", at_least=1)
    backprop_steps_max: int = option(1, "Most of them; each optimiser step draws a number between the two.", at_least=1)
    backprop_steps_mean: float | None = option(
        None, "Draw the number from a normal distribution of this mean, cut off at the two.", shown="all alike"
    )
    backprop_steps_std: float = option(5.0, "The standard deviation of that distribution.", above=0)
    backprop_steps_each_batch: bool = option(
        False, "Draw the number for each batch on each process, as ReFL and AlignProp do, not for each optimiser step."
    )
    checkpoint_steps: bool = option(
        False,
        "Keep of each of these steps its latents alone, and compute it again in the backward pass: memory no longer "
        "grows by a network's activations for each step.",
    )
    one_step_prediction: bool = option(
        False, "ReFL: the first of these steps leaps to the clean picture, and the others are not taken."
    )
    last_step_noises: int = option(
        1, "DRaFT-LV: pictures for which the last step is taken from one denoising.", at_least=1
    )
    reward_margin: float | None = option(None, "ReFL: images whose reward has reached this pull no further.")
    train_loss_scale: float = option(
        1.0, "The loss is multiplied by this before gradients are clipped: 0.01 in AlignProp, 0.001 in ReFL.", above=0
    )

    @property
    def scales_of_losses(self) -> list[str]:
        """The factor of the loss, where it makes it larger."""
        return ["train_loss_scale"] * (self.train_loss_scale > 1)

    def what_is_trained(self, family: "Family", processes: int) -> str:
        """Images of an update, and the denoising steps that the gradient goes through."""
        fewest, most = self.backprop_steps_min, self.backprop_steps_max
        last = f"the last {most}" if fewest == most else f"the last {fewest} to {most}"
        if self.one_step_prediction:
            last = f"one of {last}"
        line = f"{super().what_is_trained(family, processes)}; the gradient goes through {last}"
        drawn = f", N({self.backprop_steps_mean:g}, {self.backprop_steps_std:g})" if self.backprop_steps_mean else ""
        noises = f", for {self.last_step_noises} noises each" if self.last_step_noises > 1 else ""
        return f"{line} of {self.sample_num_steps} denoising steps{drawn}{noises}"

    def training_memory(self, pipeline: "Pipeline") -> int:
        """Peak bytes of the longest pass."""
        from fergi_reward.trainers.reward_backprop import longest_pass_memory  # imports torch

        return longest_pass_memory(self, pipeline)

    def problems(self) -> list[str]:
        """Options that exclude each other."""
        found = super().problems()
        if self.checkpoint_steps and self.one_step_prediction:
            found.append("checkpoint_steps is for several steps, one_step_prediction takes one: leave one of them out")
        if self.shard and self.backprop_steps_each_batch:
            found.append(
                "shard is on with backprop_steps_each_batch, but all processes must go backward through as many steps: "
                "leave one of them out"
            )
        if not self.backprop_steps_min <= self.backprop_steps_max <= self.sample_num_steps:
            found.append(
                f"backprop_steps_min {self.backprop_steps_min}, backprop_steps_max {self.backprop_steps_max} and "
                f"sample_num_steps {self.sample_num_steps} must not decrease in this order"
            )
        mean = self.backprop_steps_mean
        if mean is None and self.backprop_steps_std != 5.0:
            found.append(f"backprop_steps_std is {self.backprop_steps_std} without backprop_steps_mean: it is not read")
        if mean is not None and not self.backprop_steps_min <= mean <= self.backprop_steps_max:
            found.append(
                f"backprop_steps_mean is {mean}, must be between backprop_steps_min {self.backprop_steps_min} and "
                f"backprop_steps_max {self.backprop_steps_max}"
            )
        if self.last_step_noises > 1 and (self.backprop_steps_max > 1 or self.one_step_prediction):
            found.append(
                f"last_step_noises is {self.last_step_noises}, which needs backprop_steps_max 1 and no "
                "one_step_prediction: several noises are for the last step alone"
            )
        return found
