"""What `fergi-reward evaluate preferences` finds, as plain records; `report.json` has all of it.

Shares (accuracies, coverages, differences) are in [0, 1], never percent. Intervals are 95 % bootstrap intervals over
`Data.unit`s; of fewer than five there is none. A field that is not available is None.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fergi_reward.data.pair_sketch import Overlap
from fergi_reward.evaluation.run_record import RunRecord
from fergi_reward.stats.held_out import HeldOutResult
from fergi_reward.stats.intervals import LEAST_UNITS, Interval

# What `Data.name` is where the judgements are a user's own table.
JUDGEMENTS = "judgements"
# What a model's weights have seen of the people it is judged on: nothing (scorers, and calibrations fitted on others);
# each person's own data left out of the fit; some or all of these very pairs, so that its figures flatter it; they were
# not fitted; or nobody knows.
Seen = Literal["nothing", "left out", "in sample", "by hand", "unknown"]


@dataclass(frozen=True)
class Data:
    """What the models were judged on.

    Attributes:
        name: As `--dataset` names it: `fergi`, `pickapic`, `pickapic_test`, `hpdv2` or `imagerewarddb`;
            `judgements` for a table of `--judgements`.
        title: As people call it.
        place: A folder, or an id on the hub.
        split: Such as `test`; None for FERGI.
        unit: What a bootstrap draws: `participant`, `rater`, `prompt`, or the column that a user named.
        units: How many of them have pairs that count.
        images: Images in these pairs (an image with another prompt counts again).
        pairs: Pairs that count.
        fingerprint: SHA-256 over the pairs: two results with one fingerprint were judged on the same.
    """

    name: str
    title: str
    place: str
    split: str | None
    unit: str
    units: int
    images: int
    pairs: int
    fingerprint: str


@dataclass(frozen=True)
class ModelResult:
    """How one model did.

    Attributes:
        name: A scorer, or a calibration (`shipped`, or its file), `NAME+au4` with the viewer's face.
        kind: `scorer` or `calibration`.
        seen: What its weights have seen of these people.
        result: On the pairs of `Data`; what it calls participants are its `unit`s.
        as_published: Accuracy by the rules of the published figures (`PreferenceResult.protocol`), where that can be.
        published: The published accuracy of this model, where there is one.
        overlap: How many of the pairs a calibration was fitted on, where that is known.
    """

    name: str
    kind: Literal["scorer", "calibration"]
    seen: Seen
    result: HeldOutResult
    as_published: float | None
    published: float | None
    overlap: Overlap | None = None

    @property
    def ci95(self) -> Interval | None:
        """The 95 % interval of the accuracy."""
        return self.result.ci95 if len(self.result.per_participant) >= LEAST_UNITS else None

    def record(self) -> dict[str, Any]:
        """What programs read in `report.json`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "seen": self.seen,
            "fitted_on": self.overlap and {"share": self.overlap.share, **asdict(self.overlap)},
            "correct": self.result.correct,
            "ties": self.result.ties,
            "accuracy": self.result.accuracy,
            "half_credit": self.result.half_credit,
            "ci95": self.ci95,
            "as_published": self.as_published,
            "published": self.published,
            "coverage": asdict(self.result.coverage),
            "reliability": self.result.reliability and asdict(self.result.reliability),
        }


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pairs.

    Attributes:
        first: Name of a model.
        second: Name of another.
        only_first: Pairs that only the first has right.
        only_second: Pairs that only the second has right.
        p_value: McNemar's test, mid-p, two-sided; it takes pairs as independent.
        difference: Accuracy of the first less that of the second.
        ci95: 95 % interval of the difference, both judged on the same draws; pairs of one unit stay together.
        same_order: Share of pairs that both order alike (both ties: alike).
        spearman: Spearman's correlation of their margins, each pair taken both ways round; None where one is constant.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    p_value: float
    difference: float
    ci95: Interval | None
    same_order: float
    spearman: float | None


@dataclass(frozen=True)
class PublishedFigure:
    """An accuracy that somebody published on this benchmark, and where; `model` may be one that was not run here."""

    model: str
    accuracy: float
    source: str


@dataclass(frozen=True)
class PreferenceResult(RunRecord):
    """The whole evaluation.

    Attributes:
        data: What the models were judged on.
        models: In the order asked for: scorers, then calibrations.
        comparisons: Comparisons of every two models.
        published: Figures of others.
        protocol: What makes the published figures comparable, or not: ties, image sizes, which pairs; a sentence each.
    """

    data: Data
    models: tuple[ModelResult, ...]
    comparisons: tuple[Comparison, ...]
    published: tuple[PublishedFigure, ...]
    protocol: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """What programs read in `report.json`."""
        return asdict(self) | {"models": [model.record() for model in self.models]}
