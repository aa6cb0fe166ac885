"""What only a CUDA GPU can show: `python -m pytest -m gpu`.

It leaves a JSON file and a Markdown table in `runs/gpu/` (or `GPU_REPORT`): the card, the tests, what they measured.
"""

import gc
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
OUTCOMES: list[dict[str, object]] = []
MEASURED: list[dict[str, object]] = []
# CUDA's library for matrices reads it once per process, before its first product: test_trainers.py.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and say why they are skipped where there is no GPU.

    Warnings are printed and no errors: those of a GPU's libraries nobody has seen before.
    """
    absent = pytest.mark.skip(reason=f"no CUDA GPU is seen by torch {torch.__version__}")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("gpu")
            item.add_marker(pytest.mark.filterwarnings("default"))
            if not torch.cuda.is_available():
                item.add_marker(absent)


@pytest.fixture(scope="session", autouse=True)
def _eval_is_importable() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "eval"))
    yield
    sys.path.remove(str(ROOT / "eval"))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Each test begins with an empty card and PyTorch's own switches.

    Trainers and models are in cycles, and Python keeps the last error with all that its functions held.
    """
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        vars(sys).pop(name, None)
    gc.collect()
    torch.cuda.empty_cache()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function that puts figures into the report: what was measured, the value, and the bound that it must keep."""

    def add(what: str, value: float, bound: float | None = None) -> None:
        MEASURED.append({"test": request.node.name, "what": what, "value": float(value), "bound": bound})

    return add


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how each test of this folder ended, and after how long; a session that is broken off leaves its report."""
    if "tests/gpu/" in report.nodeid and (report.when == "call" or not report.passed):
        OUTCOMES.append({"test": report.nodeid.partition("::")[2], "outcome": report.outcome, "s": report.duration})
        if torch.cuda.is_available():
            write_report(Path(os.environ.get("GPU_REPORT", ROOT / "runs" / "gpu")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if MEASURED:
        terminalreporter.write_line("\n" + tabulate(MEASURED, "keys", "github", floatfmt=".3g"))


def write_report(folder: Path) -> None:
    """The two files."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    card = {"card": torch.cuda.get_device_name(), "CUDA": torch.version.cuda, "Python": platform.python_version()}
    folder.mkdir(parents=True, exist_ok=True)
    whole = {**card, "versions": versions, "tests": OUTCOMES, "measured": MEASURED}
    (folder / "suite.json").write_text(json.dumps(whole, indent=1) + "\n")
    head = ", ".join(f"{name} {value}" for name, value in {**card, **versions}.items())
    parts = [head, tabulate(MEASURED, "keys", "github", floatfmt=".3g"), tabulate(OUTCOMES, "keys", "github", ".1f")]
    (folder / "suite.md").write_text("\n\n".join(parts) + "\n")
