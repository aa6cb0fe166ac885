"""`fergi-reward score`: from options to a table of scores, on one process or several."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from fergi_reward.bulk.job import ScoringOptions, score_into
from fergi_reward.bulk.manifest import Row, folder_rows, read_manifest
from fergi_reward.bulk.results import Outcome
from fergi_reward.bulk.scoring import Engine, Share, in_this_process
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.images import Picture
from fergi_reward.prompts import read_prompts
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import Scorer
from fergi_reward.scorers.registry import term_name


@dataclass(frozen=True)
class BulkOptions(ScoringOptions):
    """What `fergi-reward score` is asked for; see its help."""

    images: Path
    prompts: Path | None
    calibration: Path | None
    out: Path
    engine: str = "local"

    def problems(self) -> list[str]:
        """What is wrong with them."""
        problems = super().problems()
        if self.out.suffix not in (".parquet", ".csv"):
            problems.append(f"--out {self.out} must end in .parquet or .csv")
        if self.images.is_dir() and self.prompts is None:
            problems.append(f"--images {self.images} is a folder, which needs --prompts FILE")
        if not self.images.is_dir() and self.prompts is not None:
            problems.append(f"--images {self.images} is no folder, and a manifest holds its own prompts")
        return problems

    def rows(self) -> Iterator[Row]:
        """The rows, streamed anew at every call."""
        if self.prompts is None:
            return read_manifest(self.images, [*self.columns(), "error"])
        return folder_rows(self.images, read_prompts(self.prompts))

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
    kept = ("images", "prompts", "scorers", "checkpoints", "calibration", "dtype")
    noted = {name: str(value) for name, value in asdict(options).items() if name in kept}
    scoring, engine = partial(_scoring, options), _engine(options.engine)
    return score_into(options.out, options.rows, options.rows, scoring, options.columns(), noted, options, engine)


def _engine(name: str) -> Engine:
    """Where batches are scored; Ray is imported only where it is asked for."""
    if name == "local":
        return in_this_process
    from fergi_reward.bulk.ray_engine import on_ray

    return on_ray


def _scoring(options: BulkOptions, share: Share) -> "_Scoring":
    """The function that scores a batch: the scorers, and the reward of those that the calibration weighs."""
    calibration = None if options.calibration is None else Calibration.named(options.calibration)
    weighed = [name for name in options.scorer_names if calibration and term_name(name) in calibration.scorers]
    if calibration and weighed:
        calibration.fit_for([term_name(name) for name in weighed])  # a missing fit shows before gigabytes are loaded
    scorers = options.load_scorers(share)
    reward = CombinedReward([scorers[name] for name in weighed], calibration) if calibration else None
    return _Scoring(scorers, weighed, reward, options.batch_size)


@dataclass(frozen=True)
class _Scoring:
    """Scores a batch of pictures with every scorer, by name, and adds the reward of those that are weighed."""

    scorers: Mapping[str, Scorer]
    weighed: Sequence[str]
    reward: CombinedReward | None
    batch_size: int

    def __call__(self, pictures: list[Picture], prompts: list[str]) -> dict[str, list[float]]:
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
