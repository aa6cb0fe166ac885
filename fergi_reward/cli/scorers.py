"""`fergi-reward scorers` and `download`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.options import Options, option, required
from fergi_reward.core.terminal import for_terminal
from fergi_reward.hub.published import NAMES


@command
def scorers() -> Answer:
    """Print the scorers: names, licenses, checkpoints, pinned revisions, files and sizes; those of other packages."""
    from tabulate import tabulate

    from fergi_reward.scorers.registry import foreign_table, scorer_table

    own, foreign = scorer_table(), foreign_table()
    tables = [tabulate(table, headers="keys", tablefmt="github") for table in (own, foreign) if table]
    return Answer("\n\n".join(tables), {"scorers": own, "of_other_packages": foreign})


@dataclass(frozen=True, kw_only=True)
class DownloadOptions(Options):
    """The options of `fergi-reward download`."""

    names: Sequence[str] = required(f"One or more of {', '.join(NAMES)}.", positional=True)
    out: Path | None = option(
        None,
        "Fill the folders OUT/NAME, which --checkpoints NAME=OUT/NAME and --model OUT/NAME take, also offline. "
        "[default: the hub's cache]",
        old=("to",),
    )


@command(resumes=True)
def download(options: DownloadOptions) -> Answer:
    """Download all files of scorers, base models and helpers, each checked; resumes where it was stopped.

    Sizes, licenses and the free disk are printed before it starts.
    """
    from fergi_reward.hub.published_fetch import fetch as run

    run(options.names, options.out, lambda text: print(for_terminal(text)))
    values = {"names": list(options.names), "out": options.out and str(options.out)}
    return Answer("all files are there and right", values)
