"""The wheel, installed into an empty environment without the extras."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("fergi_reward-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Made with the dependencies of the wheel and nothing else; deleted afterwards, since torch alone is gigabytes."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    call(*pip, "--constraint", ROOT / "constraints.txt", wheel)
    yield folder / "bin"
    subprocess.Popen(["rm", "-rf", folder])  # minutes on a slow disk: nobody waits for it


def test_package_data_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    templates = [f"report/templates/{name}" for name in ("page.html.j2", "style.css", "page.js")]
    for name in ("py.typed", "fergi_manifest.sha256", "calibrations/fergi-ir50-bradley-terry.json", *templates):
        assert f"fergi_reward/{name}" in names
    assert not [name for name in names if name.startswith(("tests/", "training/", "eval/"))]


def test_it_calibrates_without_the_extras(environment, simulated, tmp_path):
    command = environment / "fergi-reward"
    assert "calibrate" in call(command, "--help", cwd=tmp_path)
    printed = call(command, "calibrate", "--data", simulated, "--report", tmp_path / "report", cwd=tmp_path)
    assert "weighted_sum+au4" in printed
    assert "pip install 'fergi-reward[report]'" in printed  # for the page; the rest of the report is there
    assert (tmp_path / "calibration.json").exists()
    assert (tmp_path / "report" / "report.json").exists()


def test_the_reward_loads_without_the_extras(environment, tmp_path):
    code = "import fergi_reward; print(fergi_reward.CombinedReward.from_pretrained().calibration.protocol)"
    assert call(environment / "python", "-c", code, cwd=tmp_path) == "bradley-terry\n"


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, fergi_reward, fergi_reward.cli; print(*sys.modules)"
    imported = set(call(sys.executable, "-c", code).split())
    heavy = {
        "torch",
        "pandas",
        "scipy",
        "transformers",
        "diffusers",
        "open_clip",
        "matplotlib",
        "jinja2",
        "feat",
        "cv2",
        "mediapipe",
    }
    assert not imported & heavy
