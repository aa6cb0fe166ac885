"""A map between the scales of two AU sources: an AU4 activation as one measures it -> as the other would, and JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_json
from fergi_reward.files.json_records import checked, read_record
from fergi_reward.reactions.clip import Floats

SCHEMA = 1


@dataclass(frozen=True)
class SourceMap:
    """A rising, piecewise linear map of AU4 activations, with its provenance.

    Below the first knot it is constant: a still face, 0 included, maps to the target's floor. Beyond the last knot it
    continues with the mean slope between the first and the last, so that the order of strong frowns is kept.

    Attributes:
        from_source: What measured the activations that it takes.
        to_source: On whose scale those are that it gives.
        knots: Activations of either source that belong together, (K, 2), at least two; both columns at least 0 and
            rising.
        method: How the knots were found.
        from_clips: How many clips of `from_source` it was fitted on.
        from_users: Who is seen in them.
        to_clips: How many clips of `to_source`.
        to_users: Who is seen in them.
        library_version: The version that fitted it.
        schema: Version of this layout.

    Raises:
        FergiRewardError: The knots are too few, negative, not finite, or do not rise.
    """

    from_source: str
    to_source: str
    knots: tuple[tuple[float, float], ...]
    method: str
    from_clips: int
    from_users: tuple[str, ...]
    to_clips: int
    to_users: tuple[str, ...]
    library_version: str
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        knots = np.array(self.knots, dtype=float)
        if knots.ndim != 2 or knots.shape[1] != 2 or len(knots) < 2:
            raise FergiRewardError(f"a map needs at least two knots of two numbers, got {len(knots)}: fit it again")
        if not (np.isfinite(knots).all() and (knots >= 0).all() and (np.diff(knots, axis=0) > 0).all()):
            raise FergiRewardError("the knots of a map must be finite, at least 0, and rise: fit it again")

    def __call__(self, activations: Floats) -> Floats:
        """The activations on the other scale.

        Args:
            activations: Any shape, at least 0; NaN stays NaN.

        >>> doubled = SourceMap("a", "b", ((0.1, 0.2), (0.3, 0.6)), "by hand", 0, (), 0, (), "")
        >>> doubled(np.array([0.0, 0.2, 0.5])).round(6).tolist()
        [0.2, 0.4, 1.0]
        """
        before, after = np.array(self.knots).T
        slope = (after[-1] - after[0]) / (before[-1] - before[0])
        return np.interp(activations, before, after) + slope * np.maximum(activations - before[-1], 0)

    def used(self, user: str, source: str) -> bool:
        """Whether reactions of a participant, as measured by a source, are among those that it was fitted on."""
        return (source == self.from_source and user in self.from_users) or (
            source == self.to_source and user in self.to_users
        )

    def save(self, path: Path | str) -> None:
        """Write the map as JSON, whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path | str) -> "SourceMap":
        """Read a map.

        Raises:
            FergiRewardError: The file is missing, has an unknown schema, lacks a key, or holds what it may not.
        """
        record = read_record(path, "source map", SCHEMA, "fit it again")
        values = checked(record, _KINDS, f"source map {path}", "fit it again")
        lists = {name: tuple(values[name]) for name in ("from_users", "to_users")}
        try:
            return cls(**values | lists | {"knots": tuple(map(tuple, values["knots"]))})
        except FergiRewardError as error:
            raise FergiRewardError(f"source map {path}: {error}") from error


_KINDS = {
    **{"from_source": "text", "to_source": "text", "knots": "points", "method": "text"},
    **{"from_clips": "whole", "from_users": "texts", "to_clips": "whole", "to_users": "texts"},
    **{"library_version": "text", "schema": "whole"},
}
