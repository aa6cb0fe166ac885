"""The files of the page, which are in the package, and a language that the researcher brings."""

import gzip
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.digests import bytes_digest
from fergi_reward.files.json_files import read_json
from fergi_reward.files.ordinary_files import read_bytes

PAGE = Path(__file__).parent / "page"
PACKAGE = Path(__file__).parent / "package.json"
RUNTIME = "@mediapipe/tasks-vision"
MAX_BYTES = 1 << 26
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
# Bytes that packing must save to be worth it.
LEAST_SAVED = 200
_NAME = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class PageFile:
    """A file that browsers keep.

    Attributes:
        content: The file.
        media_type: What it is.
        tag: What tells it from other versions of it (`ETag`).
        packed: The same by gzip; None where that saves nothing.
    """

    content: bytes
    media_type: str
    tag: str
    packed: bytes | None


def page_file(content: bytes, media_type: str) -> PageFile:
    """A file that browsers keep, packed once."""
    packed = gzip.compress(content, mtime=0)
    is_smaller = len(packed) < len(content) - LEAST_SAVED
    return PageFile(content, media_type, f'"{bytes_digest(content)[:32]}"', packed if is_smaller else None)


class PageFiles:
    """What the page may ask for.

    Args:
        language: Name of shipped strings, or a JSON file of strings.

    Attributes:
        language: What the page calls the language that it begins in.

    Raises:
        FergiRewardError: There is no such language, or the file is none.
    """

    def __init__(self, language: str) -> None:
        shipped = sorted(path.stem for path in (PAGE / "strings").glob("*.json"))
        self._own: Path | None = None
        if Path(language).suffix == ".json":
            self._own = Path(language)
            _check_strings(self._own, shipped)
        elif language not in shipped:
            raise FergiRewardError(
                f"--language is {language!r}, must be {' or '.join(shipped)}, or a JSON file of strings"
            )
        self.language = self._own.stem if self._own else language
        self.languages = list(dict.fromkeys([self.language, *shipped]))

    def static(self, name: str) -> PageFile | None:
        """A file of the page; None where there is none of that name."""
        if self._own and name == f"strings/{self.language}.json":
            return page_file(read_bytes(self._own, MAX_BYTES), MEDIA_TYPES[".json"])
        return _file(PAGE, name)

    def runtime(self, name: str) -> PageFile | None:
        """A file of MediaPipe's runtime; None where there is none of that name."""
        return _file(PAGE / "runtime", name)


def check_runtime() -> None:
    """Check that the runtime is there, which a clone of the repository has to fetch.

    Raises:
        FergiRewardError: It is not.
    """
    if not any((PAGE / "runtime").glob("*.wasm")):
        raise FergiRewardError(
            f"{PAGE / 'runtime'} holds no runtime of MediaPipe: run `make collect-runtime` in a clone of the "
            "repository, and install from there"
        )


def runtime_version() -> str:
    """What measures in the browser, with its version, as the page's package pins it."""
    return f"tasks-vision {read_json(PACKAGE)['dependencies'][RUNTIME]}"


def _file(folder: Path, name: str) -> PageFile | None:
    path = folder / name
    if not _NAME.fullmatch(name) or path.suffix not in MEDIA_TYPES or not path.is_file():
        return None
    return _kept(path)


@lru_cache
def _kept(path: Path) -> PageFile:
    """A file of the package, read and packed once."""
    return page_file(read_bytes(path, MAX_BYTES), MEDIA_TYPES[path.suffix])


def _check_strings(path: Path, shipped: list[str]) -> None:
    known = f"give {' or '.join(shipped)}, or a JSON file of strings"
    try:
        found: Any = read_json(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FergiRewardError(f"--language {path} cannot be read ({why}): {known}") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise FergiRewardError(f"--language {path} must be a mapping from names to texts: {known}")
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]{2,8})?", path.stem):
        raise FergiRewardError(f"--language {path} must be called after a language, such as fr.json")
