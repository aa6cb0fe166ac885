"""What a name stands for: built in, installed by another package, written as a path, or registered in Python.

It is at the bottom of the library and knows no scorer: every kind of thing that strangers may add has one `Registry`.
Nothing is imported before its name is asked for, so that a broken package hinders only those who ask for what it has.
"""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.core.errors import FergiRewardError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LIBRARY = "fergi_reward"
NO_MODULE = "install its package, or run this in its folder or with that on PYTHONPATH"


@dataclass(frozen=True)
class Found:
    """What a name stands for.

    Attributes:
        target: A class, a function that returns the object, or the object.
        origin: Who brings it, for people: `fergi_reward`, a package with its version, a path, or `register()`.
    """

    target: Any
    origin: str


class Registry:
    """Things of one kind by name.

    Args:
        kind: What one of them is called in errors, such as `scorer`.
        builtin: By name, where it is: `module:attribute`.
        plural: Of `kind`, by default with an s.

    Other packages add theirs as entry points of the group `fergi_reward.PLURAL`.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], plural: str | None = None) -> None:
        self.kind, self.group = kind, f"{LIBRARY}.{plural or f'{kind}s'}"
        self.builtin = dict(builtin)
        self._registered: dict[str, Any] = {}

    def register(self, name: str, target: object) -> None:
        """Add one in this process; a name that was registered before stands for the new one.

        Raises:
            FergiRewardError: The name is built in, installed or a path.
        """
        if name in self.builtin or name in self.installed() or is_path(name):
            raise FergiRewardError(f"{name!r} cannot be registered as a {self.kind}, it is taken: choose another name")
        self._registered[name] = target

    def installed(self) -> "dict[str, list[EntryPoint]]":
        """The entry points of other packages by their names, those of built-in ones left out; nothing is imported."""
        found: dict[str, list[EntryPoint]] = {}
        for point in _entry_points(self.group, _state_of_path()):
            if point.name not in self.builtin and point not in found.setdefault(point.name, []):
                found[point.name].append(point)
        return found

    def names(self) -> list[str]:
        """All names but paths."""
        return list(dict.fromkeys([*self.builtin, *self.installed(), *self._registered]))

    def check(self, name: str, also: Sequence[str] = ()) -> None:
        """Refuse a name that stands for nothing, without importing anything.

        Args:
            name: The name.
            also: Further names that are right where it is used.

        Raises:
            FergiRewardError: It is none of `names()` or `also`, and no path.
        """
        if name in self.builtin or name in self._registered or is_path(name):
            return
        if name in (names := [*also, *self.names()]):
            return
        near = difflib.get_close_matches(name, names, n=1)
        advice = f"did you mean {near[0]}? " if near else ""
        raise FergiRewardError(
            f"there is no {self.kind} {name!r}: {advice}installed are {', '.join(names)}; one of your own is given as "
            "my_package.my_module:Name"
        )

    def problems(self, names: Iterable[str], also: Sequence[str] = ()) -> list[str]:
        """A sentence for each of the names that stands for nothing; the arguments are those of `check`."""
        found = []
        for name in names:
            try:
                self.check(name, also)
            except FergiRewardError as error:
                found.append(str(error))
        return found

    def get(self, name: str) -> Found:
        """What a name stands for; it is imported now.

        Raises:
            FergiRewardError: There is none of that name, several packages have one, or it cannot be imported.
        """
        from importlib.metadata import EntryPoint

        self.check(name)
        if name in self.builtin:
            return Found(EntryPoint(name, self.builtin[name], self.group).load(), LIBRARY)
        if name in self._registered:
            return Found(self._registered[name], "register()")
        if is_path(name):
            return self._loaded(EntryPoint(name, name, self.group), name)
        points = self.installed()[name]
        origins = [package(point) for point in points]
        if len(points) > 1:
            raise FergiRewardError(
                f"{len(points)} packages have a {self.kind} {name!r}: {', '.join(origins)}; uninstall one, or give "
                f"{' or '.join(point.value for point in points)}"
            )
        return self._loaded(points[0], origins[0])

    def _loaded(self, point: "EntryPoint", origin: str) -> Found:
        if is_path(origin):
            _add_current_folder(point.module)
        try:
            return Found(point.load(), origin)
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything while it is imported
            what, why = f"the {self.kind} {point.name!r}", _in_one_line(error)
            if not is_path(origin):
                why = f"{what} of {origin} cannot be imported from {point.value} ({why}): fix it"
            elif point.module in sys.modules:
                why = f"{what} cannot be imported: {_lacking(point)}"
            else:
                why = f"{what} cannot be imported ({why}): {NO_MODULE}"
            raise FergiRewardError(why) from error


def _add_current_folder(module: str) -> None:
    """Let a module be found that lies in the current folder and nowhere else, as `python -m` does.

    The folder comes last, so that nothing in it hides what is installed.
    """
    top = module.partition(".")[0]
    here = Path.cwd()
    if top in sys.modules or not ((here / f"{top}.py").is_file() or (here / top).is_dir()):
        return
    if importlib.util.find_spec(top) is None:
        sys.path.append(str(here))


def _lacking(point: "EntryPoint") -> str:
    """That a module lacks a name, and the one that may be meant."""
    near = difflib.get_close_matches(point.attr, vars(sys.modules[point.module]), n=1)
    return f"{point.module} has no {point.attr}{f', did you mean {near[0]}?' if near else ''}"


def is_path(name: str) -> bool:
    """Whether a name says where something is: `my_package.my_module:Name`.

    >>> is_path("my_rewards:Mine"), is_path("pickscore")
    (True, False)
    """
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def package(point: "EntryPoint") -> str:
    """The package that installs an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def takes(target: Callable[..., Any]) -> dict[str, bool]:
    """The arguments of a class or function, and whether each must be given; none where it does not say.

    >>> takes(lambda pixels, checkpoint=None, **others: None)
    {'pixels': True, 'checkpoint': False}
    """
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # not callable, or written in C
        return {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {one.name: one.default is one.empty for one in parameters if one.kind not in several}


def is_maker(target: object) -> bool:
    """Whether an object is made by it: by a class, or by a function to which nothing must be given.

    >>> is_maker(dict), is_maker(lambda: None), is_maker(lambda pixels, prompts: 0), is_maker(3)
    (True, True, False, False)
    """
    if not (inspect.isroutine(target) or isinstance(target, partial)):
        return isinstance(target, type)
    given = takes(target)
    return bool(given or not inspect.isbuiltin(target)) and not any(given.values())


@cache
def _entry_points(group: str, path: object) -> "tuple[EntryPoint, ...]":
    """Those of all packages: 20 ms for a hundred packages, and each look at a pipeline asks for names."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _state_of_path() -> tuple[tuple[str, int], ...]:
    """Where packages lie, and when one last came or went."""
    return tuple((place, Path(place).stat().st_mtime_ns if Path(place).exists() else 0) for place in sys.path)


@contextmanager
def blaming(what: str, origin: str) -> Iterator[None]:
    """Inside, whatever another package's code raises becomes one sentence that names it; our own errors pass.

    Raises:
        FergiRewardError: It raised something.
    """
    try:
        yield
    except FergiRewardError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything, and must not end a run as if done
        if origin == LIBRARY:
            raise
        raise FergiRewardError(f"{what} ({origin}) failed: {_in_one_line(error)}") from error


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
