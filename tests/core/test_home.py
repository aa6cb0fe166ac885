"""Users without a home folder that can be used: libraries keep their files elsewhere, and say nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fergi_reward.core.home import find_home

# The first three are libraries that end or complain without a home folder, two of them when they are imported.
PROGRAM = """
import json
import fergi_reward
import datasets, huggingface_hub, matplotlib
from fergi_reward.data.fergi import default_folder
from fergi_reward.scorers.pickscore import PickScorer
try:
    PickScorer.from_pretrained("nobody/nothing")
except fergi_reward.FergiRewardError as error:
    said = str(error)
places = [datasets.config.HF_DATASETS_CACHE, huggingface_hub.constants.HF_HUB_CACHE, matplotlib.get_cachedir()]
print(json.dumps([said, *map(str, [*places, default_folder()])]))
"""


def test_without_a_home_libraries_have_a_place_and_give_neither_tracebacks_nor_notices(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "HF_HOME")}
    environment |= {"HOME": "/proc/nope", "TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    said, *places = json.loads(run.stdout)
    assert said.startswith("cannot get config.json of nobody/nothing from the hub")
    own = tmp_path / f"fergi_reward-{os.getuid()}"
    assert own.stat().st_mode & 0o777 == 0o700
    assert all(Path(place).is_relative_to(own) for place in places)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of this user among the temporary files; there is no home, and no entry for the uid."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os.path, "expanduser", lambda text: os.environ.get("HOME", text))
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TRITON_HOME", "HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return tmp_path / f"fergi_reward-{os.getuid()}"


@pytest.mark.parametrize("home", [None, "/dev/null", "nowhere", "/nowhere", "/root"])
def test_a_uid_without_an_entry_or_with_somebody_elses_home_gets_one_of_its_own(own, monkeypatch, home):
    if home:
        monkeypatch.setenv("HOME", home)
    plain = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: str(place) != "/root" and plain(place, mode))
    find_home()
    assert os.environ["HOME"] == str(own)


@pytest.mark.parametrize(
    "squat", [lambda place: place.symlink_to("/"), lambda place: place.mkdir() or place.chmod(0o777)]
)
def test_what_others_may_have_put_there_is_not_used(own, squat):
    squat(own)
    find_home()
    assert Path(os.environ["HOME"]).stat().st_mode & 0o777 == 0o700
    assert os.environ["HOME"] != str(own)


@pytest.mark.parametrize("cached", [False, True])
def test_of_a_read_only_home_the_hubs_cache_is_read_and_nothing_written(own, tmp_path, monkeypatch, cached):
    home = tmp_path / "home"
    hub = home / ".cache" / "huggingface"
    (hub if cached else home).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    plain = os.access
    closed = lambda place, mode: mode & os.W_OK and Path(place).is_relative_to(home)  # noqa: E731
    monkeypatch.setattr(os, "access", lambda place, mode: plain(place, mode) and not closed(place, mode))
    find_home()
    assert os.environ["HOME"] == str(home)
    assert os.environ["XDG_CACHE_HOME"] == str(own / ".cache")
    assert os.environ["XDG_CONFIG_HOME"] == str(own / ".config")
    assert os.environ["TRITON_HOME"] == str(own)
    assert os.environ.get("HF_HOME") == (str(hub) if cached else None)
    expected = str(own / ".cache" / "huggingface" / "datasets") if cached else None
    assert os.environ.get("HF_DATASETS_CACHE") == expected


def test_a_home_that_can_be_used_changes_nothing(own, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    find_home()
    assert dict(os.environ) == before
    assert not own.exists()
