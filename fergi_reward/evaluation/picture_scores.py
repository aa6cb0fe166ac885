"""Every picture of a benchmark through every scorer, once: a table that is kept and used again."""

import hashlib
import json
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from fergi_reward.bulk.job import ScoringOptions, score_into, this_process
from fergi_reward.bulk.scoring import Score, Share
from fergi_reward.errors import FergiRewardError
from fergi_reward.evaluation.benchmarks.rankings import Benchmark
from fergi_reward.files import write_json


def picture_scores(benchmark: Benchmark, options: ScoringOptions, out: Path) -> pd.DataFrame | None:
    """The scores, computed where `out` does not have them yet; a run that was killed goes on.

    Args:
        benchmark: The pictures and their prompts.
        options: Which scorers, and how they are run.
        out: A folder for `scores.parquet`, `errors.csv` and a note of what the scores depend on, `scores.json`.

    Returns:
        A column a scorer, a row of the benchmark each, NaN where the picture cannot be read; None on all processes but
        the first.

    Raises:
        FergiRewardError: A scorer cannot be loaded, or `out` holds other scores.
    """
    path, note, columns = out / "scores.parquet", out / "scores.json", options.scorer_names
    noted = _noted(benchmark, options)
    if path.is_file() and note.is_file():
        if json.loads(note.read_text(encoding="utf-8")) != noted:
            raise FergiRewardError(f"{path} holds scores of a run with other options: delete it, or give another --out")
        if this_process()[0].rank:
            return None
    else:
        scoring = partial(_scoring, options)
        if score_into(path, benchmark.rows, benchmark.index, scoring, columns, noted, options) is None:
            return None
        write_json(note, noted)
    table = pd.read_parquet(path)
    numbers = [benchmark.numbers[key] for key in zip(table["image"], table["prompt"], strict=True)]
    return table[columns].astype(float).set_axis(numbers).reindex(range(len(benchmark.numbers)))


def _noted(benchmark: Benchmark, options: ScoringOptions) -> dict[str, str]:
    """What the scores depend on."""
    pictures = hashlib.sha256("\n".join(map(str, benchmark.numbers)).encode()).hexdigest()
    noted = {"dataset": benchmark.name, "place": benchmark.place, "pictures": pictures}
    return noted | {name: str(getattr(options, name)) for name in ("scorers", "checkpoints", "dtype")}


def _scoring(options: ScoringOptions, share: Share) -> Score:
    """The function that scores a batch with every scorer."""
    scorers = options.load_scorers(share)

    def score(pictures: list[Image.Image], prompts: list[str]) -> dict[str, list[float]]:
        size = options.batch_size
        return {name: scorer.score(pictures, prompts, batch_size=size).tolist() for name, scorer in scorers.items()}

    return score
