"""What a rehearsed study collected, against what the simulated participants did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fergi_reward.calibration.protocols import calibrate
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.simulation.participant import Way
from fergi_reward.collect.simulation.people import Person, digest
from fergi_reward.collect.tables import VIDEO_COLUMNS
from fergi_reward.core.counts import counted
from fergi_reward.data.layouts import read_preferences
from fergi_reward.files.csv_files import read_rows
from fergi_reward.privacy.study_videos import FOLDER

LEAST_CORRELATION = 0.5
LEAST_MEASURED = 0.8  # of the pictures that were seen
LEAST_PEOPLE = 3  # that a calibration needs


@dataclass(frozen=True)
class Outcome:
    """How a rehearsal ended.

    Attributes:
        lines: What was found, a sentence each.
        problems: What is not as the simulation made it; empty where all is.
        values: The numbers by name.
    """

    lines: Sequence[str]
    problems: Sequence[str]
    values: Mapping[str, Any]


def outcome(options: CollectOptions, ways: Sequence[Way]) -> Outcome:
    """Compare the tables of a study whose server has ended with what its participants did.

    Raises:
        FergiRewardError: A table cannot be read.
    """
    found = [_deletions(options.out, ways)]
    people = {way.name: way.person for way in ways if not way.withdrew}
    pictures = _pictures(options)
    if options.task == "rank":
        found.append(_rankings(options.out / "judgements.csv", people, pictures))
    if options.camera:
        found.append(_reactions(options, people, pictures))
    if options.offer_video:
        found.append(_videos(options.out, seen=len(people) * len(pictures)))
    if options.task == "rank" and options.camera and len(people) >= LEAST_PEOPLE:
        found.append(_weight(options.out))
    return Outcome(
        [line for each in found for line in each.lines],
        [problem for each in found for problem in each.problems],
        {name: value for each in found for name, value in each.values.items()},
    )


def _pictures(options: CollectOptions) -> dict[tuple[str, str], str]:
    """The digest of each picture by session and name."""
    table = Path(str(options.pictures))
    rows = read_rows(table, ("session", "image", "file", "prompt"))
    return {
        (row.text("session"), row.text("image")): digest((table.parent / row.text("file")).read_bytes()) for row in rows
    }


def _deletions(folder: Path, ways: Sequence[Way]) -> Outcome:
    """Whether those who withdrew are in no file any more."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    withdrew = [way.name for way in ways if way.withdrew]
    left = sorted({str(path) for name in withdrew for path in files if name.encode() in path.read_bytes()})
    line = f"{len(withdrew)} of {counted(len(ways), 'participant')} withdrew, and {counted(len(left), 'file')} has them"
    problems = [f"who withdrew is still in {', '.join(left)}"] if left else []
    return Outcome([line], problems, {"participants": len(ways), "withdrew": len(withdrew)})


def _videos(folder: Path, seen: int) -> Outcome:
    """Whether there is a video of each picture that somebody saw, and no other one."""
    table = folder / "videos.csv"
    listed = {row["video"] for row in read_rows(table, VIDEO_COLUMNS)} if table.exists() else set()
    there = {f"{FOLDER}/{path.name}" for path in (folder / FOLDER).glob("*")}
    line = f"{len(there)} of {counted(seen, 'video')} were kept"
    problems = [] if there == listed and len(there) == seen else [f"only {line}, {len(listed)} are in videos.csv"]
    return Outcome([line], problems, {"videos": len(there)})


def _rankings(table: Path, people: Mapping[str, Person], pictures: Mapping[tuple[str, str], str]) -> Outcome:
    """Whether each ranking is the one that was made."""
    ranked: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for user, session, image, rank in _judged(table, people):
        value = people[user].ranking_value(pictures[session, image])
        ranked.setdefault((user, session), []).append((rank, value))
    wrong = [key for key, each in ranked.items() if any(a > b for (_, a), (_, b) in pairwise(sorted(each)))]
    expected = len(people) * len({session for session, _ in pictures})
    problems = [f"{user}'s ranking of session {session} is not the one that was made" for user, session in wrong]
    if len(ranked) != expected:
        problems.append(f"{counted(len(ranked), 'ranking')} arrived of {expected}")
    line = f"{len(ranked) - len(wrong)} of {counted(expected, 'ranking')} arrived as they were made"
    return Outcome([line], problems, {"rankings": len(ranked)})


def _judged(table: Path, people: Mapping[str, Person]) -> Iterator[tuple[str, str, str, float]]:
    if not table.exists():  # nobody judged
        return
    for row in read_rows(table, ("user", "session", "image", "rank"), carried=True):
        if row.text("user") in people:
            yield row.text("user"), row.text("session"), row.text("image"), float(row.text("rank"))


def _reactions(
    options: CollectOptions, people: Mapping[str, Person], pictures: Mapping[tuple[str, str], str]
) -> Outcome:
    """How well the activations follow the lowering of the brows."""
    pairs = np.array(
        [
            (people[user].lowering(pictures[session, image]), measured)
            for user, session, image, measured in _measured(options.out / "reactions" / "manifest.csv", people)
        ]
    ).reshape(-1, 2)
    seen = len(people) * len(pictures)
    correlation = float(np.corrcoef(pairs.T)[0, 1]) if len(pairs) > 2 else float("nan")
    lines = [f"{len(pairs)} of {counted(seen, 'reaction')} could be measured"]
    problems = []
    if len(pairs) < LEAST_MEASURED * seen:
        problems.append(f"only {lines[0]}: reactions/errors.csv says why")
    if not correlation >= LEAST_CORRELATION:
        problems.append(f"measured and simulated brows correlate by {correlation:.2f}, at least {LEAST_CORRELATION}")
    if len(pairs) > 2:
        gain = float(np.polyfit(pairs[:, 0], pairs[:, 1], 1)[0])
        lines.append(f"AU4 follows the brows with a correlation of {correlation:.2f} and a gain of {gain:.2f}")
    return Outcome(lines, problems, {"reactions": len(pairs), "correlation": correlation})


def _measured(table: Path, people: Mapping[str, Person]) -> Iterator[tuple[str, str, str, float]]:
    for row in read_rows(table, ("user", "session", "image", "kind", "au4"), carried=True):
        if row.text("kind") == "reaction" and row.text("user") in people:
            yield row.text("user"), row.text("session"), row.text("image"), float(row.text("au4"))


def _weight(folder: Path) -> Outcome:
    """What a calibration on faces alone says of AU4."""
    table = read_preferences(folder / "reactions", folder / "judgements.csv")
    evaluation = calibrate(table, scorers=[])
    effect, result = evaluation.effects["au4"], evaluation.results["au4"]
    low, high = (end / 100 for end in effect.ci95)
    line = (
        f"calibrate: a rise of AU4 by 0.01 adds {effect.log_odds / 100:.2f} to a picture's log-odds "
        f"(95 % interval {low:.2f} to {high:.2f}), and AU4 alone tells {result.accuracy:.0%} of "
        f"{counted(result.pairs, 'pair')} right"
    )
    problems = [] if effect.log_odds < 0 else ["AU4's weight is not negative, as the simulation made it"]
    values = {"au4": effect.log_odds, "au4_ci95": list(effect.ci95), "accuracy": result.accuracy}
    return Outcome([line], problems, values)
