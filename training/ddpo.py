"""Fine-tune Stable Diffusion with DDPO on the calibrated reward.

accelerate launch training/ddpo.py --config configs/ddpo_sd15.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fergi_reward import tiny
from fergi_reward.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.trainers.arguments import one_sentence_for_mistakes, parse_arguments
from fergi_reward.trainers.config import CheckedOptions, option
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer
from fergi_reward.trainers.samples import read_prompts

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

TINY = "tiny"


@dataclass(frozen=True)
class ScriptArguments(CheckedOptions):
    """What is trained, on what, for which reward."""

    model: str = option(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Pipeline to fine-tune: a hub id, a folder, or the word tiny for a toy pipeline and toy scorers.",
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


def main(arguments: Sequence[str]) -> None:
    """Build a pipeline, a reward, a trainer, and run it."""
    script, config = parse_arguments([ScriptArguments, DDPOConfig], arguments)
    prompts = read_prompts(Path(script.prompts))
    pipeline = load_pipeline(script.model)
    trainer = DDPOTrainer(config, load_reward(script), pipeline, prompts)
    adapter = trainer.train()
    trainer.accelerator.print(f"the adapter is in {adapter}: pipeline.load_lora_weights({str(adapter)!r})")


def load_pipeline(model: str) -> "StableDiffusionPipeline":
    """The pipeline to fine-tune, without its safety checker: black pictures would be rewarded like any other."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    if model == TINY:
        return tiny.stable_diffusion(seed=0)
    try:
        return StableDiffusionPipeline.from_pretrained(model, safety_checker=None, requires_safety_checker=False)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise FergiRewardError(f"cannot load the model {model!r}: give a hub id or a folder ({reason})") from error


def load_reward(script: ScriptArguments) -> CombinedReward:
    """The calibrated reward, on this process's device."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # The first to ask fixes the state for the whole process: it must ask as the trainer's Accelerator would.
    device = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device
    toys = [tiny.image_reward(), tiny.pickscore(), tiny.hps()] if script.model == TINY else []
    return CombinedReward.from_pretrained(
        calibration=script.calibration,
        scorers=[toy.to(device) for toy in toys] or script.scorers,
        checkpoints=dict(text.split("=", 1) for text in script.checkpoints or []),
        device=device,
    )


if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
