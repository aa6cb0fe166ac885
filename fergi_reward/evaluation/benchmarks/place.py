"""Where a benchmark's files are: a folder in the layout that it has on the hub, or the hub itself."""

import gzip
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.hub.asking import hub_errors

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Place:
    """A folder, or a dataset's id on the hub.

    Raises:
        FergiRewardError: It is neither.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.folder and not _HUB_ID.fullmatch(self.name):
            raise FergiRewardError(f"{self.name} is neither a folder nor a hub id such as owner/name")

    @property
    def folder(self) -> Path | None:
        """The folder; None on the hub."""
        return Path(self.name) if Path(self.name).is_dir() else None

    def file(self, name: str) -> Path:
        """A file; from the hub it is downloaded once, then cached.

        Raises:
            FergiRewardError: It is not there, or the hub is not.
        """
        if self.folder:
            if not (self.folder / name).is_file():
                raise FergiRewardError(f"{self.folder} has no {name}: give a folder in the layout of the hub")
            return self.folder / name
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.name, name, repo_type="dataset"))
        except hub_errors() as error:
            raise unreachable(self.name, error) from error

    def unpacked(self, archive: str) -> Path:
        """The folder that an archive was unpacked into, once, in the cache of `datasets`.

        Raises:
            FergiRewardError: The archive is not there, or damaged.
        """
        manager = datasets_module().DownloadManager()
        path = self.file(archive)
        try:
            _check_size(path)
            return Path(manager.extract(str(path)))
        except Exception as error:  # gzip, tarfile, zipfile and zlib have no common base for damage
            raise FergiRewardError(f"cannot unpack {path} ({error}): download it again") from error


def _check_size(path: Path) -> None:
    """Refuse an archive that would fill the disk: pictures hardly shrink when they are packed.

    Raises:
        ValueError: It unpacks to far more than it has.
    """
    most = max(1 << 28, 20 * path.stat().st_size)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    else:
        with gzip.open(path) as file:
            size = 0
            while size <= most and (part := file.read(1 << 20)):
                size += len(part)
    if size > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")


def unreachable(name: str, error: Exception) -> FergiRewardError:
    """The error of a dataset that is not available from the hub."""
    why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return FergiRewardError(f"cannot get {name} from the hub ({why}): connect to it, or name a folder with its files")


def datasets_module() -> Any:  # noqa: ANN401 - a module
    """The library `datasets`.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError("datasets", "reading this benchmark", "train") from error
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # the exceptions say what is wrong, once
    return datasets
