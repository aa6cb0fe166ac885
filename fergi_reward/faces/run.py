"""A predictor from end to end: embed what viewers saw, fit, judge on others, and say how good it is."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.shown_pictures import Key, Picture
from fergi_reward.faces.fitting import STEPS, fit_heads
from fergi_reward.faces.judging import FOLDS, LEVELS, HeldOutFigures, Residuals, cross_predict
from fergi_reward.faces.judging import figures as held_out_figures
from fergi_reward.faces.predictor import PredictorRecord, ReactionPredictor
from fergi_reward.faces.viewings import dataset_of, embed_viewings
from fergi_reward.reactions.scale import per_unit
from fergi_reward.reactions.table import ReactionTable
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.version import __version__

# On FERGI's scale: the paper's choice, and that of the shipped calibration for all scorers.
DECAY = 0.4


def fit_predictor(
    table: ReactionTable,
    pictures: Mapping[Key, Picture],
    tower: PickScorer,
    *,
    decay: float | None = None,
    seed: int = 0,
    batch_size: int = 32,
    command: str = "",
) -> ReactionPredictor:
    """Fit a predictor on everybody, and judge fits like it on viewers and prompts that were left out.

    Args:
        table: The viewers' reactions.
        pictures: What they looked at.
        tower: PickScore, whose embeddings it reads.
        decay: Decay coefficient of the valence that it predicts; it must be that of the calibration that will weigh it.
            By default `DECAY` for the unit of the table's scale.
        seed: Seed of folds, halves and starting weights.
        batch_size: Pictures that are embedded at a time.
        command: What is run, for the record.

    Raises:
        FergiRewardError: The table has no AU source or no reaction, there are fewer than five viewers, or a picture is
            missing.
    """
    if table.au_source is None:
        raise FergiRewardError("the reactions do not say what measured the action units: name it with --au-source")
    decay = per_unit(DECAY, table.au_unit) if decay is None else decay
    dataset = dataset_of(table, pictures)
    viewings = embed_viewings(table, pictures, tower, decay, batch_size)
    with Progress(total=(FOLDS + 1) * STEPS, desc="fitting", unit="step") as bar:
        held_out = cross_predict(viewings, seed, bar)
        heads = fit_heads(viewings, seed, bar)
    record = PredictorRecord(
        au_source=table.au_source,
        decay=decay,
        tower=tower.fingerprint(),
        sizes=heads.sizes,
        dataset=dataset,
        held_out=held_out_figures(held_out, seed),
        residuals=Residuals.of(held_out.observed - held_out.mean, held_out.uncertainty),
        seed=seed,
        command=command,
        library_version=__version__,
    )
    return ReactionPredictor(record, heads).eval()


def figures(predictor: ReactionPredictor) -> dict[str, Any]:
    """How good it is, for programs."""
    record = predictor.record
    return {
        "au_source": record.au_source,
        "decay": record.decay,
        "images": record.dataset["images"],
        "participants": record.dataset["participants"],
        "held_out": asdict(record.held_out) | {"better_than_chance": record.held_out.better_than_chance},
    }


def summary(predictor: ReactionPredictor) -> str:
    """How good it is, for people to read."""
    record, held_out = predictor.record, predictor.record.held_out
    low, high = held_out.ci95
    covered = ", ".join(
        f"{share:.1%} in those of {level:.0%}" for level, share in zip(LEVELS, held_out.coverage, strict=True)
    )
    return "\n".join(
        [
            f"fitted on {record.dataset['images']} reactions of {record.dataset['participants']} viewers "
            f"(AU source {record.au_source}, decay {record.decay:g})",
            f"viewers and prompts left out: {held_out.correct} of {held_out.pairs} pairs in the order of the faces, "
            f"{held_out.accuracy:.1%} (95 % interval {low:.1%} - {high:.1%}), rank correlation "
            f"{held_out.rank_correlation:.3f}",
            f"single reactions within the intervals: {covered}",
            verdict(held_out),
        ]
    )


def verdict(held_out: HeldOutFigures) -> str:
    """Whether it is of use, in one sentence."""
    if held_out.better_than_chance:
        return "the predictor is better than chance"
    return "the predictor is NO BETTER THAN CHANCE: rewards refuse it unless they are forced"
