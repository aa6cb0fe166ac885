"""Files that hold a person: pairs of `annotate`, which can be taken out of them, and fits and reports, which cannot."""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from fergi_reward.annotation.dataset import COLUMNS as DATASET_COLUMNS
from fergi_reward.annotation.pairs import COLUMNS as PAIR_COLUMNS
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.files.atomic import atomic_path, write_text
from fergi_reward.files.csv_files import read_rows
from fergi_reward.files.json_files import MAX_BYTES, parse_json
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.reactions.source_map import SourceMap

# Bytes in which the header of a CSV file ends.
HEADER = 1 << 16
# Keys whose value, or one of whose values or keys, is a person, in files that are not known otherwise.
PEOPLE = {"user", "users", "from_users", "to_users", "per_participant", "participant", "excluded"}

# Files of earlier versions do not say what a pair was annotated from.
ADDED = "signals"
PAIR = {*PAIR_COLUMNS} - {ADDED}


class Fitted(Protocol):
    """What was fitted on reactions: a calibration, a source map, the record of a predictor."""

    def used(self, user: str, source: str) -> bool:
        """Whether reactions of a participant, as measured by a source, are among those that it was fitted on."""


@dataclass
class PeopleFiles:
    """What was found below a folder of a person.

    Attributes:
        fits: Calibrations, source maps and predictors that were fitted with them.
        others: Other files that name them, such as reports and CSV files, and folders that are called after them.
        pairs: By file, how many pairs of theirs were deleted.
        unread: By file, why it cannot be said whether it holds them.
    """

    fits: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    pairs: dict[Path, int] = field(default_factory=dict)
    unread: dict[Path, str] = field(default_factory=dict)

    def is_full(self) -> bool:
        """Whether there is anything of them, for certain."""
        return bool(self.fits or self.others or self.pairs)


def take_out(tops: Sequence[Path], further: Path, user: str, sources: Sequence[str]) -> PeopleFiles:
    """Delete a person's pairs below folders, and find what else names them.

    Files are known by what is in them, whatever they are called. Hidden folders and links to folders are not looked at.

    Args:
        tops: The folders.
        further: A further folder; what is in folders of it is not looked at.
        user: The person.
        sources: What measured them: pairs and fits of other sources are of other people. None: all are theirs.
    """
    found, seen = PeopleFiles(), set[str]()
    deep = (path for top in tops for path in _files(top, user, found))
    for path in chain(deep, _files(further, user, found, is_flat=True)):
        if (real := os.path.realpath(path)) in seen:
            continue
        seen.add(real)
        try:
            _look(path, user, sources, found)
        except Exception as error:  # whatever a damaged file makes its reader do: it is named
            found.unread[path] = " ".join(str(error).split())[:200] or type(error).__name__
    return found


def _files(top: Path, user: str, found: PeopleFiles, is_flat: bool = False) -> Iterator[Path]:
    """Ordinary files in a folder and below it; folders that cannot be opened are noted."""

    def note(error: OSError) -> None:
        found.unread[Path(error.filename)] = str(error.strerror)

    for place, folders, names in os.walk(top, onerror=note):
        folders[:] = sorted(name for name in folders if not (is_flat or name.startswith(".")))
        found.others += [Path(place, name) for name in folders if unquote(name) == f"user={user}"]
        for path in (Path(place, name) for name in sorted(names)):
            try:
                mode = path.stat().st_mode
            except OSError as error:
                if not path.is_symlink():
                    found.unread[path] = str(error.strerror)
                continue
            if stat.S_ISREG(mode):
                yield path
            elif path.suffix in (".json", ".jsonl", ".parquet", ".csv"):
                found.unread[path] = "no ordinary file"


def _look(path: Path, user: str, sources: Sequence[str], found: PeopleFiles) -> None:
    """Look at one file."""
    with path.open("rb") as file:
        start = file.read(HEADER)
    if start.startswith(b"PAR1"):
        _look_at_table(path, user, sources, found)
    elif start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        _look_at_json(path, user, sources, found)
    elif _has_people(start):
        _look_at_csv(path, user, found)


def _has_people(start: bytes) -> bool:
    """Whether a file begins as a CSV file with a column of users, also one that a spreadsheet wrote its own way."""
    header = start.replace(b"\0", b"").splitlines()[:1]
    return any(cell.strip(b" \"'\xef\xbb\xbf\xff\xfe") == b"user" for cell in re.split(b"[,;\t]", b"".join(header)))


def _look_at_csv(path: Path, user: str, found: PeopleFiles) -> None:
    """A CSV file that somebody else may have written: it is named, whoever's it is."""
    content = read_bytes(path, MAX_BYTES)
    written = user.replace('"', '""')
    if any(written.encode(code, "replace") in content for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")):
        rows = read_rows(path, ["user"], carried=True, empty=True)
        found.others += [path] * any(row["user"] == user for row in rows)


def _look_at_json(path: Path, user: str, sources: Sequence[str], found: PeopleFiles) -> None:
    """A record, or lines of records."""
    content = read_bytes(path, MAX_BYTES)
    if not any(json.dumps(user, ensure_ascii=way).encode(errors="surrogatepass") in content for way in (True, False)):
        return
    try:
        record = parse_json(content)
    except ValueError:
        _look_at_lines(path, content, user, sources, found)
    else:
        _look_at_record(path, record, user, sources, found)


def _look_at_record(path: Path, record: Any, user: str, sources: Sequence[str], found: PeopleFiles) -> None:  # noqa: ANN401
    """A fit that used the person, or another file that names them."""
    for load in _readers(path):
        try:
            fitted = load(path)
        except Exception:
            continue
        is_used = any(fitted.used(user, source) for source in sources) if sources else _names(record, user)
        found.fits += [path] * is_used
        return
    if _names(record, user) or (isinstance(record, dict) and "schema" in record):
        found.others.append(path)


def _readers(path: Path) -> Sequence[Callable[[Path], Fitted]]:
    from fergi_reward.faces import predictor

    if path.name == predictor.RECORD:
        return [lambda path: predictor.ReactionPredictor.load(path.parent).record]
    return [Calibration.load, SourceMap.load]


def _names(value: object, user: str) -> bool:
    """Whether some part of a record is about the person."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            for key, below in part.items():
                if key in PEOPLE and (below == user or (isinstance(below, list | dict) and user in below)):
                    return True
                left.append(below)
        elif isinstance(part, list):
            left += part
    return False


def _look_at_lines(path: Path, content: bytes, user: str, sources: Sequence[str], found: PeopleFiles) -> None:
    """Lines of JSON: pairs of `annotate` are deleted.

    Raises:
        ValueError: The file is no JSON at all.
    """
    lines = content.decode().splitlines(keepends=True)
    records = [parse_json(line) if line.strip() else None for line in lines]
    theirs = [isinstance(record, dict) and record.get("user") == user for record in records]
    if not any(theirs):
        return
    if all(record is None or (isinstance(record, dict) and set(record) >= PAIR) for record in records):
        theirs = [_is_theirs(record, user, sources) for record in records]
        if any(theirs):
            kept = [line for line, gone in zip(lines, theirs, strict=True) if not gone]
            write_text(path, "".join(kept), private=True)
            found.pairs[path] = sum(theirs)
    else:
        found.others.append(path)


def _is_theirs(record: dict[str, Any] | None, user: str, sources: Sequence[str]) -> bool:
    """Whether a pair is of the person, measured by one of their sources; files of earlier versions name none."""
    source = record.get("au_source") if record else None
    return record is not None and record["user"] == user and (not sources or source is None or source in sources)


def _look_at_table(path: Path, user: str, sources: Sequence[str], found: PeopleFiles) -> None:
    """A Parquet file: pairs of `annotate` are deleted."""
    import pyarrow as pa
    from pyarrow import parquet

    names = parquet.read_schema(path).names
    if "user" not in names:
        return
    columns = [name for name in ("user", "au_source") if name in names]
    rows = parquet.read_table(path, columns=columns, partitioning=None).to_pylist()
    theirs = [_is_theirs(row, user, sources) for row in rows]
    if not any(theirs):
        return
    if {*names, ADDED} != set(DATASET_COLUMNS):
        found.others.append(path)
        return
    table = parquet.read_table(path, partitioning=None).filter(pa.array([not gone for gone in theirs]))
    with atomic_path(path, private=True) as temporary:
        parquet.write_table(table, temporary)
    found.pairs[path] = sum(theirs)
