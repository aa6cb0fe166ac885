"""The unit of a scale: how far faces move on it, so that numbers that were chosen on FERGI's scale fit every other."""

import math

import numpy as np

from fergi_reward.reactions.clip import Floats
from fergi_reward.reactions.sources import FERGI, SIMULATED

# On this scale decay coefficients, the bound for restless people and FAU-Net's inputs were chosen.
FERGI_SCALE = (FERGI, SIMULATED)
# The mean distance of its AU4 activations from their median, 2,217 valid clips.
FERGI_SPREAD = 0.45
STEPS = (1, 2, 5)


def unit_of(activations: Floats, source: str | None) -> float:
    """What a source shows where FERGI's regressor shows 1.

    It is 1 on FERGI's own scale. On any other it follows from the activations: their mean distance from their median,
    over that of FERGI's, to the nearest of 1, 2 and 5 times a power of ten, so that a few clips hardly ever change it
    and decay coefficients stay short numbers. It uses no rank and no score.

    Args:
        activations: AU4 activations, (N,); NaN does not count.
        source: What measured them.

    >>> frowns = np.array([0.0, 0.5, 0.5, 1.0, 2.0])
    >>> unit_of(frowns, "fergi-ir50"), unit_of(frowns, "camera"), unit_of(frowns / 100, "camera")
    (1.0, 1.0, 0.01)
    """
    known = activations[np.isfinite(activations)]
    if source in FERGI_SCALE or not len(known):
        return 1.0
    spread = float(np.abs(known - np.median(known)).mean())
    return nearest_step(spread / FERGI_SPREAD) if spread > 0 else 1.0


def nearest_step(value: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten, by ratio.

    >>> nearest_step(0.0139), nearest_step(0.9), nearest_step(360)
    (0.01, 1.0, 500.0)
    """
    power = math.floor(math.log10(value))
    steps = [float(f"{step}e{exponent}") for exponent in (power, power + 1) for step in STEPS]
    return min(steps, key=lambda step: abs(math.log(step / value)))


def per_unit(decay: float, unit: float) -> float:
    """A decay coefficient for a scale, from that for FERGI's: it multiplies activations.

    >>> per_unit(0.4, 1.0), per_unit(0.4, 0.02), per_unit(0.1, 0.005)
    (0.4, 20.0, 20.0)
    """
    return float(f"{decay / unit:.12g}")
