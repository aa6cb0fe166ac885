"""What the training programs share: their arguments, and the pipeline and reward that these name.

It knows trainers, scorers and calibrations; these do not know each other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.callables.rewards import Reward, check_gradients
from fergi_reward.cli.arguments import parse_arguments
from fergi_reward.core.devices import training_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.parking import CPU
from fergi_reward.core.terminal import for_terminal
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.published import PUBLISHED, on_meta
from fergi_reward.faces.predicted import TOWER, Predicted
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.files.prompts import read_prompts
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import (
    REGISTRY,
    is_differentiable,
    load_scorer,
    named_by_a_file,
    parameter_count,
    term_name,
)
from fergi_reward.scorers.scorer_set import ParkedScorer
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.config import CheckedOptions, TrainerConfig, option
from fergi_reward.trainers.dry_run import DryRun, dry_run
from fergi_reward.trainers.guards import check_held_out
from fergi_reward.trainers.preflight import check_can_start
from fergi_reward.trainers.registry import AnyTrainer
from fergi_reward.trainers.run import check_output

if TYPE_CHECKING:
    import torch

TINY_SCORERS = {
    "image_reward": tiny.image_reward,
    "pickscore": tiny.pickscore,
    "hps_v2": tiny.hps,
    "clip": tiny.clip,
    "aesthetic": tiny.aesthetic,
}
EMOJI_SCORERS = {name: partial(load_scorer, name, folder) for name, folder in emoji.checkpoints().items()}
TOYS: Mapping[str, Mapping[str, Callable[[], LoadedScorer]]] = {
    **dict.fromkeys(tiny.MODELS, TINY_SCORERS),
    **dict.fromkeys(emoji.MODELS, EMOJI_SCORERS),
}


@dataclass(frozen=True)
class PipelineArguments(CheckedOptions):
    """A pipeline, and where the scorers of what it draws come from."""

    model: str = option(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Text-to-image pipeline: a hub id, a folder, or a toy with toy scorers: emoji, emoji_flow, tiny, tiny_xl, "
        "tiny_3 or tiny_flux.",
    )
    checkpoints: list[str] | None = field(
        default=None, metadata={"help": "NAME=FOLDER: local checkpoints of scorers, in the hub's layout."}
    )
    scorer_dtype: Literal["float32", "bfloat16", "float16"] = option(
        "float32", "Data type of the towers of all scorers, those of judges too."
    )
    offload_scorers: bool = option(
        False,
        "Park scorers on the CPU and move each to the GPU only while it scores: those of reward and judges; in reward "
        "backpropagation those of judges alone, since the gradient goes through the others.",
    )

    def problems(self) -> list[str]:
        """A checkpoint needs a name and a folder."""
        wrong = [text for text in self.checkpoints or [] if not all(text.partition("="))]
        return [f"checkpoints holds {text!r}, must be NAME=FOLDER" for text in wrong]

    def places(self) -> dict[str, str]:
        """The local checkpoints by the scorers' names."""
        return dict(text.split("=", 1) for text in self.checkpoints or [])


@dataclass(frozen=True)
class RewardArguments(PipelineArguments):
    """The same, and the reward of what it draws."""

    scorers: list[str] | None = field(
        default=None,
        metadata={
            "help": "Scorers of the reward: names, or my_package.my_module:Name; by default those that the calibration "
            "weighs."
        },
    )
    calibration: str | None = option(
        None, "Calibration file that weighs the scorers, or the word shipped; by default the shipped one, or the toy's."
    )
    uncertainty_penalty: float = option(
        0.0, "Subtracted from the reward for each standard deviation by which the scorers disagree."
    )
    predictor: str | None = option(
        None, "Folder of a reaction predictor: the reward weighs the AU4 valence that it expects."
    )
    reaction_pessimism: float = option(
        1.0, "How many times the predictor's uncertainty is subtracted from the valence that it expects."
    )
    accept_chance: bool = option(False, "Take a predictor that was no better than chance on viewers it had not seen.")

    def reward_places(self) -> dict[str, str]:
        """The local checkpoints of the reward's scorers."""
        return self.places()


@dataclass(frozen=True)
class ProgramArguments(PipelineArguments):
    """What is trained, and watched by whom."""

    prompts: str = option(
        "configs/prompts/everyday.txt", "Text file of the prompts of grids, judges and online training, one a line."
    )
    judges: list[str] | None = field(
        default=None, metadata={"help": "Scorers that are not trained on and only asked whether it helps."}
    )
    dry_run: bool = option(False, "Load nothing and train nothing: print what the run would take.")


@dataclass(frozen=True)
class ScriptArguments(ProgramArguments, RewardArguments):
    """The same, and for which reward."""

    def reward_places(self) -> dict[str, str]:
        """All but the judges'."""
        return {name: place for name, place in self.places().items() if name not in (self.judges or [])}


@dataclass(frozen=True)
class PairArguments(ProgramArguments):
    """The same, and on which pairs."""

    pairs: str = option("yuvalkirstain/pickapic_v2", "Pairs to learn from: a folder, a Parquet file or a hub id.")
    pairs_split: str = option("train", "Which split of them.")
    streaming: bool = option(False, "Read the pairs while training, in place of downloading them all first.")
    held_out: str | None = option(None, "Pairs that are not trained on: how many of them does the model get right?")
    held_out_split: str = option("validation", "Which split of these.")


def train_on_reward(
    trainer: Callable[..., AnyTrainer], config_class: type[TrainerConfig], arguments: Sequence[str]
) -> None:
    """A whole program: build a pipeline, a reward and judges as the arguments say, and train; or only rehearse it.

    Args:
        trainer: What draws, asks the reward and learns.
        config_class: Its options, beside those of `ScriptArguments`.
        arguments: From the command line.

    Raises:
        FergiRewardError: An option, or what it names, cannot be used.
    """
    script, config = parse_arguments([ScriptArguments, config_class], arguments)
    check_offload(script, config)
    prompts = read_prompts(Path(script.prompts))
    if script.dry_run:
        print(for_terminal(str(rehearse(script, config))))
        return
    check_can_start(config)
    check_output(config)
    reward = load_reward(script, offload=_parks_reward(script, config))
    judges = load_judges(script, reward)
    trainer(config, reward, load_pipeline(script.model), prompts, judges).train()


def rehearse(script: ProgramArguments, config: TrainerConfig) -> DryRun:
    """What the run would take; a model that is not among the published ones is loaded for it."""
    is_published = script.model in PUBLISHED.names()
    pipeline = on_meta(script.model) if is_published else load_pipeline(script.model)
    asked, judges = _asked(script) if isinstance(script, ScriptArguments) else [], script.judges or []
    if config.needs_gradient:
        check_gradients(name for name in asked if not is_differentiable(name))
    parked = [*(asked if _parks_reward(script, config) else []), *(judges if script.offload_scorers else [])]
    counted = [name for name in (*asked, *judges) if not is_toys_own(script.model, name)]  # a toy's own are tiny
    return dry_run(
        config,
        pipeline,
        {name: parameter_count(name) for name in counted if name not in parked},
        offloaded={name: parameter_count(name) for name in counted if name in parked},
        scorer_dtype=dtype_named(script.scorer_dtype),
    )


def check_offload(script: ProgramArguments, config: TrainerConfig) -> None:
    """Refuse to park scorers where there are none to park.

    Raises:
        FergiRewardError: The only scorers are those that a gradient goes through, or there are none.
    """
    if script.offload_scorers and not (script.judges or _parks_reward(script, config)):
        raise FergiRewardError(
            "offload_scorers is on, but there is no scorer to park: a gradient needs the reward's where they are, and "
            "no judges are named; leave it out"
        )


def _parks_reward(script: ProgramArguments, config: TrainerConfig) -> bool:
    """Whether the reward's scorers wait on the CPU: not where a gradient goes through them."""
    return script.offload_scorers and isinstance(script, ScriptArguments) and not config.needs_gradient


def dtype_named(name: str) -> "torch.dtype":
    """The dtype that an option names."""
    import torch

    return getattr(torch, name)


def _weighed(script: RewardArguments) -> list[str]:
    return script.scorers or named_by_a_file(_calibration(script).scorers)


def _asked(script: RewardArguments) -> list[str]:
    """The scorers that are weighed, and the one whose towers a predictor reads."""
    names = _weighed(script)
    return [*names, TOWER] if script.predictor and TOWER not in names else names


def _calibration(script: RewardArguments) -> Calibration:
    if script.calibration is None and script.model in emoji.MODELS:
        return Calibration.load(emoji.CALIBRATION)
    return Calibration.named(script.calibration or "shipped")


def _face(script: RewardArguments) -> Predicted | None:
    """The predicted face, where a predictor is named."""
    if not script.predictor:
        return None
    return Predicted(ReactionPredictor.load(script.predictor), script.reaction_pessimism, script.accept_chance)


def load_reward(
    script: RewardArguments,
    *,
    on: "torch.device | None" = None,
    offload: bool = False,
) -> CombinedReward:
    """The calibrated reward; published scorers are loaded when they are first asked.

    Args:
        script: Names its scorers, their dtype, and its calibration.
        on: Where it scores; by default on this process's device.
        offload: Whether scorers wait on the CPU for their turn.
    """
    names, on, dtype = _weighed(script), on or training_device(), dtype_named(script.scorer_dtype)
    places = script.reward_places()
    if script.model in emoji.MODELS and TOWER in _asked(script) and TOWER not in names:
        places[TOWER] = str(emoji.checkpoints()[TOWER])
    return CombinedReward(
        [load_toy(script.model, name, dtype).to(on) if is_toys_own(script.model, name) else name for name in names],
        _calibration(script),
        face=_face(script),
        checkpoints=places,
        device=on,
        dtype=dtype,
        offload=offload,
        uncertainty_penalty=script.uncertainty_penalty,
    )


def load_judges(script: ProgramArguments, reward: CombinedReward | None) -> dict[str, Reward]:
    """The held-out judges by the names of their terms, on this process's device or parked beside it.

    Raises:
        FergiRewardError: The reward weighs one of them.
    """
    names = {term_name(name): name for name in script.judges or []}
    check_held_out(names, reward)
    judges = {term: _load_judge(script, name) for term, name in names.items()}
    if script.offload_scorers:
        return {term: ParkedScorer(judge, training_device()) for term, judge in judges.items()}
    return dict(judges)


def _load_judge(script: ProgramArguments, name: str) -> LoadedScorer:
    dtype = dtype_named(script.scorer_dtype)
    if is_toys_own(script.model, name):
        return load_toy(script.model, name, dtype)
    device = CPU if script.offload_scorers else training_device()
    return load_scorer(name, script.places().get(name), device=device, dtype=dtype)


def is_toys_own(model: str, name: str) -> bool:
    """Whether a scorer comes with the model: a toy has its own in place of the published ones."""
    return model in TOYS and name in REGISTRY.builtin


def load_toy(model: str, name: str, dtype: "torch.dtype | None" = None) -> LoadedScorer:
    """The scorer that comes with a toy model, of a published one's architecture, on this process's device.

    Args:
        model: The toy.
        name: Of the scorer.
        dtype: Of its towers; by default float32.
    """
    scorers = TOYS[model]
    if term_name(name) not in scorers:
        raise FergiRewardError(f"the toy {model} has no scorer {name!r}: choose from {', '.join(scorers)}")
    scorer = scorers[term_name(name)]()
    for tower in scorer.towers() if dtype and isinstance(scorer, TowerScorer) else ():
        tower.to(dtype)
    return scorer.to(training_device()).requires_grad_(False)
