"""The digests of a folder that was downloaded, in a file of it: a copy can be checked where there is no network."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.digests import published_digest
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.files.tensor_files import promised_bytes

FILE = "SHA256SUMS"  # as `sha256sum --check` reads it, which passes over lines with #
RIGHT, NOT_LISTED = "right", "not listed"
_FIRST = re.compile(r"# (\d+) files")
_SIZE = re.compile(r"# (\d{1,18}) bytes  (.+)")  # earlier lists have none
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_MAX_BYTES = 1 << 20


def write_checksums(folder: Path, digests: Mapping[str, str]) -> None:
    """Write the digests.

    Args:
        folder: Where the files are, complete and right.
        digests: By the name of the file in the folder, what its publisher states: SHA-256 or git's.
    """
    lines = [f"# {len(digests)} files"]
    for name, digest in sorted(digests.items()):
        lines.append(f"{digest if len(digest) == 64 else published_digest(folder / name, '0' * 64)}  {name}")
    lines += [f"# {(folder / name).stat().st_size} bytes  {name}" for name in sorted(digests)]
    with atomic_path(folder / FILE) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def checked_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Each file that was downloaded, and `right`, `missing`, how it differs, or unreadable; others `not listed`.

    Raises:
        FergiRewardError: There are no digests, or they are not complete.
    """
    digests, sizes = _read(folder)
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            yield name, "missing"
            continue
        try:
            is_right = published_digest(path, digest) == digest
            yield name, RIGHT if is_right else _how_it_differs(path, sizes.get(name))
        except OSError as error:
            yield name, f"unreadable ({error.strerror})"
    there = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    yield from ((name, NOT_LISTED) for name in there if name not in {*digests, FILE})


def check_size(path: Path, name: str) -> None:
    """Refuse a file whose size is not the one that the digests of its folder state; nothing is read of it.

    Where the folder has no digests, or unreadable ones, nothing is known of it.

    Args:
        path: The file.
        name: Its name in the folder.

    Raises:
        FergiRewardError: It has another size.
    """
    folder = path.parents[name.count("/")]
    if not (folder / FILE).is_file():
        return
    try:
        must = _read(folder)[1].get(name)
    except FergiRewardError:  # `download --check` says it
        return
    if must is not None and path.stat().st_size != must:
        raise FergiRewardError(f"{path} is {_how_it_differs(path, must)}, as {folder / FILE} says: copy it again")


def _how_it_differs(path: Path, size: int | None) -> str:
    """Whether a file that is not right was cut off, by the size that is listed, else by its own header."""
    has, must = path.stat().st_size, promised_bytes(path) if size is None else size
    if must is not None and has < must:
        return f"cut off (it has {has:,} of {must:,} bytes)"
    if has == size:
        return f"altered (the size is right, {has:,} bytes, the content differs)"
    return f"altered (it has {has:,} bytes{'' if size is None else f', must have {size:,}'})"


def _read(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Digests and sizes by the names of the files.

    Raises:
        FergiRewardError: There are no digests, or not as many as the first line says.
    """
    path = folder / FILE
    try:
        first, *lines = read_bytes(path, _MAX_BYTES).decode().splitlines()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is damaged"
        raise FergiRewardError(f"{path} cannot be read ({why})") from error
    sizes = {match[2]: int(match[1]) for line in lines if (match := _SIZE.fullmatch(line))}
    lines = [line for line in lines if not _SIZE.fullmatch(line)]
    stated, found = _FIRST.fullmatch(first), [_LINE.fullmatch(line) for line in lines]
    digests = {match[2]: match[1] for match in found if match}
    if not stated or not len(digests) == len(lines) == int(stated[1]):
        raise FergiRewardError(
            f"{path} has {counted(len(digests), 'digest')} and "
            f"{counted(len(lines) - len(digests), 'unreadable line')}, its first line is {first[:40]!r} and must be "
            "'# N files', with N digests after it"
        )
    return digests, sizes
