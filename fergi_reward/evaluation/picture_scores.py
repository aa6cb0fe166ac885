"""Every picture through every scorer, once: a table that is kept and used again."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.job import load_batch_scores, score_into
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.options import ScoringOptions
from fergi_reward.bulk.scoring import Load, Share
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.scored_by import warn_of_other_scorers
from fergi_reward.core.places import place_without_folders
from fergi_reward.evaluation.benchmarks.rankings import Benchmark
from fergi_reward.files.digests import folder_fingerprint
from fergi_reward.scorers.registry import REGISTRY, scorer_table


def picture_scores(
    benchmark: Benchmark, options: ScoringOptions, calibrations: Mapping[str, Calibration], out: Path
) -> pd.DataFrame | None:
    """The scores of a benchmark's pictures, computed where the store in `out` does not have them yet.

    Args:
        benchmark: The pictures and their prompts.
        options: Which scorers, and how they are run.
        calibrations: Which will weigh the scores: a scorer of other weights than theirs is warned of.
        out: As in `kept_scores`.

    Returns:
        A column per scorer, a row per row of the benchmark, NaN where the picture cannot be read; None on all processes
        except the first.

    Raises:
        FergiRewardError: A scorer cannot be loaded.
    """
    columns, total = options.scorer_names, len(benchmark.numbers)
    table = kept_scores(out, benchmark.rows, total, partial(_load, options, calibrations), columns, options)
    if table is None:
        return None
    numbers = [benchmark.numbers[key] for key in zip(table["image"], table["prompt"], strict=True)]
    return table[columns].set_axis(numbers).reindex(range(total))


def _load(options: ScoringOptions, calibrations: Mapping[str, Calibration], share: Share) -> BatchScores:
    loaded = load_batch_scores(options, share)
    if not share.rank:
        warn_of_other_scorers(calibrations.values(), loaded.scorers.values())
    return loaded


def kept_scores(
    out: Path,
    rows: Callable[[], Iterator[Row]],
    total: int,
    load: Load,
    columns: list[str],
    options: ScoringOptions,
) -> pd.DataFrame | None:
    """Scores that stay in the folder `out`, so that only what is new or has changed is scored.

    Args:
        out: A folder for `scores.parquet`, `scores.parquet.errors.csv` with what has no scores, and the store of both.
        rows: Streams the rows again at every call.
        total: How many rows there are.
        load: Loads what scores, for a process.
        columns: Names of the scores.
        options: How the scorers are run.

    Returns:
        `image`, `prompt` and the columns in float64, a row each that could be scored; None on all processes but the
        first.

    Raises:
        FergiRewardError: A scorer cannot be loaded.
    """
    path = out / "scores.parquet"
    if score_into(path, rows, total, load, columns, options, keep=True) is None:
        return None
    return pd.read_parquet(path).astype(dict.fromkeys(columns, float))


def checkpoints_of(options: ScoringOptions) -> dict[str, str]:
    """The checkpoint of each scorer, for a report: of the hub at its revision, the given one, or who brings it."""
    pinned = {row["name"]: f"{row['checkpoint']} at {row['revision']}" for row in scorer_table()}
    given = {name: _given(place) for name, place in (options.checkpoints or {}).items()}
    known = pinned | given
    return {name: known[name] if name in known else f"of {REGISTRY.get(name).origin}" for name in options.scorer_names}


def _given(place: str) -> str:
    """What `--checkpoints` names; a folder with the beginning of its fingerprint, as its name says little."""
    name = place_without_folders(place)
    return f"{name} (SHA-256 {folder_fingerprint(Path(place))[:16]})" if Path(place).is_dir() else name
