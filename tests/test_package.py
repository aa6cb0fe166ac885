"""The wheel, installed into an empty environment without the extras."""

import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fergi_reward.version import __version__

ROOT = Path(__file__).parents[1]
RUNTIME = "fergi_reward/collect/page/runtime/vision_wasm_module_internal.wasm"


def call(*command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Made from the source distribution, as a release is, from a copy that has MediaPipe's runtime."""
    pytest.importorskip("hatchling", reason="builds come with the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    for name in call("git", "ls-files", "-z", cwd=ROOT).strip("\0").split("\0"):
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "copy" / name)
    runtime = folder / "copy" / RUNTIME
    runtime.parent.mkdir()
    runtime.write_bytes(b"wasm")
    call(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=folder / "copy")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    call(sys.executable, "-m", "pip", "wheel", *options, next(folder.glob("fergi_reward-*.tar.gz")))
    return next(folder.glob("fergi_reward-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The wheel and what it depends on and nothing else, linked from here: an installation takes minutes."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    packages = next((folder / "lib").glob("python3*/site-packages"))
    owners = packages_distributions()
    for name in dependencies(Distribution.at(next(packages.glob("fergi_reward-*.dist-info")))):
        link(distribution(name), packages, owners)
    call(*pip, "check")  # their versions are those that the wheel asks for
    return folder / "bin"


def dependencies(wheel):
    """The names of all distributions that a distribution needs, without extras of its own."""
    found, ahead = set(), [(wheel, {""})]
    while ahead:
        needs, extras = ahead.pop()
        for line in needs.requires or []:
            needed = Requirement(line)
            wanted = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
            name = canonicalize_name(needed.name)
            if wanted and (name, frozenset(needed.extras)) not in found:
                found.add((name, frozenset(needed.extras)))
                ahead.append((distribution(name), {"", *needed.extras}))
    return {name for name, _ in found}


def link(installed, packages, owners):
    """Every file of a distribution at its place in another folder of packages; programs in bin/ are left out.

    A folder of which it is the only owner is one link: 30,000 links take longer than what is tested.
    """
    files = [file for file in installed.files or [] if ".." not in file.parts and file.suffix != ".pyc"]
    folders = {file.parts[0] for file in files}
    own = {name for name in folders if len(owners.get(name, ())) == 1 or name.endswith(".dist-info")}
    for linked in {file.parts[0] if file.parts[0] in own else file for file in files}:
        place = packages / linked
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(installed.locate_file(linked))


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_package_data_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    templates = [f"report/templates/{name}" for name in ("page.html.j2", "style.css", "page.js")]
    for name in (
        "py.typed",
        RUNTIME.removeprefix("fergi_reward/"),
        "data/fergi_manifest.sha256",
        "calibration/shipped/fergi-ir50-bradley-terry.json",
        "configs/ddpo_tiny.yaml",
        "configs/prompts/everyday.txt",
        *templates,
    ):
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
    code = "import sys, fergi_reward, fergi_reward.cli.app; print(*sys.modules)"
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
