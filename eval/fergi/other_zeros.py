"""Is AU4's activation better counted from the person's baseline than from the first mean of the clip? On FERGI.

python eval/fergi/other_zeros.py
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd
from tabulate import tabulate

from fergi_reward.calibration.protocols import calibrate
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.progress import Progress
from fergi_reward.data.fergi import clip_files, locate, read_clip, read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.csv_numbers import BadRows
from fergi_reward.reactions.clip import moving_means
from fergi_reward.reactions.sources import FERGI
from fergi_reward.reactions.table import KEY


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder.  [default: $FERGI_DATA]")
def main(data: Path | None) -> None:
    """Print how PickScore with AU4 does on people left out, by what AU4's activation is counted from."""
    folder = locate(data)
    table = read_fergi(folder)
    levels = clip_levels(folder, table)
    activations = other_activations(table.images[[*KEY, "au4"]], levels)
    known = activations.notna().all(axis=1)
    rows = []
    for name in activations:
        images = table.images.assign(au4=activations[name].where(known))
        own = PreferenceTable(images, table.baseline, table.au_source)
        found = calibrate(own, "bradley-terry", scorers=["pickscore"]).results
        numbers = [f"{found[model].accuracy:.2%} / {found[model].log_loss:.4f}" for model in ("au4", "pickscore+au4")]
        rows.append([name, found["au4"].pairs, *numbers])
    print(tabulate(rows, ["AU4's activation is", "pairs", "AU4 alone", "PickScore and AU4"], tablefmt="github"))


def clip_levels(folder: Path, table: PreferenceTable) -> pd.DataFrame:
    """The first, highest, mean and median moving mean of AU4 in each valid clip, and its kind."""
    rows, bad = [], BadRows()
    for file in Progress(clip_files(folder, table.images[KEY]), desc="levels", unit="clip"):
        clip = read_clip(file, folder, FERGI, bad)
        if clip is None or not clip.is_valid():
            continue
        means = moving_means(clip.timestamps, clip.intensities, clip.valid_frames())
        au4 = means[np.isfinite(means).all(axis=1), clip.action_units.index("au4")]
        if len(au4):
            figures = au4[0], au4.max(), au4.mean(), np.median(au4)
            rows.append((file.kind, file.user, file.session, file.image, *figures))
    return pd.DataFrame(rows, columns=["kind", *KEY, "first", "highest", "mean", "median"])


def other_activations(images: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """A column per way to count, of the same images."""
    reaction, baseline = (levels[levels["kind"] == kind] for kind in ("reaction", "baseline"))
    people = baseline.assign(noise=baseline["highest"] - baseline["first"]).groupby("user")
    floor, level = (images["user"].map(people[name].median()) for name in ("noise", "median"))
    seen = images.merge(reaction, on=KEY, how="left")
    before = images.merge(baseline, on=KEY, how="left")["mean"]
    ways = {
        "the highest mean less the first one": images["au4"],
        "the same, less the person's median in baseline clips": images["au4"] - floor,
        "the highest mean less the mean of the baseline before": seen["highest"] - before,
        "the highest mean less the person's median level": seen["highest"] - level,
        "the mean less the mean of the baseline before": seen["mean"] - before,
    }
    return pd.DataFrame(ways).clip(lower=0)


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
