"""The whole way in one go: preferences -> calibrated reward -> a fine-tuned model. `make demo` runs this.

It prints every command before it runs it, so that any of them can be run alone.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from fergi_reward.fergi import default_folder, locate
from fergi_reward.trainers.arguments import one_sentence_for_mistakes
from fergi_reward.trainers.curve import write_reward_curve

OUT = Path("demo_out")
COMMAND = str(Path(sys.executable).parent / "fergi-reward")


def main() -> None:
    """Calibrate, train, and say what was made."""
    shutil.rmtree(OUT, ignore_errors=True)
    data, label = find_data()
    print(f"fergi_reward demo on {label}", flush=True)
    if data is None:
        data = OUT / "simulated_fergi"
        run("No FERGI found: some viewers are made up", [COMMAND, "data", "simulate", "--out", str(data)])
    calibration = OUT / "calibration.json"
    for title, config, report, out in (
        ("Calibrate as published, to compare", "calibrate_paper_v1", OUT / "paper_v1", OUT / "paper_v1.json"),
        ("Calibrate the reward", "calibrate_bradley_terry", OUT / "report", calibration),
    ):
        options = ["--data", str(data), "--out", str(out), "--report", str(report)]
        run(title, [COMMAND, "calibrate", "--config", f"configs/{config}.yaml", *options])
    options = ["--calibration", str(calibration), "--output_dir", str(OUT / "ddpo")]
    run("Fine-tune a toy with it", [sys.executable, "training/ddpo.py", "--config", "configs/ddpo_tiny.yaml", *options])
    shutil.copy(OUT / "ddpo" / "grids" / "before_after.png", OUT / "before_after.png")
    write_reward_curve(OUT / "ddpo" / "metrics.jsonl", OUT / "reward_curve.png")
    print(f"""
{OUT}/ holds calibration.json, report/ (table, plots), before_after.png, reward_curve.png and ddpo/lora (the adapter).
Next: training/ddpo.py --config configs/ddpo_sd15.yaml fine-tunes Stable Diffusion 1.5; README.md says what it needs.
Calibrated on {label}; the pictures are a random toy's and mean nothing, every code path is the real one.""")


def find_data() -> tuple[Path | None, str]:
    """The FERGI folder, if there is one, and what to call the data."""
    if os.environ.get("FERGI_DATA") or default_folder().exists():
        return locate(), "the FERGI data"
    return None, "a small SIMULATED FERGI (`fergi-reward data fetch` gets the real one)"


def run(title: str, command: list[str]) -> None:
    """Say what is done, and do it; leave with its status when it fails."""
    print(f"\n== {title}\n$ {shlex.join([Path(command[0]).name, *command[1:]])}\n", flush=True)
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main()
