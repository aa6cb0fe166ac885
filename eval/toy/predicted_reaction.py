"""Does a predicted reaction help fine-tuning, by a judge that no reward knows? The emoji world, a toy, over seeds.

python eval/toy/predicted_reaction.py --seeds 3

Viewers who are not those of the calibration look at pictures, the predictor is fitted on their faces, and each seed is
fine-tuned twice on the same calibration: with the weights fitted without AU4, and with the AU4 valence predicted.
"""

from pathlib import Path

import click
from emoji_adapter import Figures, compare
from emoji_finetune import fine_tune, spread
from tabulate import tabulate

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.errors import clean_exit
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.shown_pictures import read_pictures
from fergi_reward.faces.face import AU4
from fergi_reward.faces.predicted import TOWER
from fergi_reward.faces.run import fit_predictor, summary
from fergi_reward.files.atomic import write_json
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.toy.emoji import CALIBRATION, LABEL, SCORERS, checkpoints, load_scorers
from fergi_reward.toy.emoji.viewers import write_emoji_fergi

PATH = click.Path(path_type=Path)
# The calibration's viewers are those of seed 0.
VIEWERS_SEED = 1
FIGURES = ("held_out/psnr", "held_out/right_object", "held_out/right_colour", "seen/psnr")


@click.command()
@click.option("--program", type=PATH, default=Path("training/ddpo.py"), show_default=True, help="What trains.")
@click.option("--config", type=PATH, default=Path("configs/ddpo_emoji.yaml"), show_default=True, help="Its options.")
@click.option("--participants", type=click.IntRange(min=5), default=60, show_default=True, help="Viewers to fit on.")
@click.option("--sessions", type=click.IntRange(min=1), default=30, show_default=True, help="5 pictures each.")
@click.option("--first_seed", type=int, default=0, show_default=True, help="The first seed to try.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many, one after another.")
@click.option("--pessimism", type=float, default=1.0, show_default=True, help="Uncertainties to subtract.")
@click.option("--out", type=PATH, default=Path("runs/predicted_reaction"), show_default=True, help="A folder per seed.")
def main(
    program: Path,
    config: Path,
    participants: int,
    sessions: int,
    first_seed: int,
    seeds: int,
    pessimism: float,
    out: Path,
) -> None:
    """Fit, fine-tune both ways from each seed (runs that are finished are kept), judge, print and write a table."""
    if not (out / "predictor").exists():
        fit(out, participants, sessions)
    ways = {"without": [], "predicted": ["--predictor", str(out / "predictor"), "--reaction_pessimism", str(pessimism)]}
    reward = CombinedReward(load_scorers(), Calibration.load(CALIBRATION))
    results = []
    for seed in range(first_seed, first_seed + seeds):
        judged: dict[str, dict[str, Figures]] = {}
        for way, options in ways.items():
            folder = out / f"seed_{seed}" / way
            adapter = folder / "lora"
            if not adapter.exists():
                fine_tune(program, config, seed, folder, options)
            judged |= {way: compare(adapter, seed, reward, folder)}
        results.append({"seed": seed, "before": judged["without"]["before"]})
        results[-1] |= {way: judged[way]["after"] for way in ways}
    write_json(out / "results.json", {"what": f"a {LABEL}", "config": str(config), "seeds": results})
    click.echo(table(results))


def fit(out: Path, participants: int, sessions: int) -> None:
    """Simulate viewers and fit the predictor on them, at the decay of the calibration."""
    viewers = out / "viewers"
    write_emoji_fergi(viewers, load_scorers(), participants=participants, sessions=sessions, seed=VIEWERS_SEED)
    decay = Calibration.load(CALIBRATION).fit_for([*SCORERS, AU4]).decay or 0.0
    tower = PickScorer.from_pretrained(checkpoints()[TOWER])
    predictor = fit_predictor(read_fergi(viewers), read_pictures(viewers), tower, decay=decay, batch_size=128)
    predictor.save(out / "predictor")
    click.echo(summary(predictor))


def table(results: list[dict[str, dict[str, float]]]) -> str:
    """Mean and range of each figure, before and after both ways, and of the difference between these."""
    rows = []
    for name in FIGURES:
        columns = [[result[when][name] for result in results] for when in ("before", "without", "predicted")]
        gains = [predicted - without for without, predicted in zip(*columns[1:], strict=True)]
        rows.append([name, *map(spread, [*columns, gains])])
    header = [f"a {LABEL}, {len(results)} seeds: mean (range)", "before", "without AU4", "AU4 predicted", "gain"]
    return tabulate(rows, header, tablefmt="github")


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
