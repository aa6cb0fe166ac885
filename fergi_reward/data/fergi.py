"""The FERGI folder -> PreferenceTable.

FERGI (Feng, Ma & de Sa, arXiv 2312.03187; github.com/ShuangquanFeng/FERGI) holds two layers: `data/`, the face of each
participant frame by frame, and `preparation/`, the activations, ratings, ranks and scores made from them.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.csv_files import Column, CsvRow, read_rows
from fergi_reward.files.csv_numbers import BadRows, read_numbers
from fergi_reward.files.json_files import read_json
from fergi_reward.hub.download import cache_folder
from fergi_reward.reactions.clip import LANDMARK_RATIOS, ReactionClip
from fergi_reward.reactions.sources import FERGI, SIMULATED
from fergi_reward.reactions.table import KEY

# A file of this name in a folder says that nobody looked at anything: the viewers are simulated.
SIMULATED_MARK = "simulated.json"
ACTION_UNITS = tuple(f"au{number}" for number in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
IMAGE_COLUMNS = {
    "session_index": "session",
    "image_index": "image",
    "rank_score": "rank",
    "overall_rating": "overall_rating",
    "alignment_rating": "alignment_rating",
    "fidelity_rating": "fidelity_rating",
    "ImageReward_score": "image_reward",
    "PickScore": "pickscore",
    "HPS_V2_score": "hps_v2",
    "CLIP_score": "clip",
    "Aesthetic_score": "aesthetic",
    "BLIP_score": "blip",
}
EMOTIONS = ("disappointed", "satisfied", "surprised", "disgusted", "amused", "scared")
CSV_NAMES = {name: column for column, name in IMAGE_COLUMNS.items()}
Lists = dict[str, Any]  # of numbers, by participant
FRAME_COLUMNS = (
    "timestamp",
    "face_detection_confidence_score",
    "pitch_indicative_ratio",
    "yaw_indicative_ratio",
    *(name.upper() for name in ACTION_UNITS),
)
FRAME_RULES = [Column(column) for column in FRAME_COLUMNS]


def default_folder() -> Path:
    """Where `fergi-reward data fetch` puts FERGI."""
    return cache_folder() / "fergi"


def locate(folder: Path | str | None = None) -> Path:
    """The FERGI folder: the given one, else the environment variable FERGI_DATA, else the default folder.

    Raises:
        FergiRewardError: It is no folder, or does not hold FERGI.
    """
    given = folder or os.environ.get("FERGI_DATA")
    found = Path(given) if given else default_folder()
    if not found.is_dir():
        advice = (
            "give the FERGI folder" if given else "run `fergi-reward data fetch`, or name it with --data or FERGI_DATA"
        )
        raise FergiRewardError(f"{found} is not a folder: {advice}")
    if not (found / "preparation").is_dir():
        raise FergiRewardError(
            f"{found} has no folder 'preparation': give the folder that holds FERGI's data/ and preparation/"
        )
    return found


def read_fergi(
    folder: Path | str, *, from_frames: bool = False, au_source: str | None = None, bad: BadRows | None = None
) -> PreferenceTable:
    """Read FERGI, or a folder in its layout.

    Args:
        folder: Holds `data/` and `preparation/`.
        from_frames: Compute the activations from the frames in `data/` instead of reading the prepared ones.
        au_source: What measured the action units; by default FERGI's own regressor, or none in a simulated folder.
        bad: Where problems in the files go; by default the first one is an error.

    Returns:
        One row per image of every valid session.

    Raises:
        FergiRewardError: A file is missing, empty or damaged, a rank is given twice, or a participant has no pair.
    """
    folder, bad = Path(folder), bad or BadRows()
    images = read_images(folder, bad)
    reaction, baseline = _from_frames(folder, images, bad) if from_frames else _prepared(folder, images, bad)
    table = images.merge(reaction, on=KEY, how="left")
    return PreferenceTable(table, baseline, au_source or default_source(folder), tuple(map(str, bad.found)))


def default_source(folder: Path) -> str:
    """What measured the action units of a folder: a simulated one says so."""
    return SIMULATED if (folder / SIMULATED_MARK).exists() else FERGI


def read_images(folder: Path, bad: BadRows) -> pd.DataFrame:
    """The images that count, with their ranks, ratings and scores, from `preprocessed_image_data`.

    Raises:
        FergiRewardError: As `read_fergi`.
    """
    sessions = _read_lists(folder, "valid_sessions")
    images = _read_users(folder, "image", sorted(sessions), IMAGE_COLUMNS, bad)
    for columns in (KEY, ["user", "session", "rank"]):
        images = _without_repeats(images.astype({"rank": int}), "image", columns, bad)
    images = _counted(images.drop(columns="row"), sessions, _read_lists(folder, "invalid_images"), bad)
    return _with_pairs_only(images, sorted(sessions), bad)


def read_emotions(folder: Path, users: Iterable[str]) -> pd.DataFrame:
    """What the participants said they felt, from `preprocessed_image_data`.

    Args:
        folder: The FERGI folder.
        users: Whose.

    Returns:
        `user`, `session`, `image` and a boolean column per emotion.

    Raises:
        FergiRewardError: A file cannot be read, lacks an emotion, or says something else than True or False.
    """
    columns = ["session_index", "image_index", *EMOTIONS]
    found = [
        {"user": user, **_answers(row)}
        for user in users
        for row in read_rows(folder / _prepared_file("image", user), columns, carried=True)
    ]
    return pd.DataFrame(found, columns=[*KEY, *EMOTIONS])


def _answers(row: CsvRow) -> dict[str, Any]:
    """Which image a row is about, and what somebody felt."""
    session, image = (int(row.number(Column(name, whole=True))) for name in ("session_index", "image_index"))
    for emotion in EMOTIONS:
        if row[emotion] not in ("True", "False"):
            raise row.error(emotion, f"is {row[emotion]!r}, must be True or False")
    return {"session": session, "image": image} | {emotion: row[emotion] == "True" for emotion in EMOTIONS}


def _counted(images: pd.DataFrame, sessions: Lists, invalid: Lists, bad: BadRows) -> pd.DataFrame:
    """The images of valid sessions that are not invalid themselves; every valid session should have some."""
    valid = {(user, int(session)) for user, listed in sessions.items() for session in listed}
    unwanted = {
        (user, int(session), image)
        for user, by_session in invalid.items()
        for session, listed in dict(by_session).items()
        for image in listed
    }
    found = set(zip(images["user"], images["session"], strict=True))
    known = {user for user, _ in found}
    for user, session in sorted(valid - found):
        if user in known:
            bad.add(_prepared_file("image", user), f"the valid session {session} has no row")
    keep = [
        (user, session) in valid and (user, session, image) not in unwanted
        for user, session, image in zip(images["user"], images["session"], images["image"], strict=True)
    ]
    return images[keep].reset_index(drop=True)


def _from_frames(folder: Path, images: pd.DataFrame, bad: BadRows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Activations of the reaction clips and of the baseline clips, computed."""
    clips = activations_from_frames(folder, images, bad)
    reaction, baseline = (clips[clips["clip"] == kind].drop(columns="clip") for kind in ("reaction", "baseline"))
    return reaction, baseline.reset_index(drop=True)


def _prepared(folder: Path, images: pd.DataFrame, bad: BadRows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Activations of the reaction clips and of the baseline clips, as FERGI's authors computed them."""
    columns = {"session_index": "session", "image_index": "image"}
    columns |= {f"{name.upper()}_activation_value": name for name in ACTION_UNITS}
    users = sorted(images["user"].unique())
    reaction, baseline = (
        _without_repeats(_read_users(folder, kind, users, columns, bad), kind, KEY, bad)
        for kind in ("reaction", "baseline")
    )
    return reaction.drop(columns="row"), baseline.drop(columns="row")


def _read_lists(folder: Path, name: str) -> Lists:
    """`valid_sessions.json` or `invalid_images.json`: lists of numbers by participant, the latter also by session."""
    path = folder / "preparation" / f"{name}.json"
    where = path.relative_to(folder).as_posix()
    try:
        value = read_json(path)
    except OSError as error:
        raise FergiRewardError(f"{where}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FergiRewardError(f"{where}: is not JSON ({error})") from error
    if not isinstance(value, dict) or not value:
        raise FergiRewardError(f"{where}: should map participants to lists of numbers, and does not")
    for user, listed in value.items():
        lists = list(listed.values()) if isinstance(listed, dict) and name == "invalid_images" else [listed]
        if not all(isinstance(numbers, list) and all(type(number) is int for number in numbers) for numbers in lists):
            raise FergiRewardError(f"{where}: participant {user} should have lists of whole numbers, has {listed!r}")
    return value


def _read_users(folder: Path, kind: str, users: Iterable[str], columns: dict[str, str], bad: BadRows) -> pd.DataFrame:
    """The files of one kind in `preparation/`, put together; `row` is the line in the participant's file."""
    rules = [_rule(column) for column in columns]
    frames = [pd.DataFrame(columns=[*columns.values(), "user", "row"])]
    for user in users:
        name = _prepared_file(kind, user)
        numbers = read_numbers(folder / name, name, rules, bad, may_be_empty=kind != "image")
        if len(numbers.rows):
            frame = pd.DataFrame(numbers.values, columns=list(columns.values()))
            frames.append(frame.assign(user=user, row=numbers.rows))
    together = pd.concat(frames[1:] or frames, ignore_index=True)
    return together.astype({"session": int, "image": int})


def _rule(column: str) -> Column:
    """What the numbers of a column in `preparation/` must be."""
    if column in ("session_index", "image_index", "rank_score"):
        return Column(column, whole=True)
    return Column(column, lowest=0.0) if column.endswith("_activation_value") else Column(column)


def _prepared_file(kind: str, user: str) -> str:
    return f"preparation/preprocessed_{kind}_data/{user}.csv"


def _without_repeats(rows: pd.DataFrame, kind: str, columns: list[str], bad: BadRows) -> pd.DataFrame:
    """Without the rows that agree in the columns, all of them: nobody can say which is right."""
    column = columns[-1]
    later, all_of_them = rows.duplicated(columns), rows.duplicated(columns, keep=False)
    for row in [*rows[later].to_dict("records"), *rows[all_of_them & ~later].to_dict("records")]:
        what = f"{column} {row[column]} is given twice in session {row['session']}"
        bad.add(_prepared_file(kind, row["user"]), what, row=row["row"], column=CSV_NAMES[column])
    return rows[~all_of_them].reset_index(drop=True)


def _with_pairs_only(images: pd.DataFrame, users: Iterable[str], bad: BadRows) -> pd.DataFrame:
    """Without the participants who compared nothing."""
    counts = images.groupby(["user", "session"]).size()
    comparing = set(counts[counts > 1].index.get_level_values("user"))
    for user in users:
        if user not in comparing:
            bad.add(_prepared_file("image", user), "the participant has no session with two ranked images, so no pair")
    if not comparing:
        raise FergiRewardError("no participant with a pair of ranked images is left")
    return images[images["user"].isin(comparing)].reset_index(drop=True)


@dataclass(frozen=True)
class ClipFile:
    """A file of frames, and which clip it holds: `kind` is `reaction` (to the image) or `baseline` (before it)."""

    path: Path
    user: str
    session: int
    image: int
    kind: str


def clip_files(folder: Path, images: pd.DataFrame) -> list[ClipFile]:
    """The reaction and the baseline clip of each image, and the baselines of images that do not count.

    Args:
        folder: The FERGI folder.
        images: Columns `user`, `session`, `image`.
    """
    found = []
    for (user, session), group in images.groupby(["user", "session"]):
        place = folder / "data" / str(user) / f"session_{session}"
        counted = set(group["image"])
        baselines = counted | {int(path.name.split("_")[2]) for path in place.glob("baseline_clip_[1-9]_features.csv")}
        for kind, indices in (("baseline", baselines), ("reaction", counted)):
            for image in sorted(indices):
                path = place / f"{kind}_clip_{image}_features.csv"
                found.append(ClipFile(path, str(user), int(session), image, kind))
    return found


def read_clip(file: ClipFile, folder: Path, source: str, bad: BadRows) -> ReactionClip | None:
    """One clip; None where a bad row spoils it, since frames follow each other and one cannot be left out alone."""
    before, name = len(bad.found), file.path.relative_to(folder).as_posix()
    numbers = read_numbers(file.path, name, FRAME_RULES, bad)
    timestamps, confidence, pitch, yaw, *_ = numbers.values.T
    backwards = numbers.rows[1:][np.diff(timestamps) <= 0]
    if len(backwards):
        bad.add(name, "the time is not after that of the row before", row=int(backwards[0]), column="timestamp")
    if len(bad.found) > before:
        return None
    intensities = numbers.values[:, 4:]
    return ReactionClip(timestamps, intensities, ACTION_UNITS, confidence, pitch, yaw, LANDMARK_RATIOS, source)


def activations_from_frames(folder: Path, images: pd.DataFrame, bad: BadRows) -> pd.DataFrame:
    """The activation of every action unit of every valid clip, from the frames, with a progress bar.

    Args:
        folder: The FERGI folder.
        images: The images that count: columns `user`, `session`, `image`.
        bad: Where problems go; a clip with one is left out.

    Returns:
        Columns `clip` (`reaction` or `baseline`), `user`, `session`, `image` and one per action unit.
    """
    files = Progress(clip_files(folder, images), desc="activations", unit="clip")
    return pd.DataFrame(list(_activation_rows(files, folder, bad)), columns=["clip", *KEY, *ACTION_UNITS])


def _activation_rows(files: Iterable[ClipFile], folder: Path, bad: BadRows) -> Iterator[dict[str, Any]]:
    source = default_source(folder)
    for file in files:
        clip = read_clip(file, folder, source, bad)
        if clip is None or not clip.is_valid():
            continue
        activation = clip.activation()
        if not np.isnan(activation[ACTION_UNITS[0]]):
            yield {"clip": file.kind, "user": file.user, "session": file.session, "image": file.image} | activation
