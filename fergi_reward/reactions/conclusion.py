"""The end of an `extract`: its tables, and what of the folder today's manifest has overruled."""

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fergi_reward.reactions.clip_file import Origin, StoredClip, read_clip_file
from fergi_reward.reactions.folder import CLIP_KEY, ReactionFolder, Row
from fergi_reward.reactions.manifest import Recording
from fergi_reward.reactions.tombstones import Tombstones
from fergi_reward.reactions.video import Window

Key = tuple[str, str, str, str]


@dataclass
class Results:
    """What a run has for the rows that it was asked for.

    Attributes:
        clips: By the key of a recording, its clip.
        failures: By the key of a recording, why it has none.
        videos: By the content of a video, its names in the manifest.
        gone: The recordings whose video is gone, or cannot be read.
        notes: What to know, a sentence each.
    """

    clips: dict[Key, Path] = field(default_factory=dict)
    failures: dict[Key, str] = field(default_factory=dict)
    videos: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    gone: list[Recording] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Extraction:
    """The outcome of a run.

    Attributes:
        clips: How many of the rows asked for have a clip now.
        failures: A row for each that has none, as `errors.csv` has it.
        forgotten: How many rows are of people who were forgotten, and left out.
        notes: What else to know, a sentence each.
    """

    clips: int
    failures: Sequence[Row]
    forgotten: int
    notes: Sequence[str]


def conclude(
    folder: ReactionFolder, recordings: Sequence[Recording], results: Results, units: Sequence[str], prune: bool
) -> Extraction:
    """Write the tables of a folder, and delete the clips that have no place in them any more.

    A clip stays that no row of today names, if today's manifest says nothing of its video nor of its reaction; and,
    whatever it says, while the video of the row is gone, since it could not be measured again.

    Args:
        folder: The folder.
        recordings: What was asked for.
        results: The outcome.
        units: The action units that were measured.
        prune: Delete those of which today's manifest says nothing, too.
    """
    with folder.changing() as stones:
        asked = [row for row in recordings if not stones.of(row.user)]
        origins, damaged = folder.origins()
        mine = {row.key: path for row in asked if (path := results.clips.get(row.key)) in origins}
        today = set(mine.values())
        others = {path: origin for path, origin in origins.items() if path not in today}
        left = _left(folder, others, [origins[path] for path in today], results, stones)
        changed = _of_gone(left, origins, results.gone)
        staying = [] if prune else _staying(left, origins, recordings, changed)
        kept = [path for path in left if path in {*changed, *staying}]
        rows = {origins[path].key: path for path in reversed(kept)} | mine  # one clip a reaction
        stored = {path: read_clip_file(path) for path in (*kept, *mine.values()) if rows[origins[path].key] == path}
        folder.write_rows([_clip_row(path, clip) for path, clip in stored.items()], units)
        earlier, failed = _failures(folder, recordings, prune), _failed(asked, results)
        folder.write_failures([*earlier, *failed])
        folder.delete(others.keys() - set(kept))
    notes = [*results.notes, *_copies(results), *(f"{path} cannot be read: restore or delete it" for path in damaged)]
    crowds = (_crowd(row.video, stored[mine[row.key]]) for row in asked if row.key in mine)
    notes += filter(None, crowds)
    if removed := len(others) - len(kept):
        notes.append(f"{removed} reactions of earlier runs were deleted: this manifest has others in their place")
    if staying or earlier:
        notes.append(
            f"{len(staying)} reactions and {len(earlier)} failures of earlier runs stay, of videos that this manifest "
            "does not name: to delete them add --prune"
        )
    return Extraction(len(mine), failed, len(recordings) - len(asked), notes)


def _left(
    folder: ReactionFolder,
    others: Mapping[Path, Origin],
    mine: Sequence[Origin],
    results: Results,
    stones: Tombstones,
) -> list[Path]:
    """The clips of videos that were not seen today and did not move, in the order of the tables so far."""
    moved = {(origin.digest, origin.window) for origin in mine}
    forgotten = {user for user in {origin.user for origin in others.values()} if stones.of(user)}
    order = {row["clip"]: number for number, row in enumerate(folder.rows())}
    found = [
        path
        for path, origin in others.items()
        if origin.digest not in results.videos
        and (origin.digest, origin.window) not in moved
        and origin.user not in forgotten
    ]
    return sorted(found, key=lambda path: (order.get(_clip(path), len(order)), others[path].key))


def _of_gone(left: Sequence[Path], origins: Mapping[Path, Origin], gone: Sequence[Recording]) -> set[Path]:
    """The clips of reactions and of places of videos that today's manifest names, while the video is gone."""
    keys, places = {row.key for row in gone}, {row.place for row in gone}
    return {path for path in left if origins[path].key in keys or origins[path].place in places}


def _staying(
    left: Sequence[Path], origins: Mapping[Path, Origin], recordings: Sequence[Recording], changed: Collection[Path]
) -> list[Path]:
    """The clips of which today's manifest says nothing."""
    keys = {row.key for row in recordings}
    return [path for path in left if origins[path].key not in keys and path not in changed]


def _failures(folder: ReactionFolder, recordings: Sequence[Recording], prune: bool) -> list[Row]:
    """The failures of earlier runs of which today's manifest says nothing."""
    keys, places = {row.key for row in recordings}, {row.place for row in recordings}
    return [
        row
        for row in folder.failures()
        if not prune and row.get("place") not in places and tuple(row[name] for name in CLIP_KEY) not in keys
    ]


def _failed(asked: Iterable[Recording], results: Results) -> list[Row]:
    """The rows of today that have no clip."""
    tried = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return [
        {**_named(row.key, row.video, row.window), "tried": tried, "error": error, "place": row.place}
        for row in asked
        if (error := results.failures.get(row.key))
    ]


def _clip_row(path: Path, stored: StoredClip) -> Row:
    clip, origin = stored.clip, stored.origin
    return _named(origin.key, origin.video, origin.window) | {
        "consent": origin.consent,
        "clip": _clip(path),
        "source": origin.source,
        "backend": origin.backend,
        "frames": len(clip.timestamps),
        "seconds": round(float(clip.timestamps[-1] - clip.timestamps[0]), 3),
        "valid_share": round(clip.valid_share(), 4),
        "faces": int(stored.faces.max()),
        **clip.activation(),
    }


def _named(key: Key, video: str, window: Window) -> dict[str, object]:
    seconds = {} if window == Window() else {"start": window.start, "end": window.end}
    return {**dict(zip(CLIP_KEY, key, strict=True)), "video": video, **seconds}


def _clip(path: Path) -> str:
    return f"clips/{path.name}"


def _crowd(video: str, stored: StoredClip) -> str | None:
    """For how much of a clip there were several faces, and the viewer's was measured; None where there was one."""
    if not (share := stored.crowded_share()):
        return None
    return (
        f"several faces in {video} for {share:.0%} of the time: the one that was the largest when one was first seen "
        f"was measured, for {stored.clip.valid_share():.0%} of the time, and no other"
    )


def _copies(results: Results) -> list[str]:
    """Videos of the same content under several names."""
    return [
        f"{', '.join(names[:-1])} and {names[-1]} are the same video: check that each row has its own"
        for names in results.videos.values()
        if len(names) > 1
    ]
