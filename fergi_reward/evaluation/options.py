"""The options of `fergi-reward evaluate`; nothing heavy is imported."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from fergi_reward.bulk.options import ScoringOptions
from fergi_reward.calibration.options import SHIPPED, SHIPPED_HELP, Ties, WeightOptions
from fergi_reward.calibration.registry import PROTOCOLS
from fergi_reward.core.options import option, required, seed_option
from fergi_reward.core.places import place_without_folders
from fergi_reward.data.judgement_files.options import JudgementOptions
from fergi_reward.data.options import FERGI_PLACE, PreferenceDataOptions
from fergi_reward.diffusion.options import MODEL_HELP, STABLE_DIFFUSION, call_options
from fergi_reward.diffusion.registry import toy_of
from fergi_reward.evaluation.benchmarks import BENCHMARKS
from fergi_reward.scorers.options import SCORERS, Dtype
from fergi_reward.scorers.registry import REGISTRY

FERGI = "fergi"
BRADLEY_TERRY = "bradley-terry"
_OF_SCORING = ("checkpoints", "batch_size", "workers", "device", "dtype")
_OF_VIEWERS = ("ratings", "source_map", "from_frames", "skip_bad")
# The last two are in no calibration that comes with the package: they can judge what was trained on its default reward.
JUDGES = (*SCORERS, "clip", "aesthetic")


@dataclass(frozen=True, kw_only=True)
class PreferenceOptions(JudgementOptions, ScoringOptions, PreferenceDataOptions):
    """The options of `fergi-reward evaluate preferences`."""

    dataset: str = option(FERGI, "Whose preferences.", names=BENCHMARKS, also=(FERGI,))
    judgements: str | None = option(
        None,
        "A table of judgements with scores (.csv, .parquet, .json, .jsonl), or a folder of one, in place of --dataset; "
        "as for `calibrate`, without pictures.",
        metavar="PLACE",
    )
    scorers: Sequence[str] | None = option(
        None,
        "Scorers; `fergi-reward scorers` lists them. With --judgements: columns of scores.",
        shown=f"{','.join(SCORERS)}, or the columns that are weighed",
    )
    weights: Mapping[str, float] | None = option(
        None, "With --judgements: weights by hand of raw scores, judged as `by hand`.", metavar="COLUMN=NUMBER,..."
    )
    data: str | None = option(
        None,
        "A folder in its layout, with --ratings one that extract wrote, or a hub id. [default: FERGI's, the hub's]",
        metavar="PLACE",
    )
    calibration: Sequence[str] = option(
        (SHIPPED,), f"Weights to judge; {SHIPPED_HELP}.", metavar="FILE,...", repeated=True
    )
    out: Path = option(Path("preferences"), "A folder for the report and for scores.")
    seed: int = seed_option(0, "Seed of the bootstrap.")

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = [*JudgementOptions.problems(self), *_same_names(self.calibration)]
        if self.judgements is not None:
            return found + self._of_a_table()
        if strange := REGISTRY.problems(self.scorers or []):
            return found + strange
        found += ScoringOptions.problems(self) + _given(self, "is for --judgements", "weights", "aus")
        if self.dataset == FERGI and self.checkpoints:
            found.append(f"--checkpoints {next(iter(self.checkpoints))} has no use: FERGI's scores are recorded")
        if self.dataset != FERGI:
            found += _given(self, "is for --dataset fergi", "au_source", *_OF_VIEWERS)
        return found

    def _of_a_table(self) -> list[str]:
        """What has no use for a table whose scores are columns."""
        found = _given(self, "has no use with --judgements", "data", *_OF_SCORING, *_OF_VIEWERS)
        if self.judgements in BENCHMARKS.names() and not Path(str(self.judgements)).exists():
            found.append(
                f"--judgements {self.judgements} is no table but a benchmark: give --dataset {self.judgements}"
            )
        if self.dataset != FERGI:
            found.append(f"--judgements and --dataset {self.dataset} are both given: give one of them")
        counts = Counter(self.scorers or ())
        found += [f"--scorers names {name} {count} times" for name, count in counts.items() if count > 1]
        return found + ["--scorers is empty: give at least one"] * (self.scorers is not None and not any(counts))


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(JudgementOptions, ScoringOptions, PreferenceDataOptions):
    """The options of `fergi-reward calibrate`: viewers with faces, or judgements of any kind without."""

    data: str | None = option(
        None,
        f"The FERGI folder or, with --ratings, one that extract wrote. {FERGI_PLACE}",
        metavar="PATH",
        old=("reactions",),
    )
    protocol: str = option(BRADLEY_TERRY, "How to fit.", names=PROTOCOLS)
    out: Path = option(Path("calibration.json"), "The calibration to write.")
    report: Path | None = option(None, "A folder for report.html, report.md, report.json and plots.")
    seed: int = seed_option(0, "Seed of folds and bootstrap intervals.")
    scorers: Sequence[str] | None = option(
        None,
        "Columns to weigh or, with --judgements, also scorers, which are computed. [default: the paper's three, or the "
        "columns that are named like a scorer]",
    )
    aus: Sequence[str] | None = option(
        None,
        "For bradley-terry: action units to weigh, such as AU4,AU12, or all. [default: AU4] With --judgements, columns "
        "of the raters' faces. [default: none]",
    )
    images: Path | None = option(
        None, "For --judgements: the folder that pictures are relative to. [default: that of the table]"
    )

    ties: Ties = option("leave_out", "For --judgements: ties are left out, or evidence by Davidson's model.")
    nonnegative: bool = option(False, "For --judgements: keep the weights of scores at 0 or above.")
    rater_sensitivity: bool = option(
        False,
        "For --judgements: let raters differ in how strongly they follow the scores, where raters left out prove that "
        "this foretells more.",
    )

    @property
    def is_benchmark(self) -> bool:
        """Whether the judgements are those of a benchmark, by its name."""
        return self.judgements in BENCHMARKS.names() and not Path(str(self.judgements)).exists()

    def problems(self) -> list[str]:
        """Options of the other source of preferences, and what contradicts itself."""
        found = JudgementOptions.problems(self)
        names = list(self.scorers or ())
        found += [f"--scorers names {name} twice" for name in sorted({name for name in names if names.count(name) > 1})]
        if self.scorers is not None and not "".join(names):
            found.append("--scorers is empty: give at least one")
        if self.judgements is None:
            of_judgements = ("images", "ties", "nonnegative", "rater_sensitivity", *_OF_SCORING)
            return found + _given(self, "is for --judgements", *of_judgements)
        found += _given(self, "is for viewers with faces, without --judgements", *_OF_VIEWERS)
        if self.protocol != BRADLEY_TERRY:
            found.append(f"--protocol {self.protocol} is for viewers with faces, without --judgements")
        if unknown := set(self.checkpoints or {}) - set(names):
            found.append(f"--checkpoints names {', '.join(sorted(unknown))}, which --scorers does not")
        if self.is_benchmark:
            named = [*self.named, *(name for name in ("kind", "images") if getattr(self, name))]
            found += [f"--{name} has no use: the layout of {self.judgements} is known" for name in named]
        elif self.data:
            found.append(f"--data {self.data} is a benchmark's place, and --judgements {self.judgements} names none")
        return found


@dataclass(frozen=True, kw_only=True)
class CompareModelsOptions(ScoringOptions, WeightOptions):
    """The options of `fergi-reward evaluate models`."""

    tuned: Sequence[str] = required(
        "Tuned models: folders of adapters or networks as the trainers write them, pipelines or hub ids, each with a "
        "name for reports if you like: mine=runs/ddpo/lora.",
        metavar="[NAME=]PLACE,...",
        repeated=True,
    )
    prompts: Path = required("A text file with one prompt per line; not those trained on.")
    model: str = option(STABLE_DIFFUSION, f"The model before tuning: {MODEL_HELP}")
    dtype: Dtype = option("float32", "Data type of the models that draw and of the towers.")
    samples: int = option(4, "Pictures of each prompt by each model.", at_least=1)
    steps: int | None = option(None, "Denoising steps. [default: the pipeline's]", at_least=1)
    guidance_scale: float | None = option(None, "Classifier-free guidance. [default: the pipeline's]")
    scorers: Sequence[str] | None = option(
        None,
        "Scorers; some must not be in the reward.",
        shown=f"{','.join(JUDGES)}, or all that the toy has",
        names=REGISTRY,
    )
    calibration: Sequence[str] | None = option(
        None,
        f"Weights to evaluate by, too; {SHIPPED_HELP}. [default: shipped, or the toy's]",
        metavar="FILE,...",
        repeated=True,
    )
    trained_on: Sequence[str] | None = option(
        None, "Scorers in the reward of models whose card does not say; or none.", metavar="NAME,..."
    )
    seed: int = seed_option(0, "Seed of the pictures and the bootstrap.")
    out: Path = option(Path("models"), "A folder for the report, for pictures and scores.")

    @property
    def scorer_names(self) -> list[str]:
        """The scorers; by default all that a toy has, or those of the paper and two that no reward of it has."""
        if self.scorers is not None:
            return list(self.scorers)
        toy = toy_of(self.model)
        return list(toy.scorers if toy else dict.fromkeys([*JUDGES, *self.weighed]))

    @property
    def call(self) -> dict[str, float]:
        """Arguments of the pipelines' calls."""
        return call_options(self.steps, self.guidance_scale)

    def problems(self) -> list[str]:
        """What contradicts itself."""
        return [*ScoringOptions.problems(self), *WeightOptions.problems(self), *_same_names(self.calibration or ())]


def _given(options: "PreferenceOptions | CalibrateOptions", why: str, *names: str) -> list[str]:
    """A clause for each of these options that has another value than by default."""
    defaults = {item.name: item.default for item in fields(options)}
    return [f"--{name.replace('_', '-')} {why}" for name in names if getattr(options, name) != defaults[name]]


def _same_names(places: Sequence[str]) -> list[str]:
    """A sentence for each two calibrations that a report would call the same."""
    counts = Counter(map(place_without_folders, places))
    return [
        f"{count} times --calibration {name}: a report could not tell them apart"
        for name, count in counts.items()
        if count > 1
    ]
