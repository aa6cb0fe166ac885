"""Do pairs that faces annotated make the emoji world's model better, without a reward and without a rank? A toy.

python eval/toy/emoji_dpo.py --seeds 3

For each seed: simulated viewers look at pictures, `annotate` says from their AU4 alone which of two pictures they
prefer, Diffusion-DPO learns from these pairs, and the judge, which no viewer and no model knows, compares what the
model draws before and after. The rule that says when a face says enough is the paper's, chosen for each viewer on the
ranks of the others; no pair comes from a rank.
"""

import subprocess
import sys
from pathlib import Path

import click
from emoji_adapter import compare
from emoji_finetune import fine_tune, write_comparison

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.toy.emoji import CALIBRATION, load_scorers

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--config", type=PATH, default=Path("configs/diffusion_dpo_emoji.yaml"), show_default=True)
@click.option("--participants", type=click.IntRange(min=3), default=30, show_default=True, help="Viewers per seed.")
@click.option("--sessions", type=click.IntRange(min=1), default=18, show_default=True, help="5 pictures each.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many seeds to try.")
@click.option("--first-seed", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--out", type=PATH, default=Path("runs/emoji_dpo"), show_default=True, help="A folder per seed.")
def main(config: Path, participants: int, sessions: int, seeds: int, first_seed: int, out: Path) -> None:
    """Annotate, train and judge from each seed; print and write a table."""
    reward = CombinedReward(load_scorers(), Calibration.load(CALIBRATION))
    results = []
    for seed in range(first_seed, first_seed + seeds):
        folder = out / f"seed_{seed}"
        pairs = annotated(participants, sessions, seed, folder)
        run = fine_tune(Path("training/diffusion_dpo.py"), config, seed, folder / "run", ["--pairs", str(pairs)])
        results.append(compare(run, seed, reward, folder))
    click.echo(write_comparison(results, config, out))


def annotated(participants: int, sessions: int, seed: int, folder: Path) -> Path:
    """The dataset of pairs that the faces of new viewers give."""
    viewers, pairs = folder / "viewers", folder / "pairs"
    size = ["--participants", str(participants), "--sessions", str(sessions)]
    command("data", "simulate", "--emoji", *size, "--seed", str(seed), "--out", str(viewers))
    pictures = ["--images", str(viewers), "--dataset", str(pairs), "--seed", str(seed)]
    out = ["--out", str(folder / "pairs.jsonl")]
    rule = ["--signals", "au4", "--rule", "paper", "--calibration", str(CALIBRATION)]
    command("annotate", "--data", str(viewers), *rule, *pictures, *out)
    return pairs


def command(*arguments: str) -> None:
    """Run `fergi-reward` with these arguments."""
    if subprocess.run([sys.executable, "-m", "fergi_reward", *arguments], check=False).returncode:
        raise FergiRewardError(f"fergi-reward {' '.join(arguments)} failed: its message is above")


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
