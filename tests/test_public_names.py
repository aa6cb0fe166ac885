"""What the package and its folders export: it exists, is documented, and is what type checkers see."""

import ast
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import fergi_reward
from fergi_reward.core.lazy import exports

FOLDERS = [
    "fergi_reward",
    *(f"fergi_reward.{each.name}" for each in pkgutil.iter_modules(fergi_reward.__path__) if each.ispkg),
]
EXPORTED = [(folder, name) for folder in FOLDERS for name in getattr(importlib.import_module(folder), "__all__", ())]


@pytest.mark.parametrize(("folder", "name"), EXPORTED, ids=".".join)
def test_an_exported_name_is_there_with_a_docstring(folder, name):
    package = importlib.import_module(folder)
    found = getattr(package, name)
    assert found.__name__ == name and found.__module__.startswith("fergi_reward.")
    assert found.__doc__ and not found.__doc__.startswith(f"{name}(")  # which a dataclass would have by itself
    assert name in dir(package)
    assert name not in {each.name for each in pkgutil.iter_modules(package.__path__)}  # a module would hide it


@pytest.mark.parametrize("folder", FOLDERS)
def test_type_checkers_see_the_same_names_in_the_same_modules(folder):
    package = importlib.import_module(folder)
    tree = ast.parse(Path(package.__file__).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {name.name: node.module for block in blocks for node in block.body for name in node.names}
    for name in getattr(package, "__all__", ()):
        assert getattr(importlib.import_module(seen[name]), name) is getattr(package, name)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_map_of_a_folder_names_files_that_are_there(folder):
    package = importlib.import_module(folder)
    for named in re.findall(r"`([\w/]+(?:\.py|/))`", package.__doc__):
        assert (Path(package.__file__).parent / named).exists(), named


def test_nothing_is_imported_before_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "room.py").write_text("door = 7\n")
    (tmp_path / "house" / "__init__.py").write_text(
        "from fergi_reward.core.lazy import exports\n"
        "__getattr__, __dir__, __all__ = exports(__name__, {'door': 'room'})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    house = importlib.import_module("house")
    assert house.__all__ == ["door"] and "door" in dir(house) and "house.room" not in sys.modules
    assert house.door == 7
    with pytest.raises(AttributeError, match="module 'house' has no attribute 'window'"):
        _ = house.window
    for name in ("house", "house.room"):
        monkeypatch.delitem(sys.modules, name)


def test_a_missing_name_is_an_import_error():
    get, _, _ = exports("fergi_reward", {"CombinedReward": "reward"})
    assert get("CombinedReward") is fergi_reward.CombinedReward
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from fergi_reward.scorers import nothing  # noqa: F401
