"""Who the simulated participants are: how they look, what they like, how they frown at what they do not like."""

import hashlib
from dataclasses import dataclass

import numpy as np

from fergi_reward.collect.simulation.faces import LARGEST, Look

TASTE = 0.5  # spread of a person's own taste; that of the pictures' quality, which all share, is 1
MOOD = 0.3  # spread of what moves a ranking alone, or the brows alone
STEEPNESS = 1.5  # of a frown against the liking
RELOADS_EACH = 3  # every third person reloads the page during a picture


def digest(picture: bytes) -> str:
    """A picture by its bytes: all that a participant's browser and the simulation both know of it."""
    return hashlib.sha256(picture).hexdigest()


@dataclass(frozen=True)
class Person:
    """One simulated participant; all that they do follows from the seed, their number, and the picture.

    Attributes:
        seed: Seed of the rehearsal.
        number: From 0.
        withdraws: Whether they have everything deleted at the end.
    """

    seed: int
    number: int
    withdraws: bool = False

    @property
    def reloads(self) -> bool:
        """Whether they reload the page once while a picture is shown."""
        return self.number % RELOADS_EACH == 1

    @property
    def look(self) -> Look:
        """How the camera sees them."""
        draws = np.random.default_rng([self.seed, self.number])
        scale, right, down, light = draws.uniform([1.7, -30, -15, 0.75], [2.3, 30, 15, 1.1]).tolist()
        return Look(scale, right, down, light, mirrored=self.number % 2 == 1)

    def liking(self, picture: str) -> float:
        """How much they like a picture, by its digest; 0 on average, with a spread of about 1."""
        return self._drawn("quality", picture, own=False) + TASTE * self._drawn("taste", picture)

    def ranking_value(self, picture: str) -> float:
        """What they rank a picture by; a higher value is preferred."""
        return self.liking(picture) + MOOD * self._drawn("ranking", picture)

    def lowering(self, picture: str) -> float:
        """How far their brows come down at it, from 0 to `LARGEST`, in distances between the outer eye corners."""
        felt = self.liking(picture) + MOOD * self._drawn("frown", picture)
        return float(LARGEST / (1 + np.exp(STEEPNESS * (felt + 0.5))))

    def _drawn(self, what: str, picture: str, own: bool = True) -> float:
        """A draw from the standard normal distribution that is the same whenever it is asked for."""
        name = f"{what} {self.seed} {self.number if own else 'all'} {picture}"
        return float(np.random.default_rng(list(hashlib.sha256(name.encode()).digest())).standard_normal())


def draw_people(count: int, seed: int) -> list[Person]:
    """The participants of a rehearsal, of whom the last one withdraws."""
    return [Person(seed, number, withdraws=number == count - 1) for number in range(count)]
