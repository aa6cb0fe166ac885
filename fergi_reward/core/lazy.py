"""The public names of a package, imported at first use: importing the package alone stays light."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def exports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """What a package's `__init__` binds to `__getattr__`, `__dir__` and `__all__` (PEP 562).

    For type checkers the same names are imported `if TYPE_CHECKING`.

    Args:
        package: Its `__name__`.
        modules: By public name, the module below the package that has it, such as `calibration.protocols`. A name must
            not be that of a module: once imported, a module hides what is exported.
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, listed, sorted(modules)
