"""What a pipeline or an adapter is by content, wherever it is: for keys of what was drawn with it."""

from collections.abc import Callable
from pathlib import Path

from fergi_reward.cli.training_program import EMOJI, TOYS
from fergi_reward.files.store import FileDigests
from fergi_reward.toy import emoji
from fergi_reward.version import __version__


def content_of(place: str, digests: FileDigests, load: Callable[[], object]) -> list[str]:
    """What the weights at a place are: digests of files, the commit of a repository on the hub.

    Args:
        place: A toy, a folder, a file or a hub id.
        digests: Of files.
        load: Loads them, for a repository that is not on this machine yet.

    Raises:
        FergiRewardError: It cannot be loaded.
    """
    path = Path(place)
    if place in TOYS:
        return [place, __version__, *(_files(emoji.DATA, digests) if place in EMOJI else ())]
    if path.is_dir():
        return _files(path, digests)
    if path.is_file():
        return [digests(path)]
    if (commit := _commit(place)) is None:
        load()
        commit = _commit(place)
    return [place, str(commit)]


def _files(folder: Path, digests: FileDigests) -> list[str]:
    """Names and digests of all files but text about them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return [text for path in files for text in (path.relative_to(folder).as_posix(), digests(path))]


def _commit(repository: str) -> str | None:
    """Of the copy in the hub's cache, None where there is none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "model_index.json")
    return Path(found).parent.name if isinstance(found, str) else None
