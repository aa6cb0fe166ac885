"""The options of what scores pictures in bulk; nothing heavy is imported."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from fergi_reward.calibration.options import SHIPPED_HELP, RewardWeightOptions
from fergi_reward.core.options import Options, option, required, seed_option
from fergi_reward.diffusion.options import (
    MODEL_HELP,
    STABLE_DIFFUSION,
    RewardOptions,
    ServedRewardOptions,
    call_options,
)
from fergi_reward.scorers.options import CHECKPOINTS_HELP, DEVICE_HELP, SCORERS, Dtype, ScoringDtype
from fergi_reward.scorers.registry import REGISTRY, term_name


def errors_file(out: Path) -> Path:
    """The list of the images that could not be scored: in the folder of the table, named after it."""
    return out.with_name(f"{out.name}.errors.csv")


def former_errors_file(out: Path) -> Path:
    """Its name until the next release, which `x.csv` and `x.parquet` shared: a run replaces what is there."""
    return out.with_suffix(".errors.csv")


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(Options):
    """Which scorers, and how they are run."""

    scorers: Sequence[str] | None = option(
        None, "Scorers; `fergi-reward scorers` lists them.", shown=",".join(SCORERS), names=REGISTRY
    )
    checkpoints: Mapping[str, str] | None = option(
        None, CHECKPOINTS_HELP, metavar="NAME=FOLDER,...", old=("checkpoint",), repeated=True
    )
    batch_size: int = option(8, "Images per batch.", at_least=1)
    workers: int = option(2, "Threads that decode and resize images.", at_least=1)
    device: str | None = option(None, DEVICE_HELP)
    dtype: ScoringDtype = option(
        "float32", "Data type of the towers; auto measures whether bfloat16 is faster than float32."
    )

    @property
    def scorer_names(self) -> list[str]:
        """The scorers; by default those of the paper."""
        return list(SCORERS if self.scorers is None else self.scorers)

    def problems(self) -> list[str]:
        """Scorers that are none or given twice, and checkpoints of others."""
        terms = Counter(map(term_name, self.scorer_names))
        found = [f"--scorers names {name} twice" for name, count in terms.items() if count > 1]
        if not terms:
            found.append("--scorers is empty: give at least one")
        unknown = set(self.checkpoints or {}) - set(self.scorer_names)
        if unknown:
            found.append(f"--checkpoints names {', '.join(sorted(unknown))}, which --scorers does not")
        return found


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ScoringOptions, RewardWeightOptions):
    """The options of `fergi-reward score`."""

    images: Path = required("A folder of pictures, or a CSV with the columns image, prompt; --out copies its others.")
    prompts: Path | None = option(
        None,
        "For a folder: a text file with one prompt for all, or one per picture in the order of names, where numbers "
        "order as numbers (2.png before 10.png).",
    )
    scorers: Sequence[str] | None = option(
        None,
        "Scorers; `fergi-reward scorers` lists them.",
        shown=f"those of --calibration or --weights, else {','.join(SCORERS)}",
        names=REGISTRY,
    )
    calibration: str | None = option(None, f"Adds a column `reward`; {SHIPPED_HELP}.", metavar="FILE")
    out: Path = option(Path("scores.parquet"), "The table to write, .parquet or .csv.")
    engine: Literal["local", "ray"] = option(
        "local",
        "Where: this process, or workers on the Ray cluster of RAY_ADDRESS, else of this machine; each of its nodes "
        "must find the pictures at the same path.",
    )

    @cached_property  # the file is read once: all scores of a run are by the same scorers
    def scorer_names(self) -> list[str]:
        """The scorers; by default those that are weighed, else those of the paper."""
        if self.scorers is None and self.calibration is not None:
            from fergi_reward.calibration.calibration import Calibration
            from fergi_reward.calibration.own_scorers import own_scorers

            return [*own_scorers(Calibration.load(self.calibration)), *(self.extra or {})]
        chosen = self.weighed if self.scorers is None and self.weights else super().scorer_names
        return [*chosen, *(self.extra or {})]

    @property
    def has_reward(self) -> bool:
        """Whether the table has a column for the reward."""
        return self.calibration is not None or self.weights is not None

    def problems(self) -> list[str]:
        """What contradicts itself, or would write over what is read."""
        found = [*RewardWeightOptions.problems(self), *ScoringOptions.problems(self)]
        if unknown := set(self.weighed) - set(self.scorer_names):
            found.append(f"--weights names {', '.join(sorted(unknown))}, which --scorers does not")
        if self.extra and not self.has_reward:
            found.append("--extra is added to a reward: give --calibration or --weights too")
        if self.out.suffix not in (".parquet", ".csv"):
            found.append(f"--out {self.out} must end in .parquet or .csv")
        lists = errors_file(self.out), former_errors_file(self.out)
        if self.images.exists() and any(path.exists() and path.samefile(self.images) for path in lists):
            found.append(f"--images {self.images} is where --out {self.out} lists what has no scores: rename one")
        if self.dtype == "auto" and self.engine == "ray":
            found.append("--dtype auto is measured by each worker, which may disagree: give float32 or bfloat16")
        if self.images.is_dir() and self.prompts is None:
            found.append(f"--images {self.images} is a folder, which needs --prompts FILE")
        if not self.images.is_dir() and self.prompts is not None:
            found.append(f"--images {self.images} is no folder, and a manifest holds its own prompts")
        return found


@dataclass(frozen=True, kw_only=True)
class BestOfOptions(ServedRewardOptions):
    """The options of `fergi-reward best-of`."""

    prompts: Path = required("A text file with one prompt per line.")
    model: str = option(STABLE_DIFFUSION, f"The model that draws: {MODEL_HELP}")
    n: int = option(8, "Pictures per prompt.", at_least=1)
    out: Path = option(Path("best_of"), "The folder of the chosen pictures and all scores.")
    seed: int = seed_option(0, "Seed of the pictures' own seeds, which are recorded.")
    checkpoints: Mapping[str, str] | None = option(
        None, CHECKPOINTS_HELP, metavar="NAME=FOLDER,...", old=("checkpoint",), repeated=True
    )
    calibration: str | None = option(
        None, f"Weighs the scorers; {SHIPPED_HELP}. [default: the shipped one, or the toy's]", metavar="FILE"
    )
    lora: Path | None = option(None, "The folder of a LoRA adapter to draw with.")
    steps: int | None = option(None, "Denoising steps. [default: the pipeline's]", at_least=1)
    guidance_scale: float | None = option(None, "Classifier-free guidance. [default: the pipeline's]")
    batch_size: int = option(8, "Pictures per batch.", at_least=1)
    dtype: Dtype = option("float32", "Data type of all weights.")

    @property
    def reward_options(self) -> RewardOptions:
        """Those of its reward."""
        return replace(super().reward_options, model=self.model)

    @property
    def call(self) -> dict[str, float]:
        """Arguments of the pipeline's call."""
        return call_options(self.steps, self.guidance_scale)
