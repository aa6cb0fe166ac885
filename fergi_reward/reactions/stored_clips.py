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

    def of_deleted(self, wanted: Origin) -> Path | None:
        """The clip of a video that is deleted by now.

        It is that of an unchanged row or, where a row was corrected, the only one of the video that was there.
        """
        same = [path for path in self._by[wanted.key] if self._part(path) == (wanted.video, wanted.window)]
        there = [path for path in self._by[wanted.place] if self._origins[path].window == wanted.window]
        found = same or (there if len({self._origins[path].digest for path in there}) == 1 else [])
        return min(found, default=None)

    def _part(self, path: Path) -> tuple[object, object]:
        return self._origins[path].video, self._origins[path].window
