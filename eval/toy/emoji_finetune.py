"""Does fine-tuning make the emoji world's model better, by a judge that no reward knows? A toy, over several seeds.

python eval/toy/emoji_finetune.py --seeds 3
python eval/toy/emoji_finetune.py --program training/flow_grpo.py --config configs/flow_grpo_emoji.yaml
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import yaml
from emoji_adapter import Figures, compare
from tabulate import tabulate

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_json
from fergi_reward.reward import CombinedReward
from fergi_reward.toy.emoji import CALIBRATION, LABEL, load_scorers

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--program", type=PATH, default=Path("training/ddpo.py"), show_default=True, help="What trains.")
@click.option("--config", type=PATH, default=Path("configs/ddpo_emoji.yaml"), show_default=True, help="Its options.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds 0, 1, ... to try.")
@click.option("--out", type=PATH, default=Path("runs/emoji_finetune"), show_default=True, help="A folder per seed.")
def main(program: Path, config: Path, seeds: int, out: Path) -> None:
    """Fine-tune from each seed; judge the same captions and noise before and after; print and write a table."""
    model = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
    reward = CombinedReward(load_scorers(), Calibration.load(CALIBRATION))
    results = []
    for seed in range(seeds):
        folder = out / f"seed_{seed}"
        results.append(compare(fine_tune(program, config, seed, folder), seed, reward, folder, model))
    click.echo(write_comparison(results, config, out))


def write_comparison(results: Sequence[dict[str, Figures]], config: Path, out: Path) -> str:
    """Write results.json and results.md, and return the table in it."""
    write_json(out / "results.json", {"what": f"a {LABEL}", "config": str(config), "seeds": list(results)})
    rows = [
        [name, *(spread([result[when][name] for result in results]) for when in ("before", "after"))]
        for name in results[0]["before"]
    ]
    table = tabulate(rows, [f"a {LABEL}, {len(results)} seeds: mean (range)", "before", "after"], tablefmt="github")
    (out / "results.md").write_text(table + "\n", encoding="utf-8")
    return table


def fine_tune(program: Path, config: Path, seed: int, folder: Path, options: Sequence[str] = ()) -> Path:
    """Train from a seed, with further options; returns the adapter."""
    arguments = ["--config", str(config), "--seed", str(seed), "--output_dir", str(folder), *options]
    if subprocess.run([sys.executable, str(program), *arguments], check=False).returncode:
        raise FergiRewardError(f"{program} failed with --seed {seed}: its message is above")
    return folder / "lora"


def spread(values: list[float]) -> str:
    """The mean and the range.

    >>> spread([1.0, 2.0])
    '1.500 (1.000 to 2.000)'
    """
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
