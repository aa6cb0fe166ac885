"""The store of what a run found: appended to, damaged, shared, compacted."""

import gc
import os
import pickle
import time
import warnings

import pytest

from fergi_reward.files import store as module
from fergi_reward.files.store import FileDigests, Store, key_of

VALUES = {f"{number:032x}": {"scores": [number / 3, -1.5]} for number in range(50)}


def file_of(folder):
    (path,) = folder.glob("*.lines")
    return path


@pytest.fixture
def folder(tmp_path):
    store = Store(tmp_path / "store")
    for key, value in VALUES.items():
        store.add({key: value})
    return tmp_path / "store"


def found(folder):
    store = Store(folder)
    return {key: store.get(key) for key in store.known()}


def test_values_come_back_to_the_bit(folder):
    assert found(folder) == VALUES


def test_after_a_kill_at_any_byte_the_whole_lines_count_and_nothing_else(folder):
    path = file_of(folder)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        left = found(folder)
        assert all(VALUES[key] == value for key, value in left.items())
        assert len(left) - complete in (0, 1)  # the last one without its line break is whole too


@pytest.mark.parametrize("damage", [b"\0" * 40, b"", b"\n\n", b'{"half', b"\xff\xfe\n"], ids=repr)
def test_a_power_cut_costs_the_damaged_lines_alone(folder, damage):
    path = file_of(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:20], damage, *lines[22:], damage]))
    left = found(folder)
    assert 46 < len(left) < 50
    assert all(VALUES[key] == value for key, value in left.items())


def test_a_line_with_another_digit_is_not_believed(folder):
    path = file_of(folder)
    path.write_bytes(path.read_bytes().replace(b"-1.5", b"-1.6", 1))
    assert len(found(folder)) == 49


def test_each_process_has_a_file_of_its_own(folder):
    first, second = Store(folder), pickle.loads(pickle.dumps(Store(folder)))
    first.add({"a": 1})
    second.add({"b": 2})
    first.read()
    assert first.get("b") == 2
    assert len(list(folder.glob("*.lines"))) == 3


def test_a_run_that_fails_leaves_no_file_open(folder):
    store = Store(folder)
    store.add({"a": 1})
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        del store
        gc.collect()
    assert not [each for each in found if each.category is ResourceWarning and str(folder) in str(each.message)]


def test_it_grows_no_larger_than_the_work(folder):
    for number in range(5):
        store = Store(folder)
        store.add({f"old {number}": [0.5] * 100, "kept": number})
        store.keep([*VALUES, "kept", "never there"])
    assert found(folder) == VALUES | {"kept": 4}
    assert len(file_of(folder).read_bytes().splitlines()) == 51
    store.delete()
    assert not folder.exists()


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", -1)
    read = []
    monkeypatch.setattr(module, "file_digest", lambda path: read.append(path) or str(len(read)))
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    digests = FileDigests(Store(tmp_path / "store"))
    assert digests(path) == digests(path) == FileDigests(Store(tmp_path / "store"))(path) == "1"
    before = path.stat()
    time.sleep(0.02)
    path.write_bytes(b"two")  # as long, and its time set back
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digests(path) == "2"


def test_a_file_that_has_just_changed_is_read_again(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    store = Store(tmp_path / "store")
    digests = FileDigests(store)
    assert digests(path) == digests(path)
    assert len(store) == 0  # it may change again without another time
    with pytest.raises(OSError, match="is no file"):
        digests(tmp_path)


def test_keys_tell_contents_apart():
    keys = [key_of("a", "b"), key_of("ab"), key_of("a", ["b"]), key_of("b", "a"), key_of("a", "b", 1), key_of("\ud800")]
    assert len(set(keys)) == len(keys)
