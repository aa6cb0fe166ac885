"""What the training programs share: their arguments, and the pipeline and reward that these name.

The one file here that knows scorers and calibrations; the trainers themselves do not.
"""

from dataclasses import dataclass, field

from fergi_reward import tiny
from fergi_reward.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.trainers.config import CheckedOptions, option
from fergi_reward.trainers.pipelines import Pipeline, network_name

TINY = {
    "tiny": tiny.stable_diffusion,
    "tiny_xl": tiny.stable_diffusion_xl,
    "tiny_3": tiny.stable_diffusion_3,
}


@dataclass(frozen=True)
class ScriptArguments(CheckedOptions):
    """What is trained, on what, for which reward."""

    model: str = option(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Pipeline to fine-tune: a hub id, a folder, or tiny, tiny_xl or tiny_3 for a toy pipeline and toy scorers.",
    )
    prompts: str = option("configs/prompts/everyday.txt", "Text file of the prompts to sample from, one a line.")
    scorers: list[str] | None = field(
        default=None, metadata={"help": "Scorers of the reward; by default those that the calibration weighs."}
    )
    checkpoints: list[str] | None = field(
        default=None, metadata={"help": "NAME=FOLDER: local checkpoints of scorers, in the hub's layout."}
    )
    calibration: str | None = option(None, "Calibration file that weighs the scorers; by default the shipped one.")

    def problems(self) -> list[str]:
        """A checkpoint needs a name and a folder."""
        wrong = [text for text in self.checkpoints or [] if not all(text.partition("="))]
        return [f"checkpoints holds {text!r}, must be NAME=FOLDER" for text in wrong]


def load_pipeline(model: str) -> Pipeline:
    """The pipeline to fine-tune, without its safety checker: black pictures would be rewarded like any other.

    Raises:
        FergiRewardError: There is none of that name, or it is of a kind that cannot be trained.
    """
    from diffusers import DiffusionPipeline

    if model in TINY:
        return TINY[model](seed=0)
    try:
        pipeline = DiffusionPipeline.from_pretrained(model, safety_checker=None, requires_safety_checker=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FergiRewardError(f"cannot load the model {model!r}: give a hub id or a folder ({reason})") from error
    network_name(pipeline)
    return pipeline


def load_reward(script: ScriptArguments) -> CombinedReward:
    """The calibrated reward, on this process's device."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # The first to ask fixes the state for the whole process: it must ask as the trainer's Accelerator would.
    device = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device
    toys = [tiny.image_reward(), tiny.pickscore(), tiny.hps()] if script.model in TINY else []
    return CombinedReward.from_pretrained(
        calibration=script.calibration,
        scorers=[toy.to(device).requires_grad_(False) for toy in toys] or script.scorers,
        checkpoints=dict(text.split("=", 1) for text in script.checkpoints or []),
        device=device,
    )
