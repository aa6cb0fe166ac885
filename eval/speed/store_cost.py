"""What it costs `score` to know rows by their content: made pictures through a toy scorer, with and without the store.

Without: the batches are scored in the same way, nothing is hashed, looked up or written. Prints medians in seconds of
processor time, so that it matters little what else the machine does; both ways take turns.
"""

import argparse
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch
from measure import by_turns, timed
from PIL import Image

from fergi_reward.bulk.batch_scores import BatchScores, Prepared
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.results import write_results
from fergi_reward.bulk.scoring import RowKeys, Share, in_this_process, score_rows
from fergi_reward.files.store import Store
from fergi_reward.images import made_of
from fergi_reward.scorers.base import chunks
from fergi_reward.toy import emoji

BATCH = 8


def main() -> None:
    """Print the medians and what the store adds, in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _rows(folder, options.pictures)
        scores = BatchScores(dict(zip(emoji.checkpoints(), emoji.load_scorers(), strict=True)), BATCH)
        ways = {"without": lambda: _without(rows, scores), "with": lambda: _with(rows, scores, folder)}
        tasks = {way: timed(work, time.process_time) for way, work in ways.items()}
        plain, stored = map(median, by_turns(tasks, options.rounds, "rounds").values())
    print(
        f"{options.pictures} pictures: {plain:.2f} s without, {stored:.2f} s with: {100 * (stored / plain - 1):+.1f} %"
    )


def _rows(folder: Path, count: int) -> list[Row]:
    draws, rows = np.random.default_rng(0), []
    for number in range(count):
        coarse = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC).save(path)
        rows.append(Row(number, path.name, path, f"a cat, number {number}"))
    return rows


def _without(rows: list[Row], scores: BatchScores) -> None:
    with ThreadPoolExecutor(1) as pool:  # the next batch is decoded meanwhile, as there
        waiting: list[tuple[Future[Prepared], str]] = []
        for batch in [*chunks(rows, BATCH), []]:
            following = [(pool.submit(made_of, row.source, scores.prepared), row.prompt) for row in batch]
            if waiting:
                scores([prepared.result() for prepared, _ in waiting], [prompt for _, prompt in waiting])
            waiting = following


def _with(rows: list[Row], scores: BatchScores, folder: Path) -> None:
    store = Store(folder / "store")
    keys, share = RowKeys(store, scores.context), Share()
    with in_this_process(lambda _: scores, 1, share) as running:
        score_rows(lambda: iter(rows), running, keys, total=len(rows), batch_size=BATCH, share=share)
    write_results(rows, scores.names, keys, folder / "scores.csv")
    store.delete()


if __name__ == "__main__":
    main()
