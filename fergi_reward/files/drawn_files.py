"""Files of drawn pictures, which a store knows by name and content: those that it no longer needs are deleted.

The store knows a file before it is there: after a kill between both it is drawn again, or deleted.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from fergi_reward.files.atomic import atomic_path, sweep
from fergi_reward.files.digests import bytes_digest, file_digest
from fergi_reward.files.store import FileDigests, Store


def drawn_file(folder: Path, path: Path, content: bytes) -> dict[str, str]:
    """A value of a store: a picture's name below a folder, and the digest of its bytes."""
    return {"file": path.relative_to(folder).as_posix(), "digest": bytes_digest(content)}


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write each file atomically; the store knows them already."""
    for path, content in contents.items():
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def forget_files(store: Store, folder: Path, keys: Iterable[str], current: Iterable[Path]) -> None:
    """Keep the values of these keys alone, and delete the files of the others and what a killed run left half written.

    A file that somebody has changed since it was drawn is not deleted.

    Args:
        store: Its values are `drawn_file`s, lists of them under `files`, or have none.
        folder: Which the names are below.
        keys: Keys of the files that stay.
        current: The files that stay, whatever was in them before.
    """
    kept, paths = set(keys), list(current)
    here = {path.relative_to(folder).as_posix() for path in paths}
    for name, digest in _files(store, kept):
        if name not in here and (folder / name).is_file() and file_digest(folder / name) == digest:
            (folder / name).unlink()
    for place in {path.parent for path in paths}:
        sweep(place)
    store.keep([*kept, *FileDigests(store).keys(paths)])


def _files(store: Store, kept: set[str]) -> list[tuple[str, str]]:
    """Names and digests of the files of all values but these."""
    found = []
    for value in (store.get(key) for key in store.known() - kept):
        files = value.get("files", [value]) if isinstance(value, dict) else []
        found += [(each["file"], each["digest"]) for each in files if "file" in each]
    return found
