"""What `fergi-reward evaluate models` finds, as plain records; `report.json` has all of it.

Rates are in [0, 1], never percent. Intervals are 95 % bootstrap intervals over prompts; of fewer than five there is
none. A field that is not available is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fergi_reward.evaluation.run_record import RunRecord
from fergi_reward.stats.intervals import Interval

# A scorer, the weighted sum of a calibration or of weights by hand, or a judge that the base model's own world has.
SignalKind = Literal["scorer", "calibration", "by hand", "judge"]


@dataclass(frozen=True)
class SignalComparison:
    """Tuned against base by one signal, on pictures from the same prompts and seeds.

    Attributes:
        signal: Its name.
        kind: What it is.
        held_out: Whether the tuned model was not trained on it, nor on a part of it; None where that is not known.
        base: Mean over the pictures of the base model.
        tuned: Mean over those of the tuned one.
        pairs: Pairs of pictures, one of each model.
        wins: Pairs in which the tuned model's is better.
        ties: Pairs in which both are equal; a tie is half a win.
        win_rate: (wins + ties / 2) / pairs.
        win_rate_ci95: 95 % interval of the win rate.
        difference: Mean of tuned less base.
        difference_ci95: 95 % interval of the difference.
        standardised: The difference in standard deviations of the base model's pictures (Glass's delta; Glass, 1976);
            None where these have no spread.
    """

    signal: str
    kind: SignalKind
    held_out: bool | None
    base: float
    tuned: float
    pairs: int
    wins: int
    ties: int
    win_rate: float
    win_rate_ci95: Interval | None
    difference: float
    difference_ci95: Interval | None
    standardised: float | None

    @property
    def is_sum(self) -> bool:
        """Whether it is made of scorers, which are asked themselves."""
        return self.kind in ("calibration", "by hand")


@dataclass(frozen=True)
class Diversity:
    """How far apart pictures of one prompt are: mean cosine distance of two, averaged over prompts.

    Attributes:
        scorer: Whose image embedding it is.
        prompts: How many have at least two pictures by both models.
        base: The distance of the base model.
        tuned: The distance of the tuned model.
        difference: Tuned less base.
        ci95: 95 % interval of the difference; entirely below -5 % of `base`, from 20 prompts on, the tuned model draws
            a prompt more alike.
    """

    scorer: str
    prompts: int
    base: float
    tuned: float
    difference: float
    ci95: Interval | None


@dataclass(frozen=True)
class Example:
    """Two pictures of a prompt from one seed.

    Attributes:
        prompt: What was drawn.
        seed: `torch.Generator().manual_seed(seed)` draws both again.
        base: The base model's file, relative to the folder of results.
        tuned: The tuned model's.
        side_by_side: Both in one, the base model's to the left.
        gain: Tuned less base in standard deviations of the base's pictures, a mean over signals.
    """

    prompt: str
    seed: int
    base: str
    tuned: str
    side_by_side: str
    gain: float


@dataclass(frozen=True)
class ModelComparison:
    """One tuned model against the base model.

    Attributes:
        name: Name of the tuned model.
        place: Its folder or hub id.
        fingerprint: SHA-256 of its files; None on the hub.
        trained_on: Terms of the reward it was trained on; None where nothing says.
        copies: By signal, what was trained on whose function it is, or whose scores it gives.
        learned_from: What its card says of that; None without a card.
        signals: One per scorer, calibration and judge.
        diversity: None where it was not measured.
        best: The pairs with the largest gains, the largest first.
        worst: Those with the largest losses, the largest first.
        gains_by: The signals that the gains are of.
        verdict: Whether it is better than the base model, in a sentence; it rests on held-out signals alone.
    """

    name: str
    place: str
    fingerprint: str | None
    trained_on: tuple[str, ...] | None
    copies: Mapping[str, str]
    learned_from: Mapping[str, Any] | None
    signals: tuple[SignalComparison, ...]
    diversity: Diversity | None
    best: tuple[Example, ...]
    worst: tuple[Example, ...]
    gains_by: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class ModelsResult(RunRecord):
    """The whole comparison.

    Attributes:
        base: Folder or hub id of the base model.
        prompts: How many.
        prompts_fingerprint: SHA-256 over them.
        samples: Pictures of each prompt by each model.
        drawing: Arguments of the pipelines' calls that were asked for; the rest are their defaults.
        models: The tuned models, in the order asked for.
    """

    base: str
    prompts: int
    prompts_fingerprint: str
    samples: int
    drawing: Mapping[str, float]
    models: tuple[ModelComparison, ...]
