"""Programs that README showed at another place before."""

import runpy
import sys
from pathlib import Path

import pytest

EVAL = Path(__file__).parents[2] / "eval"
SHIMS = sorted(path.name for path in EVAL.glob("*.py") if path.name != "moved.py")


def test_a_moved_program_finds_its_own_modules_and_options(tmp_path, monkeypatch, capsys):
    former, now = tmp_path / "old.py", tmp_path / "new" / "old.py"
    now.parent.mkdir()
    (now.parent / "its_own_module.py").write_text("NUMBER = 7\n")
    now.write_text("import sys, its_own_module\nprint(__name__, its_own_module.NUMBER, sys.argv[1])\n")
    former.write_text("from moved import run_moved\nrun_moved(__file__, 'new')\n")
    monkeypatch.setattr(sys, "argv", [str(former), "--option"])
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(EVAL), *sys.path])
    runpy.run_path(str(former), run_name="__main__")
    assert capsys.readouterr() == ("__main__ 7 --option\n", "eval/old.py is now eval/new/old.py\n")


@pytest.mark.parametrize("name", SHIMS)
def test_every_former_place_names_a_program(name, monkeypatch):
    monkeypatch.syspath_prepend(str(EVAL))
    found = []
    monkeypatch.setattr("runpy.run_path", lambda program, run_name: found.append(Path(program)))
    exec(compile((EVAL / name).read_text(), EVAL / name, "exec"), {"__file__": str(EVAL / name)})
    assert [path.name for path in found] == [name]
    assert found[0].is_file() and found[0].parent.parent == EVAL
