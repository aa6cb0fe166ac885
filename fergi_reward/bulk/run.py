"""`fergi-reward score`: from options to a table of scores, on one process or several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.job import ScoringOptions, owned_by_one_run, score_into
from fergi_reward.bulk.manifest import Row, folder_rows, read_manifest
from fergi_reward.bulk.results import Further, Outcome, errors_file
from fergi_reward.bulk.scoring import Engine, Share, in_this_process
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.files.prompts import read_prompts
from fergi_reward.reward import CombinedReward
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
        if self.images.exists() and (errors := errors_file(self.out)).exists() and errors.samefile(self.images):
            problems.append(f"--images {self.images} is where --out {self.out} lists what has no scores: rename one")
        if self.images.is_dir() and self.prompts is None:
            problems.append(f"--images {self.images} is a folder, which needs --prompts FILE")
        if not self.images.is_dir() and self.prompts is not None:
            problems.append(f"--images {self.images} is no folder, and a manifest holds its own prompts")
        return problems

    def rows(self) -> Iterator[Row]:
        """The rows, streamed again at every call."""
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
    further = _rewards_of(options.calibration, options.scorer_names) if options.calibration is not None else None
    with owned_by_one_run(options.out):
        total, engine = sum(1 for _ in options.rows()), _engine(options.engine)
        load = partial(_load, options)
        return score_into(
            options.out, options.rows, total, load, options.columns(), options, further=further, engine=engine
        )


def _load(options: BulkOptions, share: Share) -> BatchScores:
    return BatchScores(options.load_scorers(share), options.batch_size)


def _engine(name: str) -> Engine:
    """Where batches are scored; Ray is imported only where it is asked for."""
    if name == "local":
        return in_this_process
    from fergi_reward.bulk.ray_engine import on_ray

    return on_ray


def _rewards_of(calibration: Path, scorers: Sequence[str]) -> Further:
    """The function that gives the reward of those scorers that the calibration weighs."""
    weights = Calibration.named(calibration)
    columns = {term_name(name): name for name in scorers if term_name(name) in weights.scorers}
    reward = CombinedReward(list(columns), weights)  # a missing fit shows before gigabytes are loaded

    def rewards(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
        terms = {term: torch.tensor([row[name] for row in rows]) for term, name in columns.items()}
        return {"reward": reward.combine(terms, [row["prompt"] for row in rows]).total.tolist()}

    return rewards
