"""The tables and figures of the FERGI paper (arXiv 2312.03187) that its public data allow, next to the published ones.

python eval/paper/fergi_paper.py --out runs/fergi_paper
"""

import shlex
import sys
from pathlib import Path

import click
from paper_figures import compare, compute
from paper_report import paper_report

from fergi_reward.cli.errors import clean_exit
from fergi_reward.data.fergi import locate, read_emotions, read_fergi
from fergi_reward.report.write import write_report

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--data", type=PATH, help="The FERGI folder.  [default: $FERGI_DATA]")
@click.option("--out", type=PATH, required=True, help="A folder for report.html, report.md, report.json and plots.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The published figures are of 0."
)
def main(data: Path | None, out: Path, seed: int) -> None:
    """Compute everything, write the report, and say what differs."""
    folder = locate(data)
    preferences = read_fergi(folder)
    command = shlex.join(["python", "eval/paper/fergi_paper.py", *sys.argv[1:]])
    figures = compute(preferences, read_emotions(folder, preferences.users), seed, command)
    report = paper_report(figures)
    print("\n".join(report.verdict))
    for one in compare(figures):
        if not one.agrees:
            print(f"differs: {', '.join(one.key)}: computed {one.computed:.7g}, published {one.published}")
    print(write_report(report, out))


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
