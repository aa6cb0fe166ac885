"""The settings of a study, which stay what they were when it began: what was collected would mean something else."""

import json
import secrets
from pathlib import Path
from typing import Any

from fergi_reward.collect.options import CollectOptions
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_json
from fergi_reward.files.json_records import checked, read_record
from fergi_reward.privacy.study_files import is_study
from fergi_reward.version import __version__

SCHEMA = 1
NAME = "study.json"
REACTIONS = "reactions"
FIXED = {
    "task": "text",
    "camera": "flag",
    "ratings": "flag",
    "blank_seconds": "number",
    "baseline_seconds": "number",
    "picture_seconds": "number",
    "sessions_per_participant": "optional",
    "seed": "whole",
    "is_rehearsal": "flag",
}
FIELDS = {"version": "text", "id": "text", **FIXED}
_ADVICE = "restore it from a copy, or choose another --out"


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a study, and its id, which tells cookies of several studies apart.

    Raises:
        FergiRewardError: There is no study, or its settings cannot be read.
    """
    path = folder / NAME
    if not is_study(folder):
        raise FergiRewardError(f"{folder} holds no study: give the --out of `fergi-reward collect`")
    record = read_record(path, "the study", SCHEMA, _ADVICE)
    del record["schema"]
    return checked(record, FIELDS, str(path), _ADVICE)


def keep_settings(options: CollectOptions, has_begun: bool) -> str:
    """Write the settings of a study in which nobody takes part yet; check that those of another one are the same.

    Returns:
        The id of the study.

    Raises:
        FergiRewardError: Some differ; all are named.
    """
    folder, given = options.out, {name: getattr(options, name) for name in FIXED}
    if not has_begun:
        made = {"schema": SCHEMA, "version": __version__, "id": secrets.token_hex(4)}
        write_json(folder / NAME, made | given, private=True)
    record = read_settings(folder)
    changed = [
        f"{name} was {json.dumps(record[name])} and is {json.dumps(value)}"
        for name, value in given.items()
        if record[name] != value
    ]
    if changed:
        raise FergiRewardError(
            f"the study in {folder} began with other settings ({'; '.join(changed)}): give those, or another --out"
        )
    return str(record["id"])
