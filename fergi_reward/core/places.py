"""Paths in commands and records without the folders that lead there, which may name a person."""

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# In an argument: after each NAME=, and at a comma or colon before the next path; the colon of a URL is none.
_BETWEEN_PLACES = re.compile(r"(^[^/]*=|,[\w.-]+=|(?:,|:(?!//[^/]))(?=/|~|\.\./))")


def without_folders(command: str) -> str:
    """A command without the folders that its paths lead through: they may name a person.

    >>> without_folders("fergi-reward calibrate --data '/home/ann smith/fergi' --out=/tmp/c.json --report runs/a")
    'fergi-reward calibrate --data fergi --out=c.json --report runs/a'
    >>> without_folders("evaluate models --tuned mine=../ann/lora --prompts 'a cat, /imagine a dog' https://example.org/a")
    "evaluate models --tuned mine=lora --prompts 'a cat, /imagine a dog' https://example.org/a"
    >>> without_folders("calibrate --checkpoints clip=/home/ann/clip,pickscore=../ann/pick,hps_v2=runs/hps")
    'calibrate --checkpoints clip=clip,pickscore=pick,hps_v2=runs/hps'
    """
    try:
        arguments = shlex.split(command)
    except ValueError:  # an open quote: somebody wrote it by hand
        arguments = command.split()
    places = (_BETWEEN_PLACES.split(argument) for argument in arguments)
    return shlex.join("".join(map(place_without_folders, parts)) for parts in places)


def place_without_folders(place: str) -> str:
    """The last part of a path that is absolute or leads upward; a hub id, a URL or another path as it is.

    >>> [place_without_folders(place) for place in ("/home/ann smith/lora", "~/lora", "../ann/lora", "runs/lora")]
    ['lora', 'lora', 'lora', 'runs/lora']
    """
    parts = PurePath(place).parts
    return parts[-1] if place.startswith(("/", "~")) or ".." in parts else place


def record_without_folders(record: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON, or what is in it
    """What a model card says, all of whose texts are names, places, or the `command` that made a calibration."""
    if isinstance(record, Mapping):
        return {name: record_without_folders(value, name) for name, value in record.items()}
    if isinstance(record, list | tuple):
        return [record_without_folders(value, key) for value in record]
    if isinstance(record, str):
        return without_folders(record) if key == "command" else place_without_folders(record)
    return record
