"""Rows through scorers into one table, on one process or several: what `score` and `evaluate` share."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.options import ScoringOptions
from fergi_reward.bulk.results import Further, Outcome, write_results
from fergi_reward.bulk.scoring import Engine, Load, RowKeys, Share, in_this_process, score_rows
from fergi_reward.core.devices import named_device
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files.locks import owned
from fergi_reward.files.store import Store
from fergi_reward.scorers.fastest_dtype import fastest_dtype
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import load_scorer


def load_scorers(options: ScoringOptions, share: Share) -> dict[str, LoadedScorer]:
    """The scorers by name, on this process's device.

    Raises:
        FergiRewardError: A checkpoint cannot be loaded, or there is no such device.
    """
    device, places = named_device(options.device), options.checkpoints or {}
    dtype = _fastest(device, share) if options.dtype == "auto" else getattr(torch, options.dtype)
    return {name: load_scorer(name, places.get(name), device=device, dtype=dtype) for name in options.scorer_names}


def _fastest(device: torch.device, share: Share) -> torch.dtype:
    """The faster data type, in words too; one table must not hold scores of two."""
    if share.processes > 1:
        raise FergiRewardError(
            f"--dtype auto is measured by each of the {share.processes} processes, which may disagree: give float32 or "
            "bfloat16"
        )
    chosen = fastest_dtype(device)
    print(f"dtype auto: {str(chosen).removeprefix('torch.')} is the faster one here", file=sys.stderr)
    return chosen


def load_batch_scores(options: ScoringOptions, share: Share) -> BatchScores:
    """What scores a batch by all scorers."""
    return BatchScores(load_scorers(options, share), options.batch_size)


def score_into(
    out: Path,
    rows: Callable[[], Iterator[Row]],
    total: int,
    load: Load,
    columns: Sequence[str],
    options: ScoringOptions,
    *,
    further: Further | None = None,
    engine: Engine = in_this_process,
    keep: bool = False,
) -> Outcome | None:
    """Score every row that is left, and write the table when all of them are there.

    Args:
        out: A `.parquet` or `.csv` file; who calls this owns it.
        rows: Streams the rows again at every call.
        total: How many rows there are.
        load: Loads what scores, for this process.
        columns: Names of the scores, then of what `further` gives.
        options: How the scorers are run.
        further: As in `write_results`.
        engine: Where the scorers are run.
        keep: The scores of these rows stay in the store, for a run with other pictures or prompts.

    Returns:
        How many rows were scored and how many could not be; None on all processes but the first.
    """
    share, _ = this_process()
    with engine(load, options.workers, share) as running:
        keys = RowKeys(Store(store_folder(out)), running.context)
        kept = score_rows(rows, running, keys, total=total, batch_size=options.batch_size, share=share)
    kept = _summed(kept, share)
    if share.rank:
        return None
    keys.store.read()
    outcome = replace(write_results(rows(), columns, keys, out, further), kept=kept)
    if keep:
        paths = (row.source for row in rows() if isinstance(row.source, Path))
        keys.store.keep([*map(keys.of, rows()), *keys.digests.keys(paths)])
    else:
        keys.store.delete()
    return outcome


def _summed(count: int, share: Share) -> int:
    """The sum over all processes, which wait for each other here."""
    if share.processes == 1:
        return count
    from accelerate.utils import gather_object

    return int(sum(gather_object([count])))


def store_folder(out: Path) -> Path:
    """Where the scores of a table are kept while it is not complete."""
    return out.with_name(f".{out.name}.journal")


@contextmanager
def owned_by_one_run(out: Path) -> Iterator[None]:
    """The first of the processes of this run owns `out`; the others begin when it does.

    Raises:
        FergiRewardError: Another run writes it.
    """
    share, wait = this_process()
    with nullcontext() if share.rank else owned(out):
        wait()
        yield


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
