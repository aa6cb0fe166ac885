"""Checkpoints: a folder or the hub -> weights, without executing what is in them, and complete or not at all."""

import difflib
import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files import json_files
from fergi_reward.files.tensor_files import read_tensors
from fergi_reward.hub.asking import hub_errors, why_no_hub, without_warnings
from fergi_reward.hub.checksums import check_size
from fergi_reward.hub.licenses import say_license

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# The oldest repositories have no owner in their names.
_CACHED_ID = re.compile(rf"[\w.-]+|{_HUB_ID.pattern}")
_SHOWN = 5
# In so many parts a file is cast; each part takes unpickling its table of contents again.
_PART_BYTES = 1 << 28


@dataclass(frozen=True)
class Checkpoint:
    """Where a scorer's files are.

    Attributes:
        place: A folder that exists, or a hub id such as "yuvalkirstain/PickScore_v1".
        revision: Commit, branch or tag on the hub.
        others: Where the same files may lie on this machine under another name; looked at before the hub is asked.
        scorer: Whose they are, and
        files: all that it needs, for errors.
    """

    place: str | Path
    revision: str | None = None
    others: tuple["Checkpoint", ...] = ()
    scorer: str = ""
    files: str = ""

    @property
    def needs(self) -> str:
        """What must be there."""
        return f"{self.scorer} needs {self.files}" if self.scorer else "it needs the hub's layout"

    def file(self, name: str) -> Path:
        """A file; from the hub it is downloaded once, then cached (HF_HUB_OFFLINE is honoured).

        Raises:
            FergiRewardError: The folder, the file or the hub is not there.
        """
        if Path(self.place).is_dir():
            path = Path(self.place) / name
            if not path.is_file():
                raise FergiRewardError(f"the checkpoint folder {self.place} has no {name}: {self.needs}")
            check_size(path, name)
            return path
        if self.revision is None and self._is_meant_as_folder(name):
            raise FergiRewardError(
                f"there is no folder {self.place}: {_near(Path(self.place))}name the folder that holds the files, or a "
                f"hub id such as owner/name; {self.needs}"
            )
        if not _HUB_ID.fullmatch(str(self.place)):
            raise FergiRewardError(f"the checkpoint {self.place} is neither a folder nor a hub id such as owner/name")
        if self.others:
            for place in (self, *self.others):
                if found := place.here(name):
                    return found
        return self._from_hub(name)

    def _is_meant_as_folder(self, name: str) -> bool:
        """Whether a place that is no folder was meant as one: it begins like a path, or is in a folder that exists."""
        place = Path(self.place)
        if str(self.place).startswith((".", "/", "~")):
            return True
        return place.parent != Path() and place.parent.is_dir() and not self.here(name)

    def here(self, name: str) -> Path | None:
        """A file where it lies on this machine, in the folder or in the cache of the hub; no network is asked."""
        from huggingface_hub import try_to_load_from_cache

        folder = Path(os.path.expanduser(self.place))  # noqa: PTH111 - Path's own fails where there is no home
        if folder.is_dir() or not _CACHED_ID.fullmatch(str(self.place)):
            return folder / name if (folder / name).is_file() else None
        cached = try_to_load_from_cache(str(self.place), name, revision=self.revision)
        return Path(cached) if isinstance(cached, str) else None

    def _from_hub(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        is_new = self.here(name) is None
        try:
            with without_warnings():
                path = Path(hf_hub_download(str(self.place), name, revision=self.revision))
        except hub_errors() as error:
            looked = ", ".join(dict.fromkeys(str(other.place) for other in self.others))
            raise FergiRewardError(
                f"cannot get {name} of {self.place} from the hub ({why_no_hub(error)})"
                f"{f', nor is it on this machine under {looked}' if looked else ''}: connect to it once, or name a "
                f"folder that holds the files as the checkpoint (`--checkpoints {self.scorer or 'NAME'}=FOLDER`); "
                f"{self.needs}"
            ) from error
        if is_new:
            say_license(str(self.place))
        return path

    def extra(self, name: str) -> Path | None:
        """A file or folder that the hub does not have but a local folder may bring."""
        path = Path(self.place) / name
        return path if path.exists() else None


def _near(path: Path) -> str:
    """The folder of nearly the same name, as a question."""
    try:
        there = [each.name for each in path.parent.iterdir() if each.is_dir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, there, n=1)
    return f"did you mean {path.parent / near[0]}? Else " if near else ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        FergiRewardError: It is not one.
    """
    try:
        value = json_files.read_json(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FergiRewardError(f"{path} is not JSON ({why}): download it again") from error
    if not isinstance(value, dict):
        raise FergiRewardError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or PyTorch file, mapped into memory where the format allows.

    A PyTorch file is read with `weights_only=True`: it cannot execute code. `{"state_dict": {...}}` is unwrapped.

    Raises:
        FergiRewardError: It is damaged, not a checkpoint, or a pickle with more than tensors in it.
    """
    try:
        return read_tensors(path)
    except (OSError, ValueError) as error:
        raise FergiRewardError(f"cannot read the checkpoint {path}: {_why_unreadable(path, error)}") from error


def load_weights(module: nn.Module, path: Path, rename: Callable[[str], str | None] = str) -> None:
    """Make a file's tensors the weights of `module` (which may be on the meta device); all must fit, none may be left.

    They keep the dtypes that the module had. Where no tensor must be cast for that, they stay mapped to the file; else
    the file is mapped again for each of its parts, so that memory holds the result and one part.

    Args:
        module: Says the names, shapes and dtypes.
        path: See `read_weights`.
        rename: A tensor's name in the file -> its name in the module, or None if the module has no use for it.

    Raises:
        FergiRewardError: The file cannot be read, or names are missing, unexpected or of another shape.
    """
    expected = module.state_dict()
    weights = _renamed(read_weights(path), rename)
    _check_fit(expected, weights, f"the checkpoint {path} does not fit {type(module).__name__}")
    if all(weights[name].dtype == value.dtype for name, value in expected.items()):
        module.load_state_dict(weights, assign=True)
        return
    parts = 1 + path.stat().st_size // _PART_BYTES
    for start in range(parts):
        if start:
            weights = _renamed(read_weights(path), rename)
        part = {name: weights[name].to(expected[name].dtype, copy=True) for name in list(expected)[start::parts]}
        module.load_state_dict(part, assign=True, strict=False)


def _renamed(weights: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> dict[str, Tensor]:
    return {name: value for key, value in weights.items() if (name := rename(key)) is not None}


def _check_fit(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], sentence: str) -> None:
    problems = {
        "missing": expected.keys() - weights.keys(),
        "unexpected": weights.keys() - expected.keys(),
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in expected.keys() & weights.keys()
            if weights[name].shape != expected[name].shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{kind}: {_shortened(names)}" for kind, names in problems.items() if names)
        raise FergiRewardError(f"{sentence} ({found}): is it another?")


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page; download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself (git lfs pull)"
    if isinstance(error.__cause__, pickle.UnpicklingError):
        return "it is damaged, or a pickle with more than tensors in it, which is never executed"
    return f"it is damaged, cut short or another file ({error}); download it again"


def _shortened(keys: Iterable[str]) -> str:
    names = sorted(keys)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
