"""`fergi-reward export`: the text to paste into a host's configuration."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fergi_reward.calibration.calibration import Calibration, Fit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import one_line
from fergi_reward.export.host import Host, HostWeight, HostWeights, host_weights, number
from fergi_reward.export.hosts import HOSTS
from fergi_reward.export.options import ExportOptions
from fergi_reward.version import __version__


@dataclass(frozen=True)
class Exported:
    """What a host needs.

    Attributes:
        host: The host.
        calibration: Where the weights come from.
        found: The weights.
        text: What to paste.
    """

    host: Host
    calibration: Calibration
    found: HostWeights
    text: str

    def record(self) -> dict[str, Any]:
        """For `--json`; weights are those that the host multiplies by."""
        weights = [{"term": each.term.name, "name": each.name, "weight": each.weight} for each in self.found.weights]
        return {
            "for": self.host.name,
            "fit": self.found.fit.name,
            "fingerprint": self.calibration.fingerprint(),
            "by_group": self.found.by_group,
            "weights": weights,
            "offset": self.found.offset,
            "text": self.text,
        }


def export(options: ExportOptions, command: str) -> Exported:
    """Make the text.

    Args:
        options: Which weights, and for which host.
        command: Noted in the text.

    Raises:
        FergiRewardError: The calibration cannot be read, has no such fit, or the host cannot use its weights.
    """
    calibration = options.weights_by_hand() or Calibration.load(options.calibration or "shipped")
    host = HOSTS[options.for_]
    found = host_weights(host, chosen_fit(calibration, options.fit), options.by_group)
    comments = [f"# {one_line(line)}" for line in _comments(host, calibration, found, command)]
    return Exported(host, calibration, found, "\n".join([*comments, "", *host.lines(found), ""]))


def chosen_fit(calibration: Calibration, name: str | None) -> Fit:
    """The fit of that name; by default that of all scorers, without the face, which no host has.

    Raises:
        FergiRewardError: There is none, or it weighs action units.
    """
    faceless = [fit for fit in calibration.fits if fit.terms and not fit.units]
    if not faceless:
        raise FergiRewardError("each fit of the calibration weighs the face, which no host has: calibrate without it")
    if name is None:
        return max(faceless, key=lambda fit: len(fit.terms))
    fits = [fit for fit in calibration.fits if fit.name == name]
    if fits and fits[0].units:
        why = f"the fit {name!r} weighs {', '.join(fits[0].units)}, which no host measures"
    elif not fits:
        why = f"the calibration has no fit {name!r}"
    else:
        return fits[0]
    raise FergiRewardError(f"{why}: choose one of {', '.join(fit.name for fit in faceless)}")


def _comments(host: Host, calibration: Calibration, found: HostWeights, command: str) -> Iterator[str]:
    """What a reader of the configuration must know, a line each."""
    fit = found.fit
    origin = f"calibration {calibration.fingerprint()[:16]} ({calibration.protocol})"
    yield f"weights of the fit {fit.name} of {origin}, fergi_reward {__version__}"
    yield f"written by: {command}"
    if fit.accuracy is not None and fit.ci95 is not None:
        low, high = fit.ci95
        yield f"right on {fit.accuracy:.1%} of the pairs left out of the fit (95 % interval {low:.1%} to {high:.1%})"
    if any(other.units for other in calibration.fits):
        yield "Other fits also weigh the viewer's face, which a host does not see: this is the one without it."
    if host.adds:
        yield from _sum(host, found)
        yield f"Read in November 2026 in {host.source}."
    for each in found.weights:
        yield from _reward(each)


def _sum(host: Host, found: HostWeights) -> Iterator[str]:
    """How the host's sum goes with the total."""
    if found.by_group:
        yield "The host standardises each reward among the images of a prompt, multiplies by these weights, and adds."
        yield "With one reward, that keeps the order of a prompt's images. With several, the order is sure to stay only"
        yield "where their spreads among these images have the proportions of those among the images of the fit."
        yield "Elsewhere a reward that spreads little counts for more than the fit says, another for less."
        return
    yield host.adds
    yield f"The sum orders images as the fit's total does: the total is the sum plus {number(found.offset)}."


def _reward(weight: HostWeight) -> Iterator[str]:
    """Where a reward comes from, and on which scale."""
    if weight.own:
        by = (
            ""
            if weight.own.scale == 1
            else f", whose values are those of {weight.term.name} times {weight.own.scale:.4g}"
        )
        remark = f"; {weight.own.remark}" if weight.own.remark else ""
        yield f"{weight.name} is the host's own{by}{remark}."
    elif not weight.is_scorer:
        yield f"{weight.name} is no scorer of fergi_reward: give the host a reward with the values that were weighed."
