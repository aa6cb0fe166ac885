"""`fergi-reward data` and `activations`: the FERGI data, simulated ones, and what is computed from their frames."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import App

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.options import Options, option, required, seed_option
from fergi_reward.data.options import FERGI_PLACE

app = App(name="data", help="Get the FERGI data, or simulate some.")


@dataclass(frozen=True, kw_only=True)
class FetchOptions(Options):
    """The options of `fergi-reward data fetch`."""

    out: Path | None = option(None, "The folder to fill. [default: ~/.cache/fergi_reward/fergi]", old=("to",))


@app.command
@command(resumes=True)
def fetch(options: FetchOptions) -> Answer:
    """Download FERGI (85 MB) and check every file; resumes where it was stopped."""
    from fergi_reward.data.fergi import default_folder
    from fergi_reward.data.fergi_fetch import fetch as run

    folder = options.out or default_folder()
    run(folder)
    return Answer(f"FERGI is in {folder}", {"folder": str(folder)})


@dataclass(frozen=True, kw_only=True)
class SimulateOptions(Options):
    """The options of `fergi-reward data simulate`."""

    out: Path = required("The folder to write.")
    participants: int = option(12, "How many viewers.", at_least=3)
    sessions: int = option(8, "Sessions of five images per viewer.", at_least=1)
    seed: int = seed_option(0, "Two runs with one seed write the same files.")
    emoji: bool = option(False, "Let them look at pictures of the emoji world, scored by its own scorers.")


@app.command
@command
def simulate(options: SimulateOptions) -> Answer:
    """Write a simulated FERGI: the real layout, made-up viewers."""
    counts = {"participants": options.participants, "sessions": options.sessions}
    if options.emoji:
        from fergi_reward.toy.emoji import load_scorers
        from fergi_reward.toy.emoji.viewers import write_emoji_fergi

        write_emoji_fergi(options.out, load_scorers(), **counts, seed=options.seed)
    else:
        from fergi_reward.data.simulated import write_simulated_fergi

        write_simulated_fergi(options.out, **counts, seed=options.seed)
    text = f"a simulated FERGI, {options.participants} participants with {options.sessions} sessions each, is in"
    return Answer(f"{text} {options.out}", {"folder": str(options.out), **counts})


@dataclass(frozen=True, kw_only=True)
class ActivationsOptions(Options):
    """The options of `fergi-reward activations`."""

    data: Path | None = option(None, f"The FERGI folder. {FERGI_PLACE}")
    out: Path = option(Path("activations.csv"), "The table to write.")
    skip_bad: bool = option(False, "Leave out rows that are damaged, and list them.")


@command
def activations(options: ActivationsOptions) -> Answer:
    """Compute the activation of every action unit of every valid clip from the frames."""
    from fergi_reward.data.fergi import activations_from_frames, locate, read_images
    from fergi_reward.files.atomic import atomic_path
    from fergi_reward.files.csv_files import disarmed
    from fergi_reward.files.csv_numbers import BadRows

    bad = BadRows(options.skip_bad)
    folder = locate(options.data)
    table = activations_from_frames(folder, read_images(folder, bad), bad)
    with atomic_path(options.out) as path:
        table.assign(user=table["user"].map(disarmed)).to_csv(path, index=False)
    notes = [f"left out: {row}" for row in bad.found]
    values = {"clips": len(table), "out": str(options.out)}
    return Answer(f"{len(table)} valid clips: {options.out}", values, notes)
