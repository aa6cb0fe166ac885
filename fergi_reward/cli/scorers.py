"""`fergi-reward scorers` and `download`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.options import Options, option
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

    names: Sequence[str] = option(
        (), f"One or more of {', '.join(NAMES)}; several with spaces or commas between them.", positional=True
    )
    out: Path | None = option(
        None,
        "Fill the folders OUT/NAME, which --checkpoints NAME=OUT/NAME and --model OUT/NAME take, also offline. "
        "[default: the hub's cache]",
        old=("to",),
    )
    list_: bool = option(
        False, "Print the names, by default all, with size, license and what of them is here; no network is asked."
    )
    check: bool = option(False, "Compare what is in OUT/NAME with the digests that download wrote there; no network.")

    @property
    def asked(self) -> list[str]:
        """The names, one by one."""
        return [name for names in self.names for name in names.split(",") if name]

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = []
        if self.list_ and self.check:
            found.append("--list and --check exclude each other: give one of them")
        if not self.list_ and not self.asked:
            found.append(f"names are missing: give one or more of {', '.join(NAMES)}, or --list")
        if self.check and self.out is None:
            found.append("--check needs --out DIR, the folder that download --out filled, or a copy of it")
        return found


@command(resumes=True)
def download(options: DownloadOptions) -> Answer:
    """Download all files of scorers, base models and helpers, each checked; resumes where it was stopped.

    Sizes, licenses and the free disk are printed before it starts.
    """
    from fergi_reward.hub.published_fetch import fetch
    from fergi_reward.hub.published_state import check_copies, published_table

    if options.list_:
        from tabulate import tabulate

        table = published_table(options.out, options.asked)
        notes = ["here is by names and sizes, --check compares the content of a folder"]
        return Answer(tabulate(table, headers="keys", tablefmt="github"), {"published": table}, notes)
    values = {"names": options.asked, "out": options.out and str(options.out)}
    if options.check and options.out:
        count = check_copies(options.asked, options.out, _say)
        return Answer(f"all {count} files are there, as their SHA256SUMS says", values)
    fetch(options.asked, options.out, _say)
    return Answer("all files are there and right", values)


def _say(text: str) -> None:
    print(for_terminal(text), flush=True)
