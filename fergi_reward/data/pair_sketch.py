"""A small sample of the pairs that weights were fitted on, from which one tells how many of other pairs are among them.

Each pair has a hash; the sample is the smallest of them, so that any two sets of pairs are sampled alike: the "bottom-k
sketch" of Cohen and Kaplan, "Summarizing data using bottom-k sketches" (PODC 2007).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.json_records import checked

# So many hashes are kept: a share of one half is known to 1.6 points (one standard error), and they are 17 kB of JSON.
KEPT = 1024
_HASHES = re.compile(r"(?:[0-9a-f]{16}(?: [0-9a-f]{16})*)?")


@dataclass(frozen=True)
class Overlap:
    """How many of some pairs are among those of a sketch.

    Attributes:
        found: Pairs that are.
        compared: Pairs that could be compared; equal ones count once.
        is_exact: Whether these are all, else a sample of them.
    """

    found: int
    compared: int
    is_exact: bool

    @property
    def share(self) -> float:
        """The share of the pairs that are among those of the sketch, or an unbiased estimate of it."""
        return self.found / self.compared


@dataclass(frozen=True)
class PairSketch:
    """The smallest hashes of pairs.

    Attributes:
        pairs: How many different pairs there are.
        smallest: The smallest of their hashes, rising; all of them where they are at most `KEPT`.
    """

    pairs: int
    smallest: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], kept: int = KEPT) -> "PairSketch":
        """The sketch of pairs, from the hash of each (pairs,)."""
        different = _different(hashes)
        return cls(len(different), tuple(different[:kept].tolist()))

    @classmethod
    def of_record(cls, record: object, where: str, advice: str) -> "PairSketch":
        """Read what `record` wrote.

        Raises:
            FergiRewardError: It did not write this.
        """
        values = checked(record, {"pairs": "whole", "smallest": "text"}, where, advice)
        if not _HASHES.fullmatch(values["smallest"]):
            raise FergiRewardError(f"{where}: smallest must be hashes of 16 hexadecimal digits: {advice}")
        hashes = tuple(int(text, 16) for text in values["smallest"].split())
        if any(one >= other for one, other in pairwise(hashes)):
            raise FergiRewardError(f"{where}: smallest must be rising hashes: {advice}")
        if len(hashes) > values["pairs"] or (values["pairs"] and not hashes):
            raise FergiRewardError(f"{where}: it has {len(hashes)} hashes of {values['pairs']} pairs: {advice}")
        return cls(values["pairs"], hashes)

    def record(self) -> dict[str, Any]:
        """As JSON: the hashes as one text, since programs round numbers of 64 bits."""
        return {"pairs": self.pairs, "smallest": " ".join(f"{each:016x}" for each in self.smallest)}

    def overlap(self, hashes: NDArray[np.uint64]) -> Overlap:
        """How many pairs, of which these are the hashes (pairs,), are among those of the sketch.

        Below the largest hash that it has, it has all, so there the two are compared exactly; that is a random sample.
        """
        different, is_exact = _different(hashes), len(self.smallest) == self.pairs
        known = np.array(self.smallest, dtype=np.uint64)
        compared = different if is_exact else different[different < known[-1]]
        return Overlap(int(np.isin(compared, known).sum()), len(compared), is_exact)


def _different(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each once, rising; `np.unique` takes 20 times as long."""
    rising = np.sort(hashes)
    return rising[np.append(True, rising[1:] != rising[:-1])[: len(rising)]]


def pair_hashes(pictures: Iterable[tuple[str, str]], better: Sequence[int], worse: Sequence[int]) -> NDArray[np.uint64]:
    """A hash of each pair, (pairs,): the first 64 bits of SHA-256 over its prompt and its pictures' names.

    Args:
        pictures: The prompt and the name of each picture.
        better: The preferred picture of each pair, by number, (pairs,).
        worse: The other one, (pairs,).
    """
    digests = [sha256(f"{prompt}\0{image}".encode(errors="surrogatepass")).digest() for prompt, image in pictures]
    sides = zip(better, worse, strict=True)
    hashes = (int.from_bytes(sha256(digests[one] + digests[other]).digest()[:8]) for one, other in sides)
    return np.fromiter(hashes, dtype=np.uint64, count=len(better))
