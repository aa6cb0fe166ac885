"""The command `fergi-reward`: thin, every command is one call into the library."""

import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fergi_reward.calibration.registry import PROTOCOLS
from fergi_reward.cli.config_file import NAMES, read_config
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import Interrupted, raised
from fergi_reward.core.registry import Registry
from fergi_reward.core.terminal import for_terminal, one_line
from fergi_reward.evaluation.benchmarks import BENCHMARKS
from fergi_reward.hub.published import NAMES as PUBLISHED_NAMES
from fergi_reward.reactions.backends import BACKENDS
from fergi_reward.version import __version__

if TYPE_CHECKING:
    from fergi_reward.report.record import Report


class UserMistake(click.ClickException):
    """A mistake of the user's: one sentence, exit status 2."""

    exit_code = 2


def say(text: object, *, err: bool = False) -> None:
    """Print a text; no name or prompt in it reaches the terminal as a command."""
    click.echo(for_terminal(str(text)), err=err)


# Commands that go on where they were stopped; the others begin again.
RESUMING = {"score", "best-of", "extract", "evaluate", "download"}


class Command(click.Command):
    """Refuses to write over a file that it reads."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command."""
        read = ctx.params | {"config": ctx.meta.get("config")}
        files = {name: path for name, path in read.items() if isinstance(path, Path) and path.is_file()}
        out = files.pop("out", None)
        for option in self.params:
            if out and option.name in files and out.samefile(files[option.name]):
                raise FergiRewardError(f"--out {out} is the file of {option.opts[0]}, which is read: choose another")
        return super().invoke(ctx)


class Commands(click.Group):
    """Shows the library's errors as one sentence, without a traceback."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command; its --config is read in here too."""
        # Pillow's, of half its limit: which pictures are too large is said of each.
        warnings.filterwarnings("ignore", "Image size .* exceeds limit")
        try:
            with raised():
                return super().invoke(ctx)
        except FergiRewardError as error:
            raise UserMistake(one_line(str(error))) from error
        except Interrupted as interrupted:
            resumes = ", it resumes" if ctx.invoked_subcommand in RESUMING else ""
            say(f"Error: {interrupted}: run the same command again{resumes}", err=True)
            ctx.exit(interrupted.exit_status)


class NameOf(click.ParamType):
    """A name in a registry, which other packages fill; what it stands for is not imported for it."""

    name = "name"

    def __init__(self, registry: Registry, also: tuple[str, ...] = ()) -> None:
        self._registry, self._also = registry, also

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """The name, if there is such a thing."""
        self._registry.check(value, self._also)
        return value

    def help(self, what: str) -> str:
        """The help of the option."""
        names = ", ".join([*self._also, *self._registry.builtin])
        return f"{what}: {names}, what another package brings, or my_package.my_module:Name."


PROTOCOL, DATASET, BACKEND = NameOf(PROTOCOLS), NameOf(BENCHMARKS, also=("fergi",)), NameOf(BACKENDS)
PATH = click.Path(path_type=Path)
SHIPPED = "the word shipped means the one on FERGI"
TOYS = "emoji, emoji_flow, tiny, tiny_xl, tiny_3 or tiny_flux"
config = click.option(
    "--config",
    type=PATH,
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="A YAML file with these options as keys; what the command line gives goes first.",
)
FERGI_PLACE = "[default: $FERGI_DATA, else where `data fetch` puts it]"
data_option = click.option("--data", type=PATH, help=f"The FERGI folder.  {FERGI_PLACE}")
ratings_option = click.option(
    "--ratings", type=PATH, help="For a folder of extract: a CSV with user, session, image, rank and a column a scorer."
)
source_map_option = click.option(
    "--source-map", type=PATH, help="Of map-source: takes reactions from its first source to the scale of the other."
)
au_source_option = click.option(
    "--au-source", help="What measured the action units of own data.  [default: fergi-ir50, FERGI's]"
)
from_frames_option = click.option(
    "--from-frames", is_flag=True, help="Compute the activations from the frames instead of reading them."
)
skip_bad = click.option("--skip-bad", is_flag=True, help="Go on without rows that are damaged, and list them.")

scorers_option = click.option(
    "--scorers",
    type=NAMES,
    default="image_reward,pickscore,hps_v2",
    help="Names (see `fergi-reward scorers`), or my_package.my_module:Name of your own, with commas between.",
)
device_option = click.option("--device", help="Such as cuda.  [default: this process's GPU, else the CPU]")
scoring_options = (
    click.option(
        "--checkpoint", "checkpoints", multiple=True, metavar="NAME=FOLDER", help="A local checkpoint; repeatable."
    ),
    click.option("--batch-size", type=click.IntRange(min=1), default=8, help="Images at a time."),
    click.option("--workers", type=click.IntRange(min=1), default=2, help="Threads that decode and resize images."),
    device_option,
    click.option(
        "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", help="Of the towers."
    ),
)


def with_scoring(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how scorers run."""
    for add in reversed(scoring_options):
        command = add(command)
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="fergi-reward")
def main() -> None:
    """Rewards for text-to-image models: scorers, the viewer's face, and weights that preferences chose."""


@main.command()
@config
@click.option(
    "--data",
    "--reactions",
    "data",
    type=PATH,
    help=f"The FERGI folder or, with --ratings, one that extract wrote.  {FERGI_PLACE}",
)
@ratings_option
@source_map_option
@click.option(
    "--protocol",
    type=PROTOCOL,
    default="bradley-terry",
    help=PROTOCOL.help("How to fit"),
)
@click.option("--out", type=PATH, default=Path("calibration.json"), help="The calibration to write.")
@click.option("--report", type=PATH, help="A folder for report.html, report.md, report.json and plots.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of folds and bootstrap intervals.")
@click.option(
    "--scorers", type=NAMES, help="For bradley-terry: columns to weigh, with commas.  [default: the paper's three]"
)
@click.option(
    "--aus", type=NAMES, help="For bradley-terry: action units to weigh, with commas, or all.  [default: AU4]"
)
@au_source_option
@from_frames_option
@skip_bad
def calibrate(
    data: Path | None,
    ratings: Path | None,
    source_map: Path | None,
    protocol: str,
    out: Path,
    report: Path | None,
    seed: int,
    scorers: str | None,
    aus: str | None,
    au_source: str | None,
    from_frames: bool,
    skip_bad: bool,
) -> None:
    """Fit the weights of the reward to preferences, and judge them on participants they have not seen."""
    from fergi_reward.calibration.protocols import calibrate as run
    from fergi_reward.data.layouts import check_still_there, read_preferences
    from fergi_reward.evaluation import calibration_report as reports
    from fergi_reward.files.csv_numbers import BadRows
    from fergi_reward.report.markdown import markdown_table
    from fergi_reward.report.write import write_report

    preferences = read_preferences(
        data,
        ratings,
        au_source=au_source,
        source_map=source_map,
        from_frames=from_frames,
        bad=BadRows(skip_bad),
    )
    for row in preferences.left_out:
        say(f"left out: {row}", err=True)
    command = shlex.join(["fergi-reward", *sys.argv[1:]])
    columns, units = _listed(scorers), _listed(aus and aus.lower())
    evaluation = run(preferences, protocol, scorers=columns, aus=units, seed=seed, command=command)
    evaluation.calibration.save(out)
    check_still_there(preferences, data, out)
    table = markdown_table(reports.results_table(evaluation))
    say(f"{reports.summary(evaluation)}\n\n{table}\n")
    say(f"calibration: {out}")
    if report is not None:
        say(write_report(reports.calibration_report(evaluation), report))


def _print_and_write(report: "Report", folder: Path) -> None:
    """Show a report as far as a terminal can, and write it."""
    from fergi_reward.report.markdown import printed
    from fergi_reward.report.write import write_report

    say(printed(report))
    say(write_report(report, folder))


def _listed(names: str | None) -> list[str] | None:
    """Names with commas between as a list."""
    return None if names is None else [name.strip() for name in names.split(",")]


@main.command()
@config
@data_option
@click.option("--out", type=PATH, default=Path("activations.csv"), help="The table to write.")
@skip_bad
def activations(data: Path | None, out: Path, skip_bad: bool) -> None:
    """Compute the activation of every action unit of every valid clip from the frames."""
    from fergi_reward.data.fergi import activations_from_frames, locate, read_images
    from fergi_reward.files.atomic import written_whole
    from fergi_reward.files.csv_files import disarmed
    from fergi_reward.files.csv_numbers import BadRows

    bad = BadRows(skip_bad)
    folder = locate(data)
    table = activations_from_frames(folder, read_images(folder, bad), bad)
    with written_whole(out) as path:
        table.assign(user=table["user"].map(disarmed)).to_csv(path, index=False)
    for row in bad.found:
        say(f"left out: {row}", err=True)
    say(f"{len(table)} valid clips: {out}")


@main.command()
@config
@click.option(
    "--data",
    type=PATH,
    help=f"People who ranked: the FERGI folder or, with --ratings, one that extract wrote.  {FERGI_PLACE}",
)
@ratings_option
@click.option(
    "--reactions",
    type=PATH,
    help="People to annotate: a folder of extract, or in FERGI's layout.  [default: those who ranked]",
)
@click.option(
    "--au-source", help="What measured the action units of --reactions in FERGI's layout.  [default: fergi-ir50]"
)
@source_map_option
@click.option("--calibration", default="shipped", metavar="FILE", help=f"Says how sure a pair is; {SHIPPED}.")
@click.option("--target-accuracy", type=click.FloatRange(0.5, 1, True, True), help="Promise this share of right pairs.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, True, True), default=0.9, help="Of that promise.")
@click.option(
    "--images",
    type=PATH,
    help="For --dataset: a CSV with the columns user, session, image, file, prompt, or the folder of FERGI's raw data.",
)
@click.option("--dataset", type=PATH, help="A folder for the pairs with their pictures, as Diffusion-DPO reads them.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of which picture of a pair comes first there.")
@click.option("--out", type=PATH, default=Path("pairs.jsonl"), help="The pairs to write.")
def annotate(
    data: Path | None,
    ratings: Path | None,
    reactions: Path | None,
    au_source: str | None,
    source_map: Path | None,
    calibration: str,
    target_accuracy: float | None,
    confidence: float,
    images: Path | None,
    dataset: Path | None,
    seed: int,
    out: Path,
) -> None:
    """Say which of two pictures a viewer prefers, from the face alone, where it says enough."""
    from fergi_reward.annotation.dataset import write_dataset
    from fergi_reward.annotation.run import Promised, on_one_scale, run, summary, write_pairs
    from fergi_reward.calibration.calibration import Calibration
    from fergi_reward.data.layouts import check_still_there, read_preferences, read_reactions
    from fergi_reward.data.shown_pictures import read_pictures
    from fergi_reward.reactions.source_map import SourceMap
    from fergi_reward.reactions.table import ReactionTable

    if (images is None) != (dataset is None):
        raise FergiRewardError("--images and --dataset go together: give both or neither")
    pictures = read_pictures(images) if images else {}
    ranked = read_preferences(data, ratings, au_source=None if reactions else au_source)
    viewers: ReactionTable = read_reactions(reactions, au_source) if reactions else ranked
    if source_map:
        ranked, viewers = on_one_scale(ranked, viewers, SourceMap.load(source_map))
    weights = Calibration.named(calibration)
    promised = None if target_accuracy is None else Promised(target_accuracy, confidence)
    outcome = run(ranked, viewers, weights, promised)
    write_pairs(outcome, out)
    say(f"{summary(outcome)}\npairs: {out}")
    if dataset:
        write_dataset(outcome.annotation.pairs, pictures, dataset, seed)
        say(f"dataset: {dataset}")
    check_still_there(viewers, reactions or data, dataset or out)


@main.command("fit-predictor")
@config
@click.option("--reactions", type=PATH, required=True, help="The viewers: a folder of extract, or in FERGI's layout.")
@click.option(
    "--images",
    type=PATH,
    required=True,
    help="What they saw: a CSV with the columns user, session, image, file, prompt, or the folder of FERGI's raw data.",
)
@au_source_option
@click.option(
    "--decay",
    type=click.FloatRange(min=0, min_open=True),
    default=0.4,
    help="Of the valence: that of the calibration that is to weigh it; the shipped one has 0.4 with all its scorers.",
)
@click.option(
    "--checkpoint", metavar="pickscore=FOLDER", help="A local checkpoint of PickScore, whose towers it reads."
)
@device_option
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Pictures embedded at a time.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of folds, halves and starting weights.")
@click.option("--out", type=PATH, default=Path("predictor"), help="The folder to write.")
def fit_predictor(
    reactions: Path,
    images: Path,
    au_source: str | None,
    decay: float,
    checkpoint: str | None,
    device: str | None,
    batch_size: int,
    seed: int,
    out: Path,
) -> None:
    """Fit what predicts the reaction to a picture that nobody looks at, and say whether it is any good."""
    from fergi_reward.core.devices import named_device
    from fergi_reward.data.layouts import check_still_there, read_reactions
    from fergi_reward.data.shown_pictures import read_pictures
    from fergi_reward.faces.run import fit_predictor as run
    from fergi_reward.faces.run import summary
    from fergi_reward.scorers.pickscore import PickScorer

    scorer, _, place = (checkpoint or "pickscore=").partition("=")
    if scorer != "pickscore" or (checkpoint and not place):
        raise FergiRewardError(f"--checkpoint {checkpoint!r} must be pickscore=FOLDER: the predictor reads PickScore's")
    table = read_reactions(reactions, au_source)
    pictures = read_pictures(images)
    tower = PickScorer.from_pretrained(place or None, device=named_device(device))
    command = shlex.join(["fergi-reward", *sys.argv[1:]])
    predictor = run(table, pictures, tower, decay=decay, seed=seed, batch_size=batch_size, command=command)
    predictor.save(out)
    check_still_there(table, reactions, out)
    say(f"{summary(predictor)}\npredictor: {out}")


@main.command()
@config
@click.option(
    "--images",
    type=PATH,
    required=True,
    help="A folder of pictures, or a CSV with the columns image, prompt; its other columns are copied to --out.",
)
@click.option(
    "--prompts",
    type=PATH,
    help="For a folder: a text file with one prompt for all, or one per picture in the order of names, where numbers "
    "order as numbers (2.png before 10.png).",
)
@scorers_option
@with_scoring
@click.option("--calibration", type=PATH, metavar="FILE", help=f"Adds a column `reward`; {SHIPPED}.")
@click.option("--out", type=PATH, default=Path("scores.parquet"), help="The table to write, .parquet or .csv.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="Where: this process, or workers on the Ray cluster of RAY_ADDRESS, else of this machine; each of its nodes "
    "must find the pictures at the same path.",
)
@click.pass_context
def score(ctx: click.Context, **options: Any) -> None:  # noqa: ANN401 - the options above
    """Score images; goes on where it was killed. Under `accelerate launch` the processes share the work."""
    from fergi_reward.bulk.results import errors_file
    from fergi_reward.bulk.run import BulkOptions, run

    outcome = run(BulkOptions(**options))
    if outcome is None:  # another process writes the table
        return
    say(f"scores of {outcome.scored} images: {options['out']}")
    if outcome.kept:
        say(f"{outcome.kept} of its rows were kept from a run that did not end, the others were scored now")
    if outcome.failed:
        say(f"{outcome.failed} images could not be scored: {errors_file(options['out'])}", err=True)
        ctx.exit(3)


@main.command("best-of")
@config
@click.option("--prompts", type=PATH, required=True, help="A text file of prompts, one a line.")
@click.option(
    "--model",
    default="stable-diffusion-v1-5/stable-diffusion-v1-5",
    help=f"What draws: a hub id, a folder, or a toy with toy scorers: {TOYS}.",
)
@click.option("--n", type=click.IntRange(min=1), default=8, help="Pictures to draw of each prompt.")
@click.option("--out", type=PATH, default=Path("best_of"), help="The folder of the chosen pictures and all scores.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the pictures' own seeds, which are recorded.")
@click.option("--scorers", type=NAMES, help="Names, with commas between.  [default: all that the calibration weighs]")
@click.option(
    "--checkpoint", "checkpoints", multiple=True, metavar="NAME=FOLDER", help="A local checkpoint; repeatable."
)
@click.option(
    "--calibration", metavar="FILE", help=f"Weighs the scorers; {SHIPPED}.  [default: the shipped one, or the toy's]"
)
@click.option("--lora", type=PATH, help="The folder of a LoRA adapter to draw with.")
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.  [default: the pipeline's]")
@click.option("--guidance-scale", type=float, help="Classifier-free guidance.  [default: the pipeline's]")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, help="Pictures at a time.")
@device_option
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", help="Of all weights."
)
def best_of(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Draw several pictures of each prompt, keep the one that the reward likes best; goes on where it was killed."""
    from fergi_reward.cli.best_of_program import BestOfOptions, run

    done = run(BestOfOptions(**options))
    out, n = options["out"], options["n"]
    say(
        f"mean reward over {done.prompts} prompts: {done.single:.3f} of one picture, {done.best:.3f} of the best of {n}"
    )
    say(f"pictures: {out / 'best'}; all scores: {out / 'scores.csv'}; look at {out / 'best_and_worst.png'}")


@main.command()
@config
@click.option(
    "--videos",
    type=PATH,
    required=True,
    help="A CSV with the columns video, user, session, image, consent (and kind, start, end), or the folder that "
    "holds it as manifest.csv.",
)
@click.option("--backend", type=BACKEND, default="mediapipe", help=BACKEND.help("What measures the face"))
@click.option("--model", type=PATH, help="Its model's file.  [default: downloaded once into ~/.cache/fergi_reward]")
@click.option("--out", type=PATH, default=Path("reactions"), help="The folder of reactions; earlier ones in it stay.")
@click.option("--keep-video", is_flag=True, help="Copy the videos into it, too; else only action units are written.")
@click.option("--prune", is_flag=True, help="Delete what the folder has of videos that the manifest does not name.")
@click.option("--corrected", is_flag=True, help="Rows of deleted videos have new names: their clips take them.")
@click.option(
    "--agreed-again", multiple=True, metavar="USER", help="Somebody who was forgotten and agreed again; repeatable."
)
@click.pass_context
def extract(
    ctx: click.Context,
    videos: Path,
    backend: str,
    model: Path | None,
    out: Path,
    keep_video: bool,
    prune: bool,
    corrected: bool,
    agreed_again: tuple[str, ...],
) -> None:
    """Measure action units in videos of viewers who agreed; resumes where it was stopped."""
    from fergi_reward.reactions.backends import load_backend
    from fergi_reward.reactions.extract import extract as run

    measure = load_backend(backend, model)
    done = run(videos, measure, out, keep_video=keep_video, prune=prune, corrected=corrected, agreed_again=agreed_again)
    for note in done.notes:
        say(note, err=True)
    say(f"{done.clips} reactions: {out / 'manifest.csv'}")
    if done.failures:
        say(f"{len(done.failures)} videos gave none: {out / 'errors.csv'}", err=True)
    if done.forgotten:
        say(
            f"{done.forgotten} rows are of people who were forgotten, and were left out: take them out of {videos}, or "
            "name with --agreed-again who agreed again",
            err=True,
        )
    if done.failures or done.forgotten:
        ctx.exit(3)


@main.command()
@config
@click.option("--from", "origin", type=PATH, required=True, help="Reactions from one source, in either layout.")
@click.option("--to", "target", type=PATH, required=True, help="Reactions from the source to map to.")
@click.option(
    "--unpaired",
    type=click.Choice(["reaction", "baseline"]),
    help="Compare the quantiles of these clips, of whatever people.  [default: the same clips are in both folders]",
)
@click.option("--from-source", help="What measured --from in FERGI's layout.  [default: fergi-ir50]")
@click.option("--to-source", help="What measured --to in FERGI's layout.  [default: fergi-ir50]")
@click.option("--out", type=PATH, default=Path("source_map.json"), help="The map to write.")
def map_source(
    origin: Path,
    target: Path,
    unpaired: Literal["reaction", "baseline"] | None,
    from_source: str | None,
    to_source: str | None,
    out: Path,
) -> None:
    """Fit a map of AU4 from the scale of one source to that of another."""
    from fergi_reward.data.layouts import check_still_there, read_reactions
    from fergi_reward.reactions.source_map_fit import fit_paired, fit_unpaired, summary

    sides = read_reactions(origin, from_source), read_reactions(target, to_source)
    fitted = fit_unpaired(*sides, unpaired) if unpaired else fit_paired(*sides)
    fitted.source_map.save(out)
    for side, folder in zip(sides, (origin, target), strict=True):
        check_still_there(side, folder, out)
    say(f"{summary(fitted)}\n\nmap: {out}")


@main.command()
@click.argument("user")
@click.option("--reactions", type=PATH, default=Path("reactions"), help="The folder of reactions.")
@click.option("--calibrations", type=PATH, default=Path(), help="Where to look for what was fitted with them.")
@click.pass_context
def forget(ctx: click.Context, user: str, reactions: Path, calibrations: Path) -> None:
    """Delete a participant's reactions and pairs, and name the fits and reports that hold them."""
    from fergi_reward.privacy import forget as run

    done = run(user, reactions, calibrations)
    say(f"user {user} is deleted from {reactions}: {done.clips} reactions")
    say("no extract brings them back; take them out of your own manifest and ratings, and delete their videos")
    for path, count in done.files.pairs.items():
        say(f"{count} pairs of theirs are deleted from {path}")
    for path in done.files.fits:
        say(f"fitted with them: {path}; fit it again without them, or delete it")
    for path in done.files.others:
        say(f"names them: {path}; write it again without them, or delete it")
    for path, reason in done.files.unread.items():
        say(f"may hold them and cannot be read: {path} ({reason})", err=True)
    if done.complaint:
        raise FergiRewardError(done.complaint)
    if done.files.unread:
        ctx.exit(3)


@main.command()
def scorers() -> None:
    """Print the scorers: names, licenses, checkpoints, pinned revisions, files and sizes; those of other packages."""
    from tabulate import tabulate

    from fergi_reward.scorers.registry import foreign_table, scorer_table

    say(tabulate(scorer_table(), headers="keys", tablefmt="github"))
    if foreign := foreign_table():
        say(f"\n{tabulate(foreign, headers='keys', tablefmt='github')}")


@main.command(epilog=f"NAME is one of: {', '.join(PUBLISHED_NAMES)}.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--to",
    type=PATH,
    metavar="DIR",
    help="Fill the folders DIR/NAME, which --checkpoint NAME=DIR/NAME and --model DIR/NAME take, also offline.  "
    "[default: the hub's cache]",
)
def download(names: tuple[str, ...], to: Path | None) -> None:
    """Get all files of scorers, base models and helpers, each checked; resumes where it was stopped.

    Sizes, licenses and the free disk are printed before it starts.
    """
    from fergi_reward.hub.published_fetch import fetch as run

    run(names, to, say)
    say("all files are there and right")


@main.group()
def evaluate() -> None:
    """Judge rewards and tuned models, with intervals."""


@evaluate.command()
@config
@click.option(
    "--dataset",
    type=DATASET,
    default="fergi",
    help=DATASET.help("Whose preferences"),
)
@click.option(
    "--data",
    metavar="PLACE",
    help="A folder in its layout, with --ratings one that extract wrote, or a hub id.  [default: FERGI's, the hub's]",
)
@ratings_option
@au_source_option
@source_map_option
@from_frames_option
@scorers_option
@with_scoring
@click.option(
    "--calibration",
    "calibrations",
    multiple=True,
    default=("shipped",),
    metavar="FILE",
    help=f"Weights to judge; repeatable; {SHIPPED}.",
)
@click.option("--out", type=PATH, default=Path("preferences"), help="A folder for the report and for scores.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the bootstrap.")
@skip_bad
def preferences(**options: Any) -> None:  # noqa: ANN401 - the options above
    """How often scorers and calibrations agree with people; goes on where it was killed, on several processes, too."""
    from fergi_reward.data.layouts import check_still_there
    from fergi_reward.evaluation.preferences import PreferenceOptions, run
    from fergi_reward.evaluation.preferences_report import preferences_report

    asked = PreferenceOptions(**options)
    viewed = asked.viewed()
    result = run(asked, viewed, shlex.join(["fergi-reward", *sys.argv[1:]]))
    if result is not None:  # else another process prints it
        _print_and_write(preferences_report(result), asked.out)
        if viewed is not None:
            check_still_there(viewed, asked.data, asked.out)


@evaluate.command()
@config
@click.option(
    "--model",
    default="stable-diffusion-v1-5/stable-diffusion-v1-5",
    help=f"The model before tuning: a hub id, a folder, or a toy with toy scorers: {TOYS}.",
)
@click.option(
    "--tuned",
    multiple=True,
    required=True,
    metavar="[NAME=]PLACE",
    help="The folder of an adapter or network as the trainers write it, a pipeline's folder or hub id; repeatable.",
)
@click.option("--prompts", type=PATH, required=True, help="A text file of prompts, one a line; not those trained on.")
@click.option("--samples", type=click.IntRange(min=1), default=4, help="Pictures of each prompt by each model.")
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.  [default: the pipeline's]")
@click.option("--guidance-scale", type=float, help="Classifier-free guidance.  [default: the pipeline's]")
@click.option(
    "--scorers",
    type=NAMES,
    help="Names, with commas between; some must not be in the reward.  [default: image_reward,pickscore,hps_v2,clip,"
    "aesthetic, or all that the toy has]",
)
@with_scoring
@click.option(
    "--calibration",
    "calibrations",
    multiple=True,
    metavar="FILE",
    help=f"Weights to judge by, too; repeatable; {SHIPPED}.  [default: shipped, or the toy's]",
)
@click.option(
    "--trained-on",
    type=NAMES,
    metavar="NAMES",
    help="Scorers in the reward of models whose card does not say, with commas between; or none.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the pictures and the bootstrap.")
@click.option("--out", type=PATH, default=Path("models"), help="A folder for the report, for pictures and scores.")
def models(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Tuned models against their base model, judged by what they were not trained on; goes on where it was killed."""
    from fergi_reward.cli.compare_models_program import CompareModelsOptions, run, scorers_for
    from fergi_reward.evaluation.models_report import models_report

    options["scorers"] = options["scorers"] or scorers_for(options["model"])
    result = run(CompareModelsOptions(**options), shlex.join(["fergi-reward", *sys.argv[1:]]))
    if result is not None:  # else another process prints it
        _print_and_write(models_report(result, options["out"]), options["out"])


@main.group()
def data() -> None:
    """Get the FERGI data, or make some up."""


@data.command()
@config
@click.option("--to", type=PATH, help="The folder to fill.  [default: ~/.cache/fergi_reward/fergi]")
def fetch(to: Path | None) -> None:
    """Download FERGI (85 MB) and check every file."""
    from fergi_reward.data.fergi import default_folder
    from fergi_reward.data.fergi_fetch import fetch as run

    folder = to or default_folder()
    run(folder)
    say(f"FERGI is in {folder}")


@data.command()
@config
@click.option("--out", type=PATH, required=True, help="The folder to write.")
@click.option("--participants", type=click.IntRange(min=3), default=12, help="How many viewers.")
@click.option("--sessions", type=click.IntRange(min=1), default=8, help="Sessions of five images a viewer.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Two runs with one seed write the same files.")
@click.option("--emoji", is_flag=True, help="Let them look at pictures of the emoji world, scored by its own scorers.")
def simulate(out: Path, participants: int, sessions: int, seed: int, emoji: bool) -> None:
    """Write a simulated FERGI: the real layout, made-up viewers."""
    if emoji:
        from fergi_reward.toy.emoji import load_scorers
        from fergi_reward.toy.emoji.viewers import write_emoji_fergi

        write_emoji_fergi(out, load_scorers(), participants=participants, sessions=sessions, seed=seed)
    else:
        from fergi_reward.data.simulated import write_simulated_fergi

        write_simulated_fergi(out, participants=participants, sessions=sessions, seed=seed)
    say(f"a simulated FERGI, {participants} participants with {sessions} sessions each, is in {out}")


if __name__ == "__main__":
    main()
