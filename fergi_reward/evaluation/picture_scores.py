"""Every picture through every scorer, once: a table that is kept and used again."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd

from fergi_reward.bulk.job import ScoringOptions, journal_of, score_into, this_process
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.results import errors_file
from fergi_reward.bulk.scoring import Score, Share
from fergi_reward.errors import FergiRewardError
from fergi_reward.evaluation.benchmarks.rankings import Benchmark
from fergi_reward.files import write_json
from fergi_reward.images import Picture
from fergi_reward.report.provenance import place_without_folders
from fergi_reward.scorers.base import Scorer
from fergi_reward.scorers.registry import scorer_table


def picture_scores(benchmark: Benchmark, options: ScoringOptions, out: Path) -> pd.DataFrame | None:
    """The scores of a benchmark's pictures, computed where `out` does not have them yet.

    Args:
        benchmark: The pictures and their prompts.
        options: Which scorers, and how they are run.
        out: As in `kept_scores`.

    Returns:
        A column a scorer, a row of the benchmark each, NaN where the picture cannot be read; None on all processes but
        the first.

    Raises:
        FergiRewardError: A scorer cannot be loaded, or `out` holds other scores.
    """
    columns = options.scorer_names
    scoring = partial(scoring_with, options.load_scorers, options.batch_size)
    table = kept_scores(out, benchmark.rows, benchmark.index, scoring, columns, _noted(benchmark, options), options)
    if table is None:
        return None
    numbers = [benchmark.numbers[key] for key in zip(table["image"], table["prompt"], strict=True)]
    return table[columns].set_axis(numbers).reindex(range(len(benchmark.numbers)))


def kept_scores(
    out: Path,
    rows: Callable[[], Iterator[Row]],
    index: Callable[[], Iterator[Row]],
    scoring: Callable[[Share], Score],
    columns: list[str],
    noted: Mapping[str, str],
    options: ScoringOptions,
) -> pd.DataFrame | None:
    """The scores in `out`, computed where not all of them are there yet; a run that was killed goes on.

    Args:
        out: A folder for `scores.parquet`, what could not be scored (`scores.errors.csv`), and a note of what the
            scores depend on, `scores.json`.
        rows: Streams the rows anew at every call.
        index: The same rows; their pictures are not looked at.
        scoring: What scores, for a process.
        columns: Names of the scores.
        noted: What the scores depend on.
        options: How the scorers are run.

    Returns:
        `image`, `prompt` and the columns in float64, a row each that could be scored; None on all processes but the
        first.

    Raises:
        FergiRewardError: A scorer cannot be loaded, or `out` holds other scores.
    """
    path, note = out / "scores.parquet", out / "scores.json"
    kept = path.is_file() and note.is_file()
    if kept and json.loads(note.read_text(encoding="utf-8")) != noted:
        raise FergiRewardError(f"{path} holds scores of a run with other options: delete it, or give another --out")
    if not kept or errors_file(path).is_file():
        if kept:  # what could not be read then may be there now
            _take_over(path, index, columns, noted, options.batch_size)
        if score_into(path, rows, index, scoring, columns, noted, options) is None:
            return None
        write_json(note, noted)
    elif this_process()[0].rank:
        return None
    return pd.read_parquet(path).astype(dict.fromkeys(columns, float))


def _take_over(
    path: Path, index: Callable[[], Iterator[Row]], columns: list[str], noted: Mapping[str, str], batch_size: int
) -> None:
    """Put the whole batches of a table into its journal, so that only the others are scored, as if for the first time.

    In a batch with others a score may have another last bit than alone.
    """
    share, wait = this_process()
    journal = journal_of(path, noted) if share.rank == 0 else None
    if journal and not journal.done():
        table = pd.read_parquet(path)
        keys = zip(table["image"], table["prompt"], strict=True)
        known = dict(zip(keys, table[columns].to_dict("records"), strict=True))
        rows = index()
        with journal.appending(share.rank) as append:
            while batch := list(islice(rows, batch_size)):
                scores = [known.get((row.image, row.prompt)) for row in batch]
                if None not in scores:
                    append([(row.number, {"scores": found}) for row, found in zip(batch, scores, strict=True)])
    wait()


def checkpoints_of(options: ScoringOptions) -> dict[str, str]:
    """The checkpoint of each scorer, for a report: one of the hub at its revision, or the folder that was given."""
    pinned = {row["name"]: f"{row['checkpoint']} at {row['revision']}" for row in scorer_table()}
    given = {name: place_without_folders(place) for name, place in (text.split("=", 1) for text in options.checkpoints)}
    return {name: given.get(name, pinned[name]) for name in options.scorer_names}


def _noted(benchmark: Benchmark, options: ScoringOptions) -> dict[str, str]:
    """What the scores depend on."""
    pictures = hashlib.sha256("\n".join(map(str, benchmark.numbers)).encode()).hexdigest()
    noted = {"dataset": benchmark.name, "place": benchmark.place, "pictures": pictures}
    return noted | {name: str(getattr(options, name)) for name in ("scorers", "checkpoints", "dtype")}


def scoring_with(load: Callable[[Share], Mapping[str, Scorer]], batch_size: int, share: Share) -> Score:
    """The function that scores a batch with every scorer; what `load` gives is loaded now."""
    scorers = load(share)

    def score(pictures: list[Picture], prompts: list[str]) -> dict[str, list[float]]:
        return {
            name: scorer.score(pictures, prompts, batch_size=batch_size).tolist() for name, scorer in scorers.items()
        }

    return score
