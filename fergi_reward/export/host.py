"""From a fit to weights that a host multiplies its own scores by: its sum then orders images as the fit's total does.

The total is the sum of weight * (x - mean) / std over the scorers. A host that knows the score x as y = scale * x adds
the sum of weight / (std * scale) * y, which lacks the constant offset, the sum of -weight * mean / std.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword

from fergi_reward.calibration.calibration import Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.export.options import HostName
from fergi_reward.scorers.registry import REGISTRY


@dataclass(frozen=True)
class OwnReward:
    """A reward that a host has.

    Attributes:
        name: What the host calls it.
        scale: It gives scale * score, above 0.
        remark: What must be so for that.
    """

    name: str
    scale: float = 1.0
    remark: str = ""


@dataclass(frozen=True)
class Host:
    """A training program.

    Attributes:
        name: As the command names it.
        own: Its own rewards, by the term that they score.
        source: Where their scales are written.
        adds: What it does with weighted rewards; a sentence.
        lines: The lines for its configuration.
        needs_positive_sum: Whether it refuses weights, or gives 0, where their sum is not above 0.
    """

    name: HostName
    own: Mapping[str, OwnReward]
    source: str
    adds: str
    lines: Callable[["HostWeights"], list[str]]
    needs_positive_sum: bool = False


@dataclass(frozen=True)
class HostWeight:
    """The weight of one reward of a host.

    Attributes:
        term: What the fit says of it.
        own: The host's reward for it; None where it has none.
        weight: What the host multiplies its reward by.
        is_scorer: Whether a name of this package's scorers, or of an installed package's, is that of the term.
    """

    term: Term
    own: OwnReward | None
    weight: float
    is_scorer: bool = True

    @property
    def name(self) -> str:
        """What the host calls the reward."""
        return self.own.name if self.own else self.term.name

    @property
    def function(self) -> str:
        """The name as that of a function.

        >>> HostWeight(Term("hps_v2.1", 0.0, 1.0, 1.0), None, 1.0).function
        'hps_v2_1'
        """
        name = re.sub(r"\W", "_", self.name)
        return name if name.isidentifier() and not iskeyword(name) else f"reward_{name}"


@dataclass(frozen=True)
class HostWeights:
    """The weights of all rewards of a host.

    Attributes:
        fit: Where they come from.
        weights: In the order of its terms.
        by_group: Whether the host standardises each reward among a prompt's images.
    """

    fit: Fit
    weights: tuple[HostWeight, ...]
    by_group: bool

    @property
    def lacking(self) -> list[HostWeight]:
        """The rewards that the host does not have, and this package does."""
        return [weight for weight in self.weights if weight.own is None and weight.is_scorer]

    @property
    def offset(self) -> float:
        """What the host's sum lacks to be the fit's total."""
        return 0.0 - sum(term.weight * term.mean / term.std for term in self.fit.terms)


def host_weights(host: Host, fit: Fit, by_group: bool = False) -> HostWeights:
    """The weights for a host.

    Args:
        host: The host.
        fit: A fit without action units.
        by_group: Whether the host standardises each reward among a prompt's images: then its scale has no effect.

    Raises:
        FergiRewardError: The host cannot use them, or a name cannot be written.
    """
    found, scorers = [], {*REGISTRY.builtin, *REGISTRY.installed()}
    for term in fit.terms:
        own = host.own.get(term.name)
        raw = term.weight / (term.std * (own.scale if own else 1.0))
        found.append(HostWeight(term, own, term.weight if by_group else raw, term.name in scorers))
    names = [weight.function for weight in found]
    if twice := next((weight for weight in found if names.count(weight.function) > 1), None):
        raise FergiRewardError(f"two terms of {fit.name} are called {twice.name} in {host.name}: choose another --fit")
    if strange := next((term.name for term in fit.terms if not term.name.isprintable() or "${" in term.name), None):
        raise FergiRewardError(f"the term {strange!r} has characters that no configuration can hold: rename it")
    if host.needs_positive_sum and (total := sum(weight.weight for weight in found)) <= 0:
        raise FergiRewardError(
            f"the weights for {host.name} add up to {total:.4g}, and it takes only weights with a sum above 0: choose "
            "another --fit, or give it the whole reward by its adapter (docs/ADAPTERS.md)"
        )
    return HostWeights(fit, tuple(found), by_group)


def number(value: float) -> str:
    """A number of nine digits that Python and every reader of YAML take as a float.

    >>> number(1 / 3), number(2.0), number(1e-9)
    ('0.333333333', '2.0', '1.0e-09')
    """
    digits, e, exponent = f"{value:.9g}".partition("e")
    return f"{digits if '.' in digits else digits + '.0'}{e}{exponent}"


def text(value: str) -> str:
    r"""A text as Python and YAML write it.

    >>> print(text('a "b"'))
    "a \"b\""
    """
    return json.dumps(value, ensure_ascii=False)


def mapping(weights: Sequence[HostWeight]) -> str:
    """The weights by name, on one line of Python or YAML."""
    return f"{{{', '.join(f'{text(weight.name)}: {number(weight.weight)}' for weight in weights)}}}"
