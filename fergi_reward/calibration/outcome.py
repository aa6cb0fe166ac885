"""What a protocol gives: fits on everybody, and the margins of models on participants that they were not fitted on."""

from dataclasses import dataclass, field

from fergi_reward.calibration.calibration import Fit
from fergi_reward.data.table import PreferenceTable
from fergi_reward.stats.held_out import HeldOut
from fergi_reward.stats.intervals import Interval


@dataclass(frozen=True)
class Effect:
    """What a rise of an action unit by the unit of its scale, 1 on FERGI's, adds to the log-odds of the image seen.

    Attributes:
        log_odds: Below 0 where the action unit speaks against the image.
        ci95: Its interval, by bootstrap over participants.
    """

    log_odds: float
    ci95: Interval


@dataclass(frozen=True)
class Outcome:
    """What a protocol found.

    Attributes:
        table: The rows used.
        fits: The weights, fitted on every participant.
        held_out: What the models fitted without a participant say of that participant.
        reaction: What models call the viewer's face: `au4`, or a name of several action units.
        excluded: Participants left out by the protocol's rules, and why.
        published: Accuracies that were published for the same models on the same data, in percent.
        effects: What each action unit adds, where the protocol tells.
    """

    table: PreferenceTable
    fits: tuple[Fit, ...]
    held_out: tuple[HeldOut, ...]
    reaction: str
    excluded: dict[str, str] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    effects: dict[str, Effect] = field(default_factory=dict)
