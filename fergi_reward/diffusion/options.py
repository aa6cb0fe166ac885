"""The options that name a model, and the reward of what it draws; nothing heavy is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fergi_reward.calibration.options import SHIPPED_HELP, RewardWeightOptions
from fergi_reward.core.options import Options, option
from fergi_reward.diffusion.registry import TOYS
from fergi_reward.scorers.options import CHECKPOINTS_HELP, DEVICE_HELP, Dtype
from fergi_reward.scorers.registry import REGISTRY

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
MODEL_HELP = (
    "a hub id, a folder, a function my_package.my_module:name that returns a pipeline, or a toy with its own scorers: "
    f"{', '.join(TOYS.builtin)}."
)
PENALTY_HELP = "Subtracted from the reward for each standard deviation by which the scorers disagree."


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """A model, and where the scorers of what it draws come from."""

    model: str = option(STABLE_DIFFUSION, f"Text-to-image model: {MODEL_HELP}")
    checkpoints: Mapping[str, str] | None = option(
        None, CHECKPOINTS_HELP, metavar="NAME=FOLDER,...", old=("checkpoint",), repeated=True
    )
    scorer_dtype: Dtype = option("float32", "Data type of the towers of all scorers, also of the judges.")
    offload_scorers: bool = option(
        False,
        "Park scorers on the CPU and move each to the GPU only while it scores: those of the reward and the judges; in "
        "reward backpropagation only the judges, since the gradient goes through the others.",
    )


@dataclass(frozen=True, kw_only=True)
class RewardOptions(ModelOptions, RewardWeightOptions):
    """A model, and the reward of what it draws."""

    scorers: Sequence[str] | None = option(
        None, "Scorers of the reward.", shown="those of --weights, else those of the calibration", names=REGISTRY
    )
    calibration: str | None = option(
        None, f"Weighs the scorers; {SHIPPED_HELP}. [default: the shipped one, or the toy's]", metavar="FILE"
    )
    uncertainty_penalty: float = option(0.0, PENALTY_HELP, at_least=0)
    predictor: str | None = option(
        None, "Folder of a reaction predictor: the reward weighs the AU4 valence that it expects.", metavar="PATH"
    )
    reaction_pessimism: float = option(
        1.0,
        "How many times the predictor's uncertainty is subtracted from the valence that it expects.",
        at_least=0,
    )
    accept_chance: bool = option(False, "Take a predictor that was no better than chance on viewers it had not seen.")

    @property
    def reward_checkpoints(self) -> dict[str, str]:
        """The local checkpoints of the reward's scorers."""
        return dict(self.checkpoints or {})

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = super().problems()
        if self.weights and self.scorers and set(self.weights) != set(self.scorers):
            found.append("scorers and weights name different scorers: leave scorers out")
        return found


@dataclass(frozen=True, kw_only=True)
class ServedRewardOptions(RewardWeightOptions):
    """A reward that nothing is trained on here: of a server, of a host's YAML, or of best-of."""

    scorers: Sequence[str] | None = option(
        None, "Scorers.", shown="those of --weights, else those of the calibration", names=REGISTRY
    )
    checkpoints: Mapping[str, str] | None = option(None, CHECKPOINTS_HELP, metavar="NAME=FOLDER,...")
    calibration: str | None = option(None, f"Weighs the scorers; {SHIPPED_HELP}. [default: shipped]", metavar="FILE")
    uncertainty_penalty: float = option(0.0, PENALTY_HELP, at_least=0)
    device: str | None = option(None, DEVICE_HELP)
    dtype: Dtype = option("float32", "Data type of the towers.")

    @property
    def reward_options(self) -> RewardOptions:
        """The same, as the reward is loaded by."""
        return RewardOptions(
            scorers=self.scorers,
            checkpoints=self.checkpoints,
            scorer_dtype=self.dtype,
            calibration=self.calibration,
            weights=self.weights,
            standardise=self.standardise,
            extra=self.extra,
            uncertainty_penalty=self.uncertainty_penalty,
        )


def call_options(steps: int | None, guidance_scale: float | None) -> dict[str, float]:
    """Arguments of a pipeline's call; what was not given is left to the pipeline."""
    given = {"num_inference_steps": steps, "guidance_scale": guidance_scale}
    return {name: value for name, value in given.items() if value is not None}
