"""What a participant sees, in which order, and what the page calls it.

All of it follows from the seed of the study, the participant's number and a random key: nothing is stored but these.
Orders sort by a hash, so that they are the same with any version of Python. Names that the page knows are hashes with
the participant's key: they say nothing of files, and nothing to another participant.
"""

import hashlib
import hmac
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

from fergi_reward.collect.pictures import Picture, Pictures

T = TypeVar("T")
# Trials of schedules that are kept in memory.
KEPT_TRIALS = 200_000


@dataclass(frozen=True)
class Person:
    """What an order depends on.

    Attributes:
        participant: The pseudonym.
        number: How many began before.
        key: Random bytes.
    """

    participant: str
    number: int
    key: bytes


@dataclass(frozen=True)
class Shown:
    """A picture as one participant sees it.

    Attributes:
        image: What the page calls it.
        trial: What the page calls its showing.
        session: What the page calls its session.
        position: Its place in the order, from 0.
        picture: The picture.
    """

    image: str
    trial: str
    session: str
    position: int
    picture: Picture


@dataclass(frozen=True)
class Pair:
    """Two pictures to compare.

    Attributes:
        pair: What the page calls it.
        position: Its place in the order, from 0.
        left: The one on the left.
        right: The other one.
    """

    pair: str
    position: int
    left: Shown
    right: Shown


@dataclass(frozen=True)
class Sitting:
    """A session as one participant sees it.

    Attributes:
        session: What the page calls it.
        name: Its name in pictures.csv.
        shown: Its pictures in their order.
        pairs: Its pairs in their order; none where they are not asked for.
    """

    session: str
    name: str
    shown: Sequence[Shown]
    pairs: Sequence[Pair]


class Schedule:
    """All that a participant sees.

    Args:
        sittings: The sessions in their order.
    """

    def __init__(self, sittings: Sequence[Sitting]) -> None:
        self.sittings = sittings
        self.by_session = {sitting.session: sitting for sitting in sittings}
        self.by_trial = {shown.trial: shown for sitting in sittings for shown in sitting.shown}
        self.by_image: Mapping[str, Shown] = {shown.image: shown for shown in self.by_trial.values()}
        self.by_pair = {pair.pair: pair for sitting in sittings for pair in sitting.pairs}


class Schedules:
    """The schedules of all participants.

    Args:
        pictures: The pictures of the study.
        seed: Seed of the study.
        sessions: How many sessions each participant sees; None: all.
        has_pairs: Whether pairs are asked for.
    """

    def __init__(self, pictures: Pictures, seed: int, sessions: int | None, has_pairs: bool) -> None:
        self._pictures, self._seed, self._has_pairs = pictures, seed, has_pairs
        self._count = min(sessions or len(pictures.sessions), len(pictures.sessions))
        largest = max(map(len, pictures.sessions.values()))
        self.of: Callable[[Person], Schedule] = lru_cache(max(8, KEPT_TRIALS // (largest * self._count)))(self._made)

    def _made(self, person: Person) -> Schedule:
        sittings, position, pairs = list[Sitting](), 0, 0
        for name in self._sessions(person.number):
            session = _name(person, "session", name)
            pictures = _ordered(self._pictures.sessions[name], self._seed, person.participant, lambda each: each.image)
            shown = [
                Shown(_name(person, "image", *key), _name(person, "trial", *key), session, position + place, picture)
                for place, picture in enumerate(pictures)
                for key in [(name, picture.image)]
            ]
            compared = self._pairs(person, name, shown, pairs) if self._has_pairs else []
            position, pairs = position + len(shown), pairs + len(compared)
            sittings.append(Sitting(session, name, shown, compared))
        return Schedule(sittings)

    def _sessions(self, number: int) -> Sequence[str]:
        """The sessions of a participant: a block of a ring of all, so that each is seen equally often in a cycle."""
        names = list(self._pictures.sessions)
        cycle, block = divmod(number, len(names) // math.gcd(len(names), self._count))
        order = _ordered(names, self._seed, f"cycle {cycle}", str)
        chosen = [order[(block * self._count + place) % len(names)] for place in range(self._count)]
        return _ordered(chosen, self._seed, f"participant {number}", str)

    def _pairs(self, person: Person, name: str, shown: Sequence[Shown], position: int) -> list[Pair]:
        """All pairs of a session, each with its sides by chance."""
        both = {
            _name(person, "pair", name, one.picture.image, other.picture.image): (one, other)
            for one, other in combinations(sorted(shown, key=lambda each: each.picture.image), 2)
        }
        return [
            Pair(pair, position + place, *(both[pair] if int(pair[-1], 16) % 2 else both[pair][::-1]))
            for place, pair in enumerate(sorted(both))
        ]


def _name(person: Person, *what: str) -> str:
    return hmac.digest(person.key, json.dumps(what).encode(), "sha256").hex()[:24]


def _ordered(items: Iterable[T], seed: int, order: str, name: Callable[[T], str]) -> list[T]:
    """Items in an order that a seed says."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed}\n{order}\n{name(item)}".encode()).digest())
