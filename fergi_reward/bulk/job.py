"""Rows through scorers into one table, on one process or several: what `score` and `evaluate` share."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fergi_reward.bulk.journal import Journal
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.results import Outcome, write_results
from fergi_reward.bulk.scoring import Engine, Score, Share, in_this_process, score_rows
from fergi_reward.devices import named_device
from fergi_reward.errors import FergiRewardError, MissingDependencyError
from fergi_reward.scorers.base import Scorer
from fergi_reward.scorers.registry import load_scorer, term_name


@dataclass(frozen=True)
class ScoringOptions:
    """Which scorers, and how they are run; see the help of the commands.

    Raises:
        FergiRewardError: Any of them cannot be used; all that is wrong is said at once.
    """

    scorers: str
    checkpoints: Sequence[str]
    batch_size: int
    workers: int
    device: str | None
    dtype: str

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise FergiRewardError("; ".join(problems))

    def problems(self) -> list[str]:
        """What is wrong with them."""
        terms = Counter(term_name(name) for name in self.scorer_names)
        unnamed = [text for text in self.checkpoints if not all(text.partition("="))]
        problems = [f"--checkpoint {text!r} must be NAME=FOLDER" for text in unnamed]
        return problems + [f"--scorers names {name} twice" for name, count in terms.items() if count > 1]

    @property
    def scorer_names(self) -> list[str]:
        """The names between the commas."""
        return [name.strip() for name in self.scorers.split(",")]

    def load_scorers(self, share: Share) -> dict[str, Scorer]:
        """The scorers by name, on this process's device.

        Raises:
            FergiRewardError: A checkpoint is given for no scorer, or cannot be loaded; there is no such device.
        """
        device = named_device(self.device)
        checkpoints = dict(text.split("=", 1) for text in self.checkpoints)
        if unknown := set(checkpoints) - set(self.scorer_names):
            raise FergiRewardError(f"--checkpoint names {', '.join(unknown)}, which --scorers does not")
        dtype = getattr(torch, self.dtype)
        return {
            name: load_scorer(name, checkpoints.get(name), device=device, dtype=dtype) for name in self.scorer_names
        }


def score_into(
    out: Path,
    rows: Callable[[], Iterator[Row]],
    index: Callable[[], Iterator[Row]],
    score: Callable[[Share], Score],
    columns: Sequence[str],
    noted: Mapping[str, str],
    options: ScoringOptions,
    engine: Engine = in_this_process,
) -> Outcome | None:
    """Score every row that is left, and write the table when all of them are there.

    Args:
        out: A `.parquet` or `.csv` file.
        rows: Streams the rows anew at every call.
        index: The same rows; their pictures are not looked at.
        score: What scores, for this process.
        columns: Names of the scores.
        noted: What the scores depend on: a journal of something else is not gone on with.
        options: How the scorers are run.
        engine: Where they are run.

    Returns:
        How many rows were scored and how many could not be; None on all processes but the first.
    """
    total = sum(1 for _ in index())
    share, wait = this_process()
    scored = engine(score, options.workers, share)
    journal = journal_of(out, noted)
    score_rows(rows, scored, journal, total=total, batch_size=options.batch_size, share=share)
    wait()
    return write_results(index(), columns, journal, out) if share.rank == 0 else None


def journal_of(out: Path, noted: Mapping[str, str]) -> Journal:
    """What was scored so far of a table.

    Raises:
        FergiRewardError: It is that of something else.
    """
    return Journal(out.with_name(f".{out.name}.journal"), noted)


def this_process() -> tuple[Share, Callable[[], None]]:
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
