"""The options of `flow_grpo.py`; imports no torch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fergi_reward.trainers.config import option
from fergi_reward.trainers.rollout_config import GroupConfig

if TYPE_CHECKING:
    from fergi_reward.diffusion.family import Family
    from fergi_reward.diffusion.flow import FlowSchedule


@dataclass(frozen=True)
class FlowGRPOConfig(GroupConfig):
    """Options of Flow-GRPO and MixGRPO."""

    sample_eta: float = option(
        0.7, "Noise of a step, Flow-GRPO's a; without any there is no probability to train.", above=0, at_most=1
    )
    train_clip_range: float = option(
        1e-4, "How far an importance ratio may leave 1 before its gradient stops.", above=0
    )
    train_kl_form: Literal["exact", "per_time"] = option(
        "exact",
        "What train_kl_beta weighs: the divergence between the steps' Gaussians, or that times the step's length, "
        "which is Flow-GRPO's, 7 to 25 times smaller in ten steps.",
    )
    sde_type: Literal["sde", "cps"] = option(
        "sde", "How a step draws noise: Flow-GRPO's law, or Flow-CPS's, under which all steps but the last can."
    )
    sde_window_size: int = option(
        0, "MixGRPO: steps at a time that draw noise and are trained; 0: all that can.", at_least=0
    )
    sde_window_stride: int = option(1, "MixGRPO: how many steps the window moves towards the picture.", at_least=1)
    sde_window_epochs: int = option(1, "MixGRPO: epochs after which it moves.", at_least=1)

    def schedule(self, family: "Family") -> "FlowSchedule":
        """The steps of sampling, under this law of noise."""
        return replace(super().schedule(family), law=self.sde_type)

    def trainable_steps(self, family: "Family") -> int:
        """Those that draw noise, of which the window must not have more."""
        from fergi_reward.diffusion.flow import sliding_window  # imports torch

        possible = super().trainable_steps(family)
        sliding_window(range(possible), self.sde_window_size, self.sde_window_stride, turn=0)
        return possible

    def steps_of_an_image(self, possible: int) -> int:
        """How many of the steps in the window, if there is one."""
        return super().steps_of_an_image(min(possible, self.sde_window_size or possible))

    def problems(self) -> list[str]:
        """A KL term that the law of the noise does not have, and options that nothing reads."""
        found = super().problems()
        if self.sde_type == "cps" and self.train_kl_form == "per_time":
            found.append("train_kl_form is per_time, but the noise of sde_type cps is not per time: take exact")
        for name in ("sde_window_stride", "sde_window_epochs"):
            if (value := getattr(self, name)) > 1 and not self.sde_window_size:
                found.append(f"{name} is {value} without sde_window_size: no window moves")
        if self.train_kl_form == "per_time" and not self.train_kl_beta:
            found.append("train_kl_form is per_time without train_kl_beta: nothing is weighed by it")
        return found
