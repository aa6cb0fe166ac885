from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.drawn_files import drawn_file, forget_files, write_files
from fergi_reward.files.store import Store


def test_what_a_killed_run_left_half_written_is_deleted_and_what_is_being_written_stays(tmp_path):
    store, path = Store(tmp_path / ".journal"), tmp_path / "best" / "cat.png"
    store.add({"key": drawn_file(tmp_path, path, b"a cat")})
    write_files({path: b"a cat"})
    (path.parent / ".partial-killed.png").write_bytes(b"half a c")
    with atomic_path(path.parent / "dog.png") as temporary:
        temporary.write_bytes(b"half a d")
        forget_files(store, tmp_path, ["key"], [path])
        assert sorted(path.parent.iterdir()) == sorted([path, temporary])
