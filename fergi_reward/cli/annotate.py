"""`fergi-reward annotate`."""

from dataclasses import dataclass
from pathlib import Path

from fergi_reward.calibration.options import SHIPPED, SHIPPED_HELP
from fergi_reward.cli.command import Answer, command
from fergi_reward.core.options import Options, option
from fergi_reward.data.options import FERGI_PLACE, IMAGES


@dataclass(frozen=True, kw_only=True)
class AnnotateOptions(Options):
    """The options of `fergi-reward annotate`."""

    data: Path | None = option(
        None,
        f"People who ranked: the FERGI folder or, with --ratings, one that extract wrote. {FERGI_PLACE}",
    )
    ratings: Path | None = option(
        None, "For a folder of extract: a CSV with user, session, image, rank and a column per scorer."
    )
    reactions: Path | None = option(
        None, "People to annotate: a folder of extract, or in FERGI's layout. [default: those who ranked]"
    )
    au_source: str | None = option(
        None, "What measured the action units of --reactions in FERGI's layout. [default: fergi-ir50]"
    )
    source_map: Path | None = option(
        None, "Map that map-source wrote: takes reactions from its first source to the scale of the other."
    )
    calibration: str = option(SHIPPED, f"Says how sure a pair is; {SHIPPED_HELP}.", metavar="FILE")
    target_accuracy: float | None = option(None, "Promise this share of right pairs.", above=0.5, below=1)
    confidence: float = option(0.9, "Confidence of that promise.", above=0.5, below=1)
    images: Path | None = option(None, f"For --dataset: {IMAGES}")
    dataset: Path | None = option(None, "A folder for the pairs with their pictures, as Diffusion-DPO reads them.")
    seed: int = option(0, "Seed of which picture of a pair comes first there.", at_least=0)
    out: Path = option(Path("pairs.jsonl"), "The pairs to write.")

    def problems(self) -> list[str]:
        """What lacks its other half."""
        both = (self.images is None) == (self.dataset is None)
        return [] if both else ["--images and --dataset go together: give both or neither"]


@command
def annotate(options: AnnotateOptions) -> Answer:
    """Say which of two pictures a viewer prefers, from the face alone, where it says enough."""
    from fergi_reward.annotation.dataset import write_dataset
    from fergi_reward.annotation.run import Promised, on_one_scale, run, summary, write_pairs
    from fergi_reward.calibration.calibration import Calibration
    from fergi_reward.data.layouts import check_still_there, read_preferences, read_reactions
    from fergi_reward.data.shown_pictures import read_pictures
    from fergi_reward.reactions.source_map import SourceMap
    from fergi_reward.reactions.table import ReactionTable

    reactions, dataset = options.reactions, options.dataset
    pictures = read_pictures(options.images) if options.images else {}
    ranked = read_preferences(options.data, options.ratings, au_source=None if reactions else options.au_source)
    viewers: ReactionTable = read_reactions(reactions, options.au_source) if reactions else ranked
    if options.source_map:
        ranked, viewers = on_one_scale(ranked, viewers, SourceMap.load(options.source_map))
    weights = Calibration.named(options.calibration)
    accuracy = options.target_accuracy
    outcome = run(ranked, viewers, weights, None if accuracy is None else Promised(accuracy, options.confidence))
    write_pairs(outcome, options.out)
    text = f"{summary(outcome)}\npairs: {options.out}"
    values = {"annotated": len(outcome.annotation.pairs), "pairs": str(options.out), "summary": summary(outcome)}
    if dataset:
        write_dataset(outcome.annotation.pairs, pictures, dataset, options.seed)
        text += f"\ndataset: {dataset}"
        values |= {"dataset": str(dataset)}
    check_still_there(viewers, reactions or options.data, dataset or options.out)
    return Answer(text, values)
