import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_folder, atomic_path, sweep, write_json, write_text
from fergi_reward.files.locks import owned


def _names(folder):
    return [path.name for path in folder.iterdir()]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_results_are_readable_by_others(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "text")
    plain = tmp_path / "plain.txt"
    plain.write_text("text")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_umask_that_all_threads_share_is_not_set_even_for_a_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"the umask was set to {mask:o}"))
    write_text(tmp_path / "a.txt", "text")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "b.txt").write_text("text")


def test_json_refuses_nan_and_keeps_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert path.read_text() == '{\n  "x": 1.5\n}\n'


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FergiRewardError, match=r"cannot write .*file/x.txt .*choose another place"):
        write_text(tmp_path / "file" / "x.txt", "text")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_files_about_people_are_for_their_owner(tmp_path):
    write_text(tmp_path / "rows.csv", "text", private=True)
    with atomic_folder(tmp_path / "folder", private=True) as folder:
        (folder / "a.txt").write_text("text")
    assert stat.S_IMODE((tmp_path / "rows.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    full = r"cannot write .*result.txt \(No space left on device\): make room"
    with pytest.raises(FergiRewardError, match=full), atomic_path(path) as temporary:
        temporary.write_text("half")
        Path("/dev/full").write_text("text")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["result.txt"]


def test_what_a_block_cannot_read_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result.txt"):
        (tmp_path / "missing").read_text()


def test_a_folder_is_exchanged_and_is_never_absent(tmp_path):
    path = tmp_path / "best"
    for text in ("old", "new"):
        with atomic_folder(path) as folder:
            (folder / text).write_text(text)
            if text == "new":
                assert _names(path) == ["old"]
    assert _names(path) == ["new"]
    assert _names(tmp_path) == ["best"]


def test_where_names_cannot_be_exchanged_a_kill_between_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "best"
    monkeypatch.setattr("fergi_reward.files.atomic._exchanged", lambda first, second: False)
    with atomic_folder(path) as folder:
        (folder / "old").write_text("old")
    (tmp_path / "best").rename(tmp_path / ".partial-0123.aside-best")  # what a kill between the two renames leaves
    sweep(tmp_path)
    assert _names(path) == ["old"]
    with atomic_folder(path) as folder:
        (folder / "new").write_text("new")
    assert _names(path) == ["new"]
    assert _names(tmp_path) == ["best"]


def test_leftovers_of_a_kill_are_swept_and_what_is_being_written_stays(tmp_path):
    code = f"""
import os, signal, pathlib
from fergi_reward.files.atomic import atomic_folder, atomic_path
with atomic_folder(pathlib.Path({str(tmp_path)!r}) / "lora") as folder:
    (folder / "a").write_text("a")
    with atomic_path(pathlib.Path({str(tmp_path)!r}) / "s.parquet"):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert len(_names(tmp_path)) == 2
    with atomic_path(tmp_path / "mine.txt") as temporary, atomic_folder(tmp_path / "mine") as folder:
        sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {temporary, folder}


def test_two_runs_cannot_own_one_output(tmp_path):
    out = tmp_path / "scores.parquet"
    with (
        owned(out),
        pytest.raises(FergiRewardError, match=rf"another run \(process {os.getpid()}\) is writing .*scores.parquet"),
        owned(out),
    ):
        pass
    with owned(out):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_owns_nothing(tmp_path):
    code = f"""
import os, signal, pathlib
from fergi_reward.files.locks import owned
with owned(pathlib.Path({str(tmp_path)!r}) / "out"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code])
    with owned(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []
