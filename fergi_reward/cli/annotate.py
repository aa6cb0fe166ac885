"""`fergi-reward annotate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.calibration.options import SHIPPED_HELP
from fergi_reward.cli.command import Answer, command
from fergi_reward.core.command_line import command_line
from fergi_reward.core.options import Options, option, seed_option
from fergi_reward.data.options import AU_SOURCE, FERGI_PLACE, IMAGES

CONFIDENCE = 0.9


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
    scores: Path | None = option(
        None, "Scores of the pictures of --reactions: a CSV with user, session, image and a column per scorer."
    )
    au_source: str | None = option(None, f"Of --reactions, and of --data where extract wrote both: {AU_SOURCE}")
    source_map: Path | None = option(
        None, "Map that map-source wrote: takes reactions from its first source to the scale of the other."
    )
    signals: Literal["au4", "face", "scorers", "all"] | None = option(
        None, "What pairs are annotated from. [default: all where all have scores, else face]"
    )
    scorers: Sequence[str] | None = option(None, "Columns of scores to use. [default: the paper's three]")
    rule: Literal["fitted", "paper"] = option("fitted", "How pairs are chosen; paper is for --signals au4.")
    expected_accuracy: float | None = option(
        None, "Annotate the surest pairs of which this share should be right. [default: 0.75]", above=0.5, below=1
    )
    target_accuracy: float | None = option(
        None, "Promise this share of right pairs of people other than those who ranked.", above=0.5, below=1
    )
    confidence: float | None = option(None, "Confidence of that promise. [default: 0.9]", above=0.5, below=1)
    calibration: str | None = option(
        None, f"For --rule paper, says how sure a pair is; {SHIPPED_HELP}. [default: shipped]", metavar="FILE"
    )
    images: Path | None = option(None, f"For --dataset: {IMAGES}")
    dataset: Path | None = option(None, "A folder for the pairs with their pictures, as Diffusion-DPO reads them.")
    report: Path | None = option(None, "A folder for report.html, report.md, report.json and plots.")
    seed: int = seed_option(0, "Seed of the fits' folds, and of which picture comes first in --dataset.")
    out: Path = option(Path("pairs.jsonl"), "The pairs to write.")

    def problems(self) -> list[str]:
        """What lacks its other half, or belongs to something else."""
        found = []
        if (self.images is None) != (self.dataset is None):
            found.append("--images and --dataset go together: give both or neither")
        if self.scores is not None and self.reactions is None:
            found.append("--scores are of the pictures of --reactions: give both, or only --reactions")
        if self.expected_accuracy is not None and self.target_accuracy is not None:
            found.append("--expected-accuracy promises nothing and --target-accuracy does: give one of them")
        if self.confidence is not None and self.target_accuracy is None:
            found.append("--confidence is that of a promise: give --target-accuracy too, or leave it out")
        if self.rule == "paper":
            if self.signals != "au4":
                found.append(f"--rule paper is for --signals au4, got {self.signals or 'no --signals'}")
            if self.expected_accuracy is not None or self.target_accuracy is not None:
                found.append("--rule paper has a threshold of its own: leave --expected-accuracy and --target-accuracy")
        return found


@command
def annotate(options: AnnotateOptions) -> Answer:
    """Say which of two pictures a viewer prefers, from faces, scores or both, where they say enough."""
    from fergi_reward.annotation.dataset import write_dataset
    from fergi_reward.annotation.outcome import Expected, Promised, summary, values, write_pairs
    from fergi_reward.annotation.paper_rule import run_paper_rule
    from fergi_reward.annotation.people import on_one_scale
    from fergi_reward.annotation.run import run
    from fergi_reward.calibration.calibration import Calibration
    from fergi_reward.data.extracted import with_scores
    from fergi_reward.data.layouts import check_still_there, is_extracted, read_preferences, read_reactions
    from fergi_reward.data.shown_pictures import read_pictures
    from fergi_reward.data.training_consent import for_training
    from fergi_reward.evaluation.annotation_report import annotation_report
    from fergi_reward.reactions.source_map import SourceMap
    from fergi_reward.reactions.table import ReactionTable
    from fergi_reward.report.write import write_report

    reactions, dataset = options.reactions, options.dataset
    pictures = read_pictures(options.images) if options.images else {}
    alike = reactions is None or (options.ratings is not None and is_extracted(reactions))
    ranked = read_preferences(options.data, options.ratings, au_source=options.au_source if alike else None)
    ranked, notes = for_training(ranked, options.data)
    viewers: ReactionTable = ranked
    if reactions:
        viewers, more = for_training(read_reactions(reactions, options.au_source), reactions)
        notes += more
    if options.scores:
        viewers = with_scores(viewers, options.scores)
    if options.source_map:
        ranked, viewers = on_one_scale(ranked, viewers, SourceMap.load(options.source_map))
    if options.rule == "paper":
        outcome = run_paper_rule(ranked, viewers, Calibration.load(options.calibration or "shipped"))
    else:
        target: Expected | Promised = (
            Expected() if options.expected_accuracy is None else Expected(options.expected_accuracy)
        )
        if options.target_accuracy is not None:
            target = Promised(options.target_accuracy, options.confidence or CONFIDENCE)
        outcome = run(ranked, viewers, target, signals=options.signals, scorers=options.scorers, seed=options.seed)
    write_pairs(outcome, options.out)
    text = f"{summary(outcome)}\npairs: {options.out}"
    written = {"pairs": str(options.out)}
    if options.report is not None:
        report = annotation_report(outcome, ranked, viewers, command=command_line(), seed=options.seed)
        text += f"\n{write_report(report, options.report)}"
    if dataset:
        write_dataset(outcome.annotation.pairs, pictures, dataset, options.seed)
        text += f"\ndataset: {dataset}"
        written |= {"dataset": str(dataset)}
    check_still_there(viewers, reactions or options.data, dataset or options.out)
    if options.rule != "paper" and options.calibration:
        notes.append("--calibration is not used: weights are fitted on those who ranked")
    return Answer(text, values(outcome) | written, notes)
