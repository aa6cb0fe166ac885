"""The clips that a folder has, by what they were measured from."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from fergi_reward.reactions.clip_file import Origin


class StoredClips:
    """Finds the clip of a recording.

    Args:
        origins: What each clip was measured from.
    """

    def __init__(self, origins: Mapping[Path, Origin]) -> None:
        self._origins = origins
        self._by = defaultdict[object, list[Path]](list)
        for path, origin in origins.items():
            for known_by in (origin.digest, origin.place, origin.key):
                self._by[known_by].append(path)

    def of_content(self, wanted: Origin) -> Path | None:
        """The clip of a video's content and window by the same backend, whosever it was."""
        measure = wanted.window, wanted.source, wanted.backend
        found = [
            path
            for path in self._by[wanted.digest]
            if (self._origins[path].window, self._origins[path].source, self._origins[path].backend) == measure
        ]
        return min(found, key=lambda path: (self._origins[path].key != wanted.key, path), default=None)

    def of_unchanged(self, wanted: Origin) -> Path | None:
        """The clip of a row that is as it was, whose video is deleted by now."""
        return min(
            (path for path in self._by[wanted.key] if self._part(path) == (wanted.video, wanted.window)), default=None
        )

    def of_corrected(self, wanted: Origin) -> Path | None:
        """The only clip of the video that was in a place, whose names were corrected after it was deleted."""
        there = [path for path in self._by[wanted.place] if self._origins[path].window == wanted.window]
        return min(there) if len({self._origins[path].digest for path in there}) == 1 else None

    def before(self, wanted: Origin) -> Origin | None:
        """What there is of a reaction, or of the video in a place; None where there is nothing."""
        return next((self._origins[path] for path in (*self._by[wanted.key], *self._by[wanted.place])), None)

    def _part(self, path: Path) -> tuple[object, object]:
        return self._origins[path].video, self._origins[path].window
