"""`fergi-reward score`: from options to a table of scores, on one process or several."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image

from fergi_reward.bulk.journal import Journal
from fergi_reward.bulk.manifest import Row, folder_rows, read_manifest
from fergi_reward.bulk.results import Outcome, write_results
from fergi_reward.bulk.scoring import Score, Share, score_rows
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.errors import FergiRewardError, MissingDependencyError
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import Scorer
from fergi_reward.scorers.registry import load_scorer, term_name

SHIPPED = Path("shipped")


@dataclass(frozen=True)
class BulkOptions:
    """What `fergi-reward score` is asked for; see its help."""

    images: Path
    prompts: Path | None
    scorers: str
    checkpoints: Sequence[str]
    calibration: Path | None
    out: Path
    batch_size: int
    workers: int
    device: str | None
    dtype: str

    def __post_init__(self) -> None:
        terms = Counter(term_name(name) for name in self.scorer_names)
        unnamed = [text for text in self.checkpoints if not all(text.partition("="))]
        problems = [f"--checkpoint {text!r} must be NAME=FOLDER" for text in unnamed]
        problems += [f"--scorers names {name} twice" for name, count in terms.items() if count > 1]
        if self.out.suffix not in (".parquet", ".csv"):
            problems.append(f"--out {self.out} must end in .parquet or .csv")
        if self.images.is_dir() and self.prompts is None:
            problems.append(f"--images {self.images} is a folder, which needs --prompts FILE")
        if not self.images.is_dir() and self.prompts is not None:
            problems.append(f"--images {self.images} is no folder, and a manifest holds its own prompts")
        if problems:
            raise FergiRewardError("; ".join(problems))

    def rows(self) -> Iterator[Row]:
        """The rows, streamed anew at every call."""
        if self.prompts is None:
            return read_manifest(self.images)
        return folder_rows(self.images, _read_lines(self.prompts))

    @property
    def scorer_names(self) -> list[str]:
        """The names between the commas."""
        return [name.strip() for name in self.scorers.split(",")]

    def columns(self) -> list[str]:
        """The columns of scores in the output: the scorers as they were asked for, and perhaps the reward."""
        return self.scorer_names + ["reward"] * (self.calibration is not None)


def run(options: BulkOptions) -> Outcome | None:
    """Score everything that is left, and write the table when all of it is there.

    Returns:
        How many images were scored and how many could not be; None on all processes but the first.

    Raises:
        FergiRewardError: An option, the manifest, a checkpoint or the calibration cannot be used.
    """
    columns = options.columns()
    total = sum(1 for _ in options.rows())
    share, wait = _processes()
    score = _score(options, share)
    journal = Journal(options.out.with_name(f".{options.out.name}.journal"), _noted(options))
    score_rows(
        options.rows(),
        score,
        journal,
        total=total,
        batch_size=options.batch_size,
        workers=options.workers,
        share=share,
    )
    wait()
    return write_results(options.rows(), columns, journal, options.out) if share.rank == 0 else None


def _noted(options: BulkOptions) -> dict[str, str]:
    """What the scores depend on."""
    kept = ("images", "prompts", "scorers", "checkpoints", "calibration", "dtype")
    return {name: str(value) for name, value in asdict(options).items() if name in kept}


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FergiRewardError(f"cannot read the prompts in {path} ({error}): give a UTF-8 text file") from error


def _processes() -> tuple[Share, Callable[[], None]]:
    """This process's share under `accelerate launch`, and how to wait for the others."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return Share(), lambda: None
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingDependencyError("accelerate", "scoring on several processes", "train") from error
    state = PartialState(cpu=not torch.cuda.is_available())
    return Share(state.process_index, state.num_processes), state.wait_for_everyone


def _score(options: BulkOptions, share: Share) -> Score:
    """The function that scores a batch: the scorers, and the reward of those that the calibration weighs."""
    gpus = torch.cuda.device_count()
    device = options.device or (f"cuda:{share.rank % gpus}" if gpus else "cpu")
    checkpoints = dict(text.split("=", 1) for text in options.checkpoints)
    if unknown := set(checkpoints) - set(options.scorer_names):
        raise FergiRewardError(f"--checkpoint names {', '.join(unknown)}, which --scorers does not")
    dtype = getattr(torch, options.dtype)
    calibration = _calibration(options.calibration)
    weighed = [name for name in options.scorer_names if calibration and term_name(name) in calibration.scorers]
    if calibration and weighed:
        calibration.fit_for([term_name(name) for name in weighed])  # a missing fit shows before gigabytes are loaded
    scorers = {
        name: load_scorer(name, checkpoints.get(name), device=device, dtype=dtype) for name in options.scorer_names
    }
    reward = CombinedReward([scorers[name] for name in weighed], calibration) if calibration else None
    return _Scoring(scorers, weighed, reward, options.batch_size)


@dataclass(frozen=True)
class _Scoring:
    """Scores a batch of pictures with every scorer, by name, and adds the reward of those that are weighed."""

    scorers: Mapping[str, Scorer]
    weighed: Sequence[str]
    reward: CombinedReward | None
    batch_size: int

    def __call__(self, pictures: list[Image.Image], prompts: list[str]) -> dict[str, list[float]]:
        scores = {
            name: scorer.score(pictures, prompts, batch_size=self.batch_size) for name, scorer in self.scorers.items()
        }
        columns = {name: values.tolist() for name, values in scores.items()}
        if self.reward is not None:
            terms = {term_name(name): scores[name] for name in self.weighed}
            columns["reward"] = _rewards(self.reward, terms, prompts)
        return columns


def _rewards(reward: CombinedReward, terms: Mapping[str, torch.Tensor], prompts: list[str]) -> list[float]:
    """The rewards; NaN where a score is not finite, which the entry of that row then says."""
    finite = torch.stack([values.isfinite() for values in terms.values()]).all(dim=0)
    clean = {name: values.where(finite, 0) for name, values in terms.items()}
    return reward.combine(clean, prompts).total.where(finite, torch.nan).tolist()


def _calibration(path: Path | None) -> Calibration | None:
    if path is None:
        return None
    return Calibration.shipped() if path == SHIPPED else Calibration.load(path)
