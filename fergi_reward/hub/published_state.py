"""What of the published files is on this machine, without a network: by names and sizes, or by content."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.hub.checksums import FILE, NOT_LISTED, RIGHT, checked_files
from fergi_reward.hub.download import cache_folder
from fergi_reward.hub.landmarker_model import BYTES
from fergi_reward.hub.landmarker_model import FILE as LANDMARKER_FILE
from fergi_reward.hub.published import LANDMARKER, REPOSITORIES, Repository, shown_bytes
from fergi_reward.hub.published_fetch import parts

# Sizes are known about: a part of a repository that is smaller is not whole. Of small files they are the usual ones.
_WHOLE, _SMALL = 0.98, 50_000_000
WRITTEN_BY = (
    f"{FILE} is written by `fergi-reward download NAME --out DIR`, with a network, or by the command in docs/OFFLINE.md"
)


def published_table(out: Path | None, names: Sequence[str] = ()) -> list[dict[str, str]]:
    """A row per name: its size, its license, and how much of it is here, by names and sizes; of `names` a total, too.

    Args:
        out: The folder of `fetch`; None for the cache of the hub.
        names: Of `NAMES`; by default all.

    Raises:
        FergiRewardError: A name is unknown.
    """
    every = {name: _published(name, out) for name in parts(names) or [*REPOSITORIES, LANDMARKER]}
    rows = [_row(name, entries.values(), _licenses(name)) for name, entries in every.items()]
    # What two names have in common is once in the cache.
    together = dict(item for entries in every.values() for item in entries.items())
    return [*rows, _row("total", together.values(), "")] if names else rows


def _published(name: str, out: Path | None) -> dict[object, tuple[int, int]]:
    """The bytes of each part, as published and here; its place and name tell it from others."""
    if name == LANDMARKER:
        path = (out / LANDMARKER if out else cache_folder()) / LANDMARKER_FILE
        return {path: (BYTES, _bytes([path]))}
    folder = out and out / name
    return {
        (folder or repository.name, part): sizes
        for repository in REPOSITORIES[name]
        for part, sizes in _entries(repository, folder)
    }


def _licenses(name: str) -> str:
    licenses = dict.fromkeys(repository.license for repository in REPOSITORIES.get(name, ()))
    return "; ".join(licenses) or "Apache-2.0"  # the landmarker's


def check_copies(names: Sequence[str], out: Path, say: Callable[[str], None]) -> int:
    """Compare the content of folders that `fetch` filled with the digests that it left in them.

    Args:
        names: Of `NAMES`.
        out: The folder of `fetch`, or a copy of it.
        say: Prints a line for each file, also for those without a digest.

    Returns:
        How many files there are.

    Raises:
        FergiRewardError: Files are missing or altered, or folders have no digests; it names all of them.
    """
    count, wrong, is_lacking = 0, list[str](), False
    for name in parts(names):
        try:
            states = dict(_said(out / name, say))
            _check_complete(name, out / name / FILE, states)
        except FergiRewardError as error:
            wrong.append(str(error))
            is_lacking = True
            continue
        wrong += [f"{out / name / file} is {state}" for file, state in states.items() if state != RIGHT]
        count += len(states)
    if wrong:
        advice = f" ({WRITTEN_BY})" * is_lacking
        raise FergiRewardError(f"{'; '.join(wrong)}: copy {'it' if len(wrong) == 1 else 'them'} again{advice}")
    return count


def _said(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """The files that have a digest, with their states, all of which are printed."""
    for file, state in checked_files(folder):
        say(f"{state}: {folder / file}")
        if state != NOT_LISTED:
            yield file, state


def _check_complete(name: str, sums: Path, listed: Iterable[str]) -> None:
    """Refuse digests that leave out what must be there."""
    for repository in REPOSITORIES.get(name, ()):
        if lacking := repository.lacking(listed):
            raise FergiRewardError(f"{sums} names no {lacking[0]}")


def _row(name: str, entries: Iterable[tuple[int, int]], license: str) -> dict[str, str]:
    entries = [*entries]
    size, found = (sum(column) for column in zip(*entries, strict=True))
    whole = all(there > 0 and (wanted < _SMALL or there >= _WHOLE * wanted) for wanted, there in entries)
    here = "yes" if whole else f"{shown_bytes(found)} of it" if found else "no"
    return {"name": name, "size": shown_bytes(size), "here": here, "license": license}


def _entries(repository: Repository, folder: Path | None) -> Iterator[tuple[str, tuple[int, int]]]:
    """The bytes of each part of a repository: as published, and here."""
    place = folder or _snapshot(repository)
    there = [path.relative_to(place).as_posix() for path in place.rglob("*")] if place and place.is_dir() else []
    for name, size in repository.files.items():
        part = Repository(repository.name, repository.license, {name: size}).needed(there)
        yield name, (size, _bytes([place / path for path in part]) if place else 0)


def _snapshot(repository: Repository) -> Path | None:
    """The folder of the hub's cache with the revision that is loaded."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repository.name, repo_type="model")
    reference, revision = folder / "refs" / repository.revision, repository.revision
    if reference.is_file():
        revision = reference.read_text(encoding="utf-8").strip()
    return folder / "snapshots" / revision


def _bytes(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
