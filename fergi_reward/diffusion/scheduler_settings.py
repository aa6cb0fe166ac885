"""Which settings of diffusers' schedulers the samplers here follow: a closed list, and a refusal of all else by name.

A pipeline's scheduler says two things: which noise its model was trained on, and how it draws. The first is followed.
The second is DDIM or Euler's flow here, whatever the scheduler (Stable Diffusion 1.5 comes with PNDM): a setting that
changes what these would draw, and that they do not read, must not be passed over.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fergi_reward.core.errors import FergiRewardError

# Schedulers that differ from DDIM only in how they solve the same equation.
DIFFUSION_CLASSES = (
    *("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
    *("DPMSolverMultistepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler"),
)
FLOW_CLASSES = ("FlowMatchEulerDiscreteScheduler",)
# Solvers made for diffusion that can solve a flow.
FLOW_SOLVERS = ("DPMSolverMultistepScheduler",)
# What DDIM takes from any of them.
FOLLOWED = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"),
    *("prediction_type", "timestep_spacing", "steps_offset", "set_alpha_to_one"),
)
# How another solver would take the same way, or what has no effect without a setting that is refused.
SOLVERS_OWN = (
    *("skip_prk_steps", "solver_order", "solver_type", "algorithm_type", "lower_order_final", "euler_at_final"),
    *("lambda_min_clipped", "predict_x0", "disable_corrector", "solver_p", "interpolation_type"),
    *("dynamic_thresholding_ratio", "clip_sample_range", "sample_max_value", "flow_shift", "time_shift_type"),
)
FLOW_FOLLOWED = (
    *("num_train_timesteps", "shift", "use_dynamic_shifting", "base_shift", "max_shift", "time_shift_type"),
    *("base_image_seq_len", "max_image_seq_len", "shift_terminal"),
    *("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"),
)
# Settings with a value that is followed, among others that are not; all that are not named here must be off.
VALUES: Mapping[str, Sequence[str | None]] = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "prediction_type": ("epsilon", "v_prediction"),
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "timestep_type": ("discrete",),
    "final_sigmas_type": ("zero",),
    "variance_type": (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
}


def diffusion_settings(scheduler: Any) -> dict[str, Any]:  # noqa: ANN401  # schedulers have no useful common type
    """The settings for a DDIMScheduler that draws from the model of another scheduler.

    Defaults of the other's class are among them, since those of DDIM differ.

    Raises:
        FergiRewardError: The scheduler is of a kind, or has settings, that DDIM does not follow.
    """
    _check(scheduler, DIFFUSION_CLASSES, (*FOLLOWED, *SOLVERS_OWN))
    return {name: scheduler.config[name] for name in FOLLOWED if name in scheduler.config}


def check_flow(scheduler: Any) -> None:  # noqa: ANN401
    """Refuse a scheduler that is not one of plain flow matching, or that has settings that nothing here reads.

    Raises:
        FergiRewardError: The scheduler is of a kind, or has settings, that sampling here does not follow.
    """
    _check(scheduler, FLOW_CLASSES, FLOW_FOLLOWED)


def check_flow_solver(scheduler: Any) -> None:  # noqa: ANN401
    """Refuse a solver of diffusion that does not solve a flow, or that has settings that nothing here reads.

    Raises:
        FergiRewardError: The scheduler is of a kind, or has settings, that sampling here does not follow.
    """
    values = {**VALUES, "prediction_type": ("flow_prediction",), "use_flow_sigmas": (True,)}
    _check(scheduler, FLOW_SOLVERS, (*FOLLOWED, *SOLVERS_OWN), values)


def _check(
    scheduler: Any,  # noqa: ANN401
    classes: Sequence[str],
    free: Sequence[str],
    values: Mapping[str, Sequence[object]] = VALUES,
) -> None:
    name = type(scheduler).__name__
    if not any(kind.__name__ in classes for kind in type(scheduler).__mro__):
        raise FergiRewardError(f"the pipeline draws with {name}, which cannot be trained: give one of {_or(classes)}")
    wrong = [
        f"{setting} {value!r} (must be {_or(values.get(setting, ('off',)))})"
        for setting, value in scheduler.config.items()
        if not setting.startswith("_") and not _is_followed(setting, value, free, values)
    ]
    if wrong:
        raise FergiRewardError(f"the pipeline's {name} has {', '.join(wrong)}: such a scheduler cannot be trained")


def _is_followed(setting: str, value: object, free: Sequence[str], values: Mapping[str, Sequence[object]]) -> bool:
    if setting in values:
        return value in values[setting]
    return setting in free or value is None or value is False


def _or(values: Sequence[object]) -> str:
    return " or ".join(str(value) for value in values)
