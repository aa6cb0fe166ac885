"""The record of a calibration: what the weights are, what they were fitted on and how well they do; as JSON."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.pair_sketch import PairSketch
from fergi_reward.files.atomic import write_json
from fergi_reward.files.json_records import checked, read_record
from fergi_reward.reactions.clip import is_action_unit

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 2
# A sum of terms within these is finite in float32 for every score up to 1e12.
SMALLEST, LARGEST = 1e-9, 1e6
SHIPPED = "fergi-ir50-bradley-terry.json"
AGAIN = "calibrate again"
VALENCE_TRANSFORM = "exp(-decay * activation) - 1"


@dataclass(frozen=True)
class Term:
    """One term of the sum: it adds weight * (x - mean) / std.

    Attributes:
        name: A scorer's column, or an action unit (then x is its valence).
        mean: Mean of x over the images fitted on.
        std: Sample standard deviation of x, above 0.
        weight: Its share of the total.
        decay: The decay coefficient of the valence, above 0; None for a scorer.
    """

    name: str
    mean: float
    std: float
    weight: float
    decay: float | None = None

    def contribution(self, x: "Tensor") -> "Tensor":
        """What x adds to the total: weight * (x - mean) / std."""
        return self.weight * (x - self.mean) / self.std

    def standardised(self, x: "Tensor") -> "Tensor":
        """By how many standard deviations x is above the mean."""
        return (x - self.mean) / self.std


def _beyond(term: Term) -> str | None:
    """Which number of a term no score can have led to; None where all is well."""
    bounds = {"mean": (0.0, LARGEST), "std": (SMALLEST, LARGEST), "weight": (0.0, LARGEST), "decay": (0.0, LARGEST)}
    for name, (low, high) in bounds.items():
        if not low <= abs(value := getattr(term, name) or low) <= high:
            return f"{name} of {term.name} is {value:g}, its size must be from {low:g} to {high:g}"
    return None


@dataclass(frozen=True)
class Fit:
    """The weights for one set of terms, and how they did on participants they were not fitted on.

    Attributes:
        name: What reports call it.
        terms: The terms of the sum. An action unit may enter several times, each time with another decay.
        accuracy: Share of left-out pairs in the right order; None where the protocol does not evaluate it.
        ci95: Its interval, by bootstrap over participants.
        log_loss: Mean negative log-probability of the left-out pairs; None where the total is no log-odds.
    """

    name: str
    terms: tuple[Term, ...]
    accuracy: float | None = None
    ci95: tuple[float, float] | None = None
    log_loss: float | None = None

    def __post_init__(self) -> None:
        if len({(term.name, term.decay) for term in self.terms}) != len(self.terms):
            raise FergiRewardError(f"a term is given twice in {', '.join(self.term_names)}")
        for term in self.terms:
            if term.std <= 0:
                raise FergiRewardError(f"std of {term.name} is {term.std}, it must be above 0")
            if wrong := _beyond(term):
                raise FergiRewardError(f"{wrong}: rewards would not be finite numbers of float32; calibrate again")
            if is_action_unit(term.name) and not (term.decay and term.decay > 0):
                raise FergiRewardError(f"decay of {term.name} is {term.decay}, for an action unit it must be above 0")
            if term.decay is not None and not is_action_unit(term.name):
                raise FergiRewardError(f"decay of {term.name} is {term.decay}, for a scorer it must be null")

    @property
    def term_names(self) -> tuple[str, ...]:
        """The names of the terms, in order; an action unit once for each of its decays."""
        return tuple(term.name for term in self.terms)

    @property
    def units(self) -> tuple[str, ...]:
        """Its action units, in order, each once."""
        return tuple(dict.fromkeys(filter(is_action_unit, self.term_names)))

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each term that no other has: an action unit with several decays is called by each of them."""
        several = {name for name in self.term_names if self.term_names.count(name) > 1}
        return tuple(
            f"{term.name} (decay {term.decay:g})" if term.name in several else term.name for term in self.terms
        )

    @property
    def decays(self) -> tuple[float, ...]:
        """The decay coefficients of its action units, rising; none where it has no action unit."""
        return tuple(sorted({term.decay for term in self.terms if term.decay is not None}))

    @property
    def decay(self) -> float | None:
        """The decay coefficient, where there is one for all action units; None where it has no action unit.

        Raises:
            FergiRewardError: There are several.
        """
        if len(self.decays) > 1:
            listed = ", ".join(map(str, self.decays))
            raise FergiRewardError(
                f"the fit {self.name} has the decays {listed}, and only one can be used: calibrate again"
            )
        return self.decays[0] if self.decays else None


@dataclass(frozen=True)
class Calibration:
    """Fitted weights with their provenance.

    It holds a fit for every set of terms that the protocol fits, with and without the reaction: a reward uses the one
    that has just the terms it can compute, so that a missing term is never a silent zero.

    Attributes:
        protocol: How the weights were fitted.
        au_source: What measured the action units, such as `fergi-ir50`.
        fits: One per set of terms.
        dataset: What it was fitted on: `fingerprint` (SHA-256), `participants` and who they are (`users`), `images`,
            `pairs`, and where the reactions were mapped to this scale, the source that measured them (`mapped_from`).
        library_version: The version that fitted it.
        command: The command that made it.
        seed: The seed of folds and intervals.
        valence_transform: How an activation becomes the valence that an action unit's term weighs.
        scored_by: By scorer, the signature of the weights that gave its scores (`scorers/signature.py`), where this is
            known: not where scores came in a table.
        fitted_pairs: A sketch of the pairs it was fitted on, by which their part in other judgements is estimated; None
            where it has none.
        schema: Version of this layout.
    """

    protocol: str
    au_source: str
    fits: tuple[Fit, ...]
    dataset: dict[str, Any]
    library_version: str
    command: str
    seed: int
    valence_transform: str = VALENCE_TRANSFORM
    scored_by: dict[str, str] = field(default_factory=dict)
    fitted_pairs: PairSketch | None = None
    schema: int = SCHEMA

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody chose the weights, and they were fitted on nothing."""
        return not self.dataset

    @property
    def scorers(self) -> tuple[str, ...]:
        """The scorers that it weighs: the terms of its largest fit except for action units."""
        largest = max(self.fits, key=lambda fit: len(fit.terms))
        return tuple(name for name in largest.term_names if not is_action_unit(name))

    def fit_for(self, terms: Collection[str]) -> Fit:
        """The fit that has exactly these terms.

        Raises:
            FergiRewardError: There is none.
        """
        for fit in self.fits:
            if set(fit.term_names) == set(terms):
                return fit
        near = [fit for fit in self.fits if set(fit.units) <= set(terms)] or self.fits  # of few units: the list is long
        known = "; ".join(", ".join(dict.fromkeys(fit.term_names)) for fit in near)
        raise FergiRewardError(
            f"the calibration has no weights for the terms {', '.join(terms) or '(none)'}: choose one of the sets "
            f"{known}, or run `fergi-reward calibrate` on data with these scores"
        )

    def used(self, user: str, source: str) -> bool:
        """Whether reactions of a participant, as measured by a source, are among those that it was fitted on."""
        measured = self.dataset.get("mapped_from", self.au_source)
        return source == measured and user in self.dataset.get("users", ())

    def fingerprint(self) -> str:
        """SHA-256 over the fits to nine digits: two calibrations with one fingerprint give the same rewards."""
        exact = json.dumps([asdict(fit) for fit in self.fits], sort_keys=True)
        fits = json.loads(exact, parse_float=lambda number: f"{float(number):.9g}")  # the rest is the machine's
        return hashlib.sha256(f"{self.au_source}\n{fits}".encode()).hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the calibration as JSON, whole or not at all."""
        sketch = self.fitted_pairs and self.fitted_pairs.record()
        write_json(path, {"schema": self.schema} | asdict(self) | {"fitted_pairs": sketch})

    @classmethod
    def load(cls, path: Path | str) -> "Calibration":
        """Read a calibration.

        Args:
            path: Its file; the word `shipped` is the one fitted on FERGI, `./shipped` a file of that name.

        Raises:
            FergiRewardError: The file is missing, has an unknown schema, lacks a key, or a number is not finite.
        """
        if path == "shipped":
            return cls.shipped()
        if not Path(path).exists():
            raise FergiRewardError(
                f"there is no calibration file {path}: give one that `fergi-reward calibrate` wrote, or `shipped` for "
                "the one fitted on FERGI; for a run without a calibration, leave it out"
            )
        return _from_record(read_record(path, "calibration", SCHEMA, AGAIN), str(path))

    @classmethod
    def shipped(cls) -> "Calibration":
        """The calibration on FERGI that comes with the library."""
        with resources.as_file(resources.files("fergi_reward.calibration") / "shipped" / SHIPPED) as path:
            return cls.load(path)


def _from_record(record: dict[str, Any], where: str) -> Calibration:
    """Build the dataclasses, checking every key and value."""
    newer: dict[str, Any] = {"scored_by": {}, "fitted_pairs": None}  # files of earlier builds lack them
    values = checked(newer | record, _FIELDS[Calibration], where, AGAIN)
    if values["valence_transform"] != VALENCE_TRANSFORM:
        raise FergiRewardError(
            f"{where}: valence_transform is {values['valence_transform']!r}, this version knows {VALENCE_TRANSFORM!r}"
        )
    checked({"users": values["dataset"].get("users", [])}, {"users": "texts"}, f"{where}, dataset", AGAIN)
    if values["fitted_pairs"] is not None:
        values["fitted_pairs"] = PairSketch.of_record(values["fitted_pairs"], f"{where}, fitted_pairs", AGAIN)
    values["fits"] = tuple(_fit(fit, f"{where}, fit {number}") for number, fit in enumerate(values["fits"], start=1))
    return Calibration(**values)


def _fit(record: object, where: str) -> Fit:
    values = checked(record, _FIELDS[Fit], where, AGAIN)
    values["terms"] = tuple(
        Term(**checked(term, _FIELDS[Term], f"{where}, term {number}", AGAIN))
        for number, term in enumerate(values["terms"], start=1)
    )
    values["ci95"] = values["ci95"] and tuple(values["ci95"])
    try:
        return Fit(**values)
    except FergiRewardError as error:
        raise FergiRewardError(f"{where}: {error}") from error


_FIELDS: dict[type, dict[str, str]] = {
    Term: {"name": "text", "mean": "number", "std": "number", "weight": "number", "decay": "optional"},
    Fit: {"name": "text", "terms": "records", "accuracy": "optional", "ci95": "interval", "log_loss": "optional"},
    Calibration: {"protocol": "text", "au_source": "text", "fits": "records", "dataset": "record"}
    | {"library_version": "text", "command": "text", "seed": "number", "valence_transform": "text", "schema": "number"}
    | {"scored_by": "record", "fitted_pairs": "optional record"},
}
