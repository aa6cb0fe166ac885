"""A file or a folder as a table: CSV, Parquet, JSON, JSON lines, or what `datasets` writes. Pictures are not read."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.csv_files import check_no_spreadsheet, read_rows, warn_if_cut
from fergi_reward.files.json_files import parse_json, read_json
from fergi_reward.files.text_lines import read_lines

_SHARD = re.compile(r"-\d{5}-of-(\d{5})(?:-[0-9a-f]+)?$")


def read_table(place: Path) -> pd.DataFrame:
    """The rows of a file, or of the one table in a folder; its cells are texts in CSV, else what the file holds.

    Args:
        place: A file by its suffix, a folder of `datasets` (`save_to_disk`), or one with a table or the shards of one.

    Raises:
        FergiRewardError: It cannot be read, has no rows, or a folder has several tables.
    """
    check_no_spreadsheet(place)
    paths = _files(place) if place.is_dir() else [place]
    read = READERS.get(paths[0].suffix.lower())
    if read is None:
        raise FergiRewardError(f"{place} is no table: its name must end in {', '.join(READERS)}")
    parts = [read(path) for path in paths]
    if different := next((path for path, part in zip(paths, parts, strict=True) if list(part) != list(parts[0])), None):
        raise FergiRewardError(f"{different} has other columns than {paths[0]}: name one of them")
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    table = table.astype({name: object for name, kind in table.dtypes.items() if kind == "category"})
    if not len(table):
        raise FergiRewardError(f"{place} has no rows: give a table of judgements")
    if twice := table.columns[table.columns.duplicated()].tolist():
        raise FergiRewardError(f"{place} has the column {twice[0]} twice: rename one")
    return table


def _files(folder: Path) -> list[Path]:
    """The one table of a folder: a file, or its shards."""
    if (state := folder / "state.json").is_file():
        return [folder / entry["filename"] for entry in _json(state)["_data_files"]]
    places = [folder, folder / "data"]
    found = sorted(path for place in places if place.is_dir() for path in place.iterdir() if _is_table(path))
    tables: dict[tuple[Path, str], list[Path]] = {}
    for path in found:
        tables.setdefault((path.parent, _SHARD.sub("", path.stem) + path.suffix), []).append(path)
    if len(tables) == 1:
        _check_whole(folder, found)
        return found
    splits = [path.parent for path in sorted(folder.glob("*/state.json"))]
    names = [str(paths[0].relative_to(folder)) for paths in tables.values()] + [path.name for path in splits]
    if not names:
        raise FergiRewardError(f"{folder} holds no table ({', '.join(READERS)}): name a file")
    raise FergiRewardError(f"{folder} holds {len(names)} tables ({', '.join(names[:5])}): name one of them")


def _check_whole(folder: Path, shards: list[Path]) -> None:
    """Check that there are as many shards as their names say: a download may have stopped between two."""
    named = [int(match[1]) for path in shards if (match := _SHARD.search(path.stem))]
    if named and (len(shards) != max(named) or len(named) != len(shards)):
        raise FergiRewardError(
            f"{folder} holds {len(shards)} of the {max(named)} shards that their names count: download the others, or "
            "name one file"
        )


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in READERS and not path.name.startswith((".", "dataset_")) and path.is_file()


def _csv(path: Path) -> pd.DataFrame:
    rows = read_rows(path, [], carried=True)
    first = next(rows)
    cells = [tuple(first.cells.values()), *(tuple(row.cells.values()) for row in rows)]
    warn_if_cut(path)
    return pd.DataFrame(cells, columns=list(first.cells))


def _parquet(path: Path) -> pd.DataFrame:
    """The columns that hold no pictures."""
    schema = pq.read_schema(path)
    return pq.read_table(path, columns=_small(schema)).to_pandas(ignore_metadata=True)


def _arrow(path: Path) -> pd.DataFrame:
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_stream(file)
        return reader.read_all().select(_small(reader.schema)).to_pandas(ignore_metadata=True)


def _small(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if "binary" not in str(field.type)]


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return read_json(path)
    except OSError as error:
        raise FergiRewardError(f"{path} cannot be read ({error.strerror or error}): give another place") from error


def _records(path: Path) -> pd.DataFrame:
    """A list of records, or a mapping from names to records."""
    found = _json(path)
    return _frame(path, list(found.values()) if isinstance(found, dict) else found)


def _lines(path: Path) -> pd.DataFrame:
    def records() -> Iterator[object]:
        for number, line in read_lines(path):
            try:
                if line.strip():
                    yield parse_json(line)
            except ValueError as error:
                raise FergiRewardError(f"{path}, line {number} is not JSON ({error})") from error

    return _frame(path, list(records()))


def _frame(path: Path, records: object) -> pd.DataFrame:
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise FergiRewardError(f"{path} must hold a list of records, such as {{'prompt': ..., 'image': ...}}, only")
    return pd.DataFrame(records)


def _guarded(read: Callable[[Path], pd.DataFrame], what: str) -> Callable[[Path], pd.DataFrame]:
    """A reader whose errors say what could not be read."""

    def guarded(path: Path) -> pd.DataFrame:
        try:
            return read(path)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise FergiRewardError(f"{path} cannot be read as {what} ({why:.200})") from error

    return guarded


READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _csv,
    ".parquet": _guarded(_parquet, "Parquet"),
    ".arrow": _guarded(_arrow, "a table of datasets"),
    ".json": _guarded(_records, "JSON"),
    ".jsonl": _lines,
}
