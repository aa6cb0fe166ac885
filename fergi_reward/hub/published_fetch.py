"""Getting what is published: the files of scorers, base models and helpers, each checked."""

import difflib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.digests import published_digest
from fergi_reward.hub.asking import hub_errors, why_no_hub, without_warnings
from fergi_reward.hub.checksums import write_checksums
from fergi_reward.hub.download import cache_folder, download, unfinished
from fergi_reward.hub.published import ALL_SCORERS, LANDMARKER, NAMES, REPOSITORIES, SCORERS, Repository, shown_bytes


@dataclass(frozen=True)
class _File:
    """A file to get.

    Attributes:
        name: What it is a part of.
        path: Its name there.
        source: Who has it.
        license: Its license.
        size: In bytes; without a digest about.
        digest: What it must have; None where nobody could be asked.
        repository: Where on the hub it is; None if it is elsewhere.
        place: Where to put it; None for the hub's cache.
    """

    name: str
    path: str
    source: str
    license: str
    size: int
    digest: str | None
    repository: Repository | None
    place: Path | None

    @property
    def row(self) -> dict[str, str]:
        """For the table."""
        size = shown_bytes(self.size) if self.digest else f"about {shown_bytes(self.size)}"
        return {"name": self.name, "file": self.path, "size": size, "license": self.license, "from": self.source}

    def missing(self) -> int:
        """How many bytes of it are still to come."""
        path = self.place or self._cached()
        places = (path, unfinished(path)) if path else ()
        return max(0, self.size - sum(place.stat().st_size for place in places if place.is_file()))

    def get(self) -> None:
        """Put the file in its place, complete and checked; an existing one is checked, too."""
        if self.place is None:
            self._get_into_cache()
        elif not self._is(self.place):
            from huggingface_hub import get_token, hf_hub_url

            url, token = self.source + self.path, None
            if self.repository:
                url, token = hf_hub_url(self.source, self.path, revision=self._revision), get_token()
            download(url, self.place, self._what, size=self.size, digest=self.digest, token=token)

    @property
    def _what(self) -> str:
        return f"{self.path} of {self.source}"

    def _is(self, path: Path) -> bool:
        try:
            return path.is_file() and published_digest(path, str(self.digest)) == self.digest
        except OSError as error:
            raise FergiRewardError(
                f"cannot read {path} ({error.strerror}): delete it, or choose another place"
            ) from error

    def _cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.source, self.path, revision=self._revision)
        return Path(found) if isinstance(found, str) else None

    @property
    def _revision(self) -> str | None:
        return self.repository.revision if self.repository else None

    def _get_into_cache(self) -> None:
        from huggingface_hub import hf_hub_download

        for _ in range(2):  # what is damaged in the cache is downloaded again
            try:
                with without_warnings():
                    path = Path(hf_hub_download(self.source, self.path, revision=self._revision))
            except hub_errors() as error:
                raise FergiRewardError(
                    f"cannot download {self._what} ({why_no_hub(error)}): run this again, files that are whole are kept"
                ) from error
            if self._is(path):
                return
            path.resolve().unlink()
            path.unlink(missing_ok=True)
        raise FergiRewardError(f"{self._what} has not the digest {self.digest} that the hub states: run this again")


def fetch(names: Sequence[str], to: Path | None, say: Callable[[str], None]) -> None:
    """Get files, each checked; files that are there and right stay, one that broke off in a folder resumes.

    Args:
        names: Of `NAMES`.
        to: `to/NAME` gets the files of NAME, as `--checkpoints NAME=to/NAME` and `--model to/NAME` take them; None for
            the cache of the hub.
        say: Prints; the remaining work is printed before it starts.

    Raises:
        FergiRewardError: A name is unknown, there is no network or too little room, or a file is not what it must be.
    """
    files, failure = _planned(parts(names), to)
    missing = sum(file.missing() for file in files)
    free = shutil.disk_usage(_existing(place := _place(to))).free
    say(_table(files))
    say(
        f"total {'about ' if failure else ''}{shown_bytes(sum(file.size for file in files))}, "
        f"to download {shown_bytes(missing)}; free in {place}: {shown_bytes(free)}"
    )
    if failure:
        raise failure
    if missing > free:
        raise FergiRewardError(
            f"{shown_bytes(missing)} must be downloaded and {shown_bytes(free)} are free in {place}: make room, or "
            "choose another disk with --out"
        )
    for file in files:
        file.get()
    for name in dict.fromkeys(file.name for file in files):
        if to:
            write_checksums(to / name, {file.path: str(file.digest) for file in files if file.name == name})


def parts(names: Sequence[str]) -> list[str]:
    """Each name once, groups taken apart.

    Raises:
        FergiRewardError: A name is unknown.
    """
    for name in names:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            advice = f"did you mean {near[0]}? " if near else ""
            raise FergiRewardError(f"there is no {name!r}: {advice}choose from {', '.join(NAMES)}")
    # hps_v2.0 is another name of hps_v2.
    group = [name for name in SCORERS if name not in ("hps_v2.0", "hpsv3")]
    return list(dict.fromkeys(each for name in names for each in (group if name == ALL_SCORERS else [name])))


def _planned(names: Sequence[str], to: Path | None) -> tuple[list[_File], FergiRewardError | None]:
    """The files, and why the hub could not be asked for them: then they are those that this package knows of."""
    files: list[_File] = []
    failure = None
    for name in names:
        if name == LANDMARKER:
            files.append(_landmarker((to / name) if to else cache_folder()))
            continue
        for repository in REPOSITORIES[name]:
            listed: dict[str, tuple[int, str | None]] = {path: (size, None) for path, size in repository.files.items()}
            if failure is None:
                try:
                    listed = _listed(repository)
                except FergiRewardError as error:
                    failure = error
            files += [
                _File(
                    name, path, repository.name, repository.license, size, digest, repository, to and to / name / path
                )
                for path, (size, digest) in listed.items()
            ]
    distinct: dict[object, _File] = {}
    for file in files:
        distinct.setdefault((file.place, file.source, file.path), file)
    return list(distinct.values()), failure


def _listed(repository: Repository) -> dict[str, tuple[int, str | None]]:
    """Size and digest of each file that is needed, as the hub states them."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import ENDPOINT

    try:
        with without_warnings():
            about = HfApi().model_info(repository.name, revision=repository.revision, files_metadata=True, timeout=30)
    except hub_errors() as error:
        raise FergiRewardError(
            f"cannot ask the hub for {repository.name} at {ENDPOINT} ({why_no_hub(error)}): set HTTPS_PROXY to a "
            "proxy or HF_ENDPOINT to a mirror, or run this with --out DIR where there is a network, and copy DIR"
        ) from error
    there = {file.rfilename: file for file in about.siblings or ()}
    needed = repository.needed(there)
    if lacking := repository.lacking(needed):
        raise FergiRewardError(f"{repository.name} has no {lacking[0]} any more: update fergi-reward")
    listed: dict[str, tuple[int, str | None]] = {}
    for path in needed:
        size, lfs = there[path].size, there[path].lfs
        digest = lfs.sha256 if lfs else there[path].blob_id
        if size is None or digest is None:
            raise FergiRewardError(f"the hub does not state size and digest of {path} of {repository.name}: try later")
        listed[path] = size, digest
    return listed


def _landmarker(folder: Path) -> _File:
    from fergi_reward.hub.landmarker_model import BYTES, FILE, SHA256, URL

    return _File(LANDMARKER, FILE, URL.removesuffix(FILE), "Apache-2.0", BYTES, SHA256, None, folder / FILE)


def _place(to: Path | None) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return to or Path(HF_HUB_CACHE)


def _existing(place: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    return next(folder for folder in (place.resolve(), *place.resolve().parents) if folder.is_dir())


def _table(files: Sequence[_File]) -> str:
    from tabulate import tabulate

    return tabulate([file.row for file in files], headers="keys", tablefmt="github")
