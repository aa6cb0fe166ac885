"""`fergi-reward extract`, `map-source` and `forget`: reactions of viewers, from their videos to their deletion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.options import Options, option, required
from fergi_reward.data.options import AU_SOURCE
from fergi_reward.reactions.backends import BACKENDS


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(Options):
    """The options of `fergi-reward extract`."""

    videos: Path = required(
        "A CSV with the columns video, user, session, image, consent (and kind, start, end, training), or the folder "
        "that holds it as manifest.csv."
    )
    backend: str = option("mediapipe", "What measures the face.", names=BACKENDS)
    backend_model: Path | None = option(
        None, "File of the backend's model. [default: downloaded once into ~/.cache/fergi_reward]", old=("model",)
    )
    out: Path = option(Path("reactions"), "The folder of reactions; earlier ones in it stay.")
    keep_video: bool = option(False, "Copy the videos into it, too; else only action units are written.")
    prune: bool = option(False, "Delete what the folder has of videos that the manifest does not name.")
    corrected: bool = option(False, "Rename the clips of deleted videos to match corrected rows of the manifest.")
    agreed_again: Sequence[str] = option(
        (), "Users who were forgotten and agreed again.", metavar="USER,...", repeated=True
    )


@command(resumes=True)
def extract(options: ExtractOptions) -> Answer:
    """Measure action units in videos of viewers who agreed; resumes where it was stopped."""
    from fergi_reward.reactions.backends import load_backend
    from fergi_reward.reactions.extract import extract as run

    measure = load_backend(options.backend, options.backend_model)
    done = run(
        options.videos,
        measure,
        options.out,
        keep_video=options.keep_video,
        prune=options.prune,
        corrected=options.corrected,
        agreed_again=tuple(options.agreed_again),
    )
    notes = list(done.notes)
    if done.failures:
        notes.append(f"{len(done.failures)} videos gave none: {options.out / 'errors.csv'}")
    if done.forgotten:
        notes.append(
            f"{done.forgotten} rows are of people who were forgotten, and were left out: take them out of "
            f"{options.videos}, or name with --agreed-again who agreed again"
        )
    manifest = options.out / "manifest.csv"
    values = {
        "reactions": done.clips,
        "manifest": str(manifest),
        "failures": len(done.failures),
        "forgotten": done.forgotten,
    }
    return Answer(f"{done.clips} reactions: {manifest}", values, notes, 3 if done.failures or done.forgotten else 0)


@dataclass(frozen=True, kw_only=True)
class MapSourceOptions(Options):
    """The options of `fergi-reward map-source`."""

    from_: Path = required("Reactions from one source, in either layout.")
    to: Path = required("Reactions from the source to map to.")
    unpaired: Literal["reaction", "baseline"] | None = option(
        None,
        "Compare the quantiles of these clips, of whatever people. [default: the same clips are in both folders]",
    )
    from_source: str | None = option(None, f"Of --from: {AU_SOURCE}")
    to_source: str | None = option(None, f"Of --to: {AU_SOURCE}")
    out: Path = option(Path("source_map.json"), "The map to write.")


@command
def map_source(options: MapSourceOptions) -> Answer:
    """Fit a map of AU4 from the scale of one source to that of another."""
    from fergi_reward.data.layouts import check_still_there, read_reactions
    from fergi_reward.reactions.source_map_fit import figures, fit_paired, fit_unpaired, summary

    folders = options.from_, options.to
    sides = read_reactions(folders[0], options.from_source), read_reactions(folders[1], options.to_source)
    fitted = fit_unpaired(*sides, options.unpaired) if options.unpaired else fit_paired(*sides)
    fitted.source_map.save(options.out)
    for side, folder in zip(sides, folders, strict=True):
        check_still_there(side, folder, options.out)
    return Answer(f"{summary(fitted)}\n\nmap: {options.out}", {"map": str(options.out), **figures(fitted)})


@dataclass(frozen=True, kw_only=True)
class ForgetOptions(Options):
    """The options of `fergi-reward forget`."""

    user: str = required("The participant.", positional=True)
    reactions: Path = option(Path("reactions"), "The folder of reactions.")
    calibrations: Path = option(Path(), "Where to look for what was fitted with them.")


@command
def forget(options: ForgetOptions) -> Answer:
    """Delete a participant's reactions and pairs, and name the fits and reports that hold them."""
    from fergi_reward.privacy import forget as run

    done = run(options.user, options.reactions, options.calibrations)
    lines = [
        f"user {options.user} is deleted from {options.reactions}: {done.clips} reactions",
        *([f"{sum(done.rows.values())} rows of theirs are deleted from the study's database"] if done.rows else []),
        "no extract brings them back; take them out of your own manifest and ratings, and delete their videos",
        *(f"{count} pairs of theirs are deleted from {path}" for path, count in done.files.pairs.items()),
        *(f"fitted with them: {path}; fit it again without them, or delete it" for path in done.files.fits),
        *(f"names them: {path}; write it again without them, or delete it" for path in done.files.others),
    ]
    notes = [f"may hold them and cannot be read: {path} ({reason})" for path, reason in done.files.unread.items()]
    values = {
        "user": options.user,
        "reactions": done.clips,
        "rows": dict(done.rows),
        "pairs": {str(path): count for path, count in done.files.pairs.items()},
        "fits": [str(path) for path in done.files.fits],
        "others": [str(path) for path in done.files.others],
        "unread": {str(path): reason for path, reason in done.files.unread.items()},
    }
    return Answer("\n".join(lines), values, notes, 3 if done.files.unread else 0, done.complaint)
