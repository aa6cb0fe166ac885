"""What CombinedReward costs beyond its scorers, and what decoding costs in bulk: official sizes, random weights.

Seconds are CPU seconds of all threads, by turns, medians. OMP_NUM_THREADS=2 python eval/combined_overhead.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from tabulate import tabulate
from throughput import PROMPT, noise_pictures, write_checkpoint

from fergi_reward.images import open_picture
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer

SCORERS = ("image_reward", "pickscore", "hps_v2.0")


@click.command()
@click.option("--images", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(images: int, rounds: int) -> None:
    """Print CPU seconds of the combined reward, of its scorers one after the other, and of decoding."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pictures = noise_pictures(folder, images)
        scorers = []
        for name in SCORERS:
            (folder / name).mkdir()
            write_checkpoint(name, folder / name)
            scorers.append(load_scorer(name, folder / name))
        reward = CombinedReward.from_pretrained(scorers=scorers)
        tasks: dict[str, Callable[[], object]] = {
            "one after the other": lambda: [scorer.score(pictures, PROMPT) for scorer in scorers],
            "combined": lambda: reward.score(pictures, PROMPT),
            "decoding": lambda: [open_picture(picture) for picture in pictures],
        }
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(rounds):
            for name, task in tasks.items():
                started = time.process_time()
                task()
                seconds[name].append(time.process_time() - started)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    base = median["one after the other"]
    rows = [[name, f"{value:.2f}", f"{value / base:.3f}"] for name, value in median.items()]
    print(tabulate(rows, [f"{images} images", "CPU seconds", "ratio"], tablefmt="github"))


if __name__ == "__main__":
    main()
