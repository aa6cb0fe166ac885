"""What only a CUDA GPU can show: `python -m pytest -m gpu`.

It leaves a JSON file and a Markdown table in `runs/gpu/` (or `GPU_REPORT`): the card, the tests, what they measured.
"""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from tabulate import tabulate

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PACKAGES = ("torch", "transformers", "diffusers", "accelerate", "peft", "open_clip_torch", "timm")
MEASURED = pytest.StashKey[list[dict[str, object]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and say why they are skipped where there is no GPU."""
    absent = pytest.mark.skip(reason=f"no CUDA GPU is seen by torch {torch.__version__}")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("gpu")
            if not torch.cuda.is_available():
                item.add_marker(absent)


@pytest.fixture(scope="session", autouse=True)
def _eval_is_importable() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "eval"))
    yield
    sys.path.remove(str(ROOT / "eval"))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Each test begins with an empty card and PyTorch's own switches."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True
    torch.cuda.empty_cache()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that puts figures into the report: what was measured, the value, and the bound that it must keep."""
    rows = request.config.stash.setdefault(MEASURED, [])

    def add(what: str, value: float, bound: float | None = None) -> None:
        rows.append({"test": request.node.name, "what": what, "value": value, "bound": bound})

    return add


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how each test of this folder ended, and after how long."""
    if "tests/gpu/" in report.nodeid and (report.when == "call" or not report.passed):
        OUTCOMES.append({"test": report.nodeid.partition("::")[2], "outcome": report.outcome, "s": report.duration})


OUTCOMES: list[dict[str, object]] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, if a GPU was there."""
    if torch.cuda.is_available() and OUTCOMES:
        write_report(Path(os.environ.get("GPU_REPORT", "runs/gpu")), session.config.stash.get(MEASURED, []))


def write_report(folder: Path, rows: list[dict[str, object]]) -> None:
    """The two files, and the table on the terminal."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    card = {"card": torch.cuda.get_device_name(), "CUDA": torch.version.cuda, "Python": platform.python_version()}
    folder.mkdir(parents=True, exist_ok=True)
    whole = {**card, "versions": versions, "tests": OUTCOMES, "measured": rows}
    (folder / "suite.json").write_text(json.dumps(whole, indent=1) + "\n")
    head = ", ".join(f"{name} {value}" for name, value in {**card, **versions}.items())
    parts = [head, tabulate(rows, "keys", "github", floatfmt=".3g"), tabulate(OUTCOMES, "keys", "github", ".1f")]
    (folder / "suite.md").write_text("\n\n".join(parts) + "\n")
    print("\n\n" + "\n\n".join(parts[:2]))
