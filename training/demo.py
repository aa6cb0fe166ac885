"""The whole way in one go: preferences -> calibrated reward -> a fine-tuned model that draws better. `make demo`.

It prints every command before it runs it, so that any of them can be run alone. The world is a toy that is part of the
package: pictures of 32 x 32, three small scorers, simulated viewers. Where FERGI is found, it is calibrated on as well.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from fergi_reward.cli.errors import clean_exit
from fergi_reward.data.fergi import default_folder, locate
from fergi_reward.trainers.curve import write_reward_curve

OUT = Path("demo_out")
COMMAND, TORCHRUN = (str(Path(sys.executable).parent / name) for name in ("fergi-reward", "torchrun"))
# A toy's matrices are too small for two threads to share, but two processes with half a batch each take half the time.
ENVIRONMENT = ["env", "ACCELERATE_USE_CPU=1", "OMP_NUM_THREADS=1"]
IN_TWO_PROCESSES = [*ENVIRONMENT, TORCHRUN, "--standalone", "--nproc_per_node=2"]
HALVED = ["--sample_num_batches_per_epoch", "2", "--train_batch_size", "16"]


def main() -> None:
    """Calibrate, train, judge, and say what was made."""
    shutil.rmtree(OUT, ignore_errors=True)
    if os.environ.get("FERGI_DATA") or default_folder().exists():
        calibrate("the FERGI data, as published", "paper_v1", locate(), OUT / "fergi_paper_v1")
        calibrate("the FERGI data", "bradley_terry", locate(), OUT / "fergi")
        options = ["--data", str(locate()), "--out", str(OUT / "pairs.jsonl")]
        run("Annotate FERGI's pairs, each person by what others taught", [COMMAND, "annotate", *options])
    else:
        print("FERGI is not here (`fergi-reward data fetch` gets it): only the toy is calibrated")
    viewers, run_folder = OUT / "viewers", OUT / "ddpo"
    options = ["--participants", "30", "--sessions", "18", "--out", str(viewers)]
    run("Simulate viewers of a toy world", [COMMAND, "data", "simulate", "--emoji", *options])
    calibration = calibrate("the toy's viewers", "bradley_terry", viewers, OUT / "toy")
    options = ["--calibration", str(calibration), "--output_dir", str(run_folder)]
    program = ["training/ddpo.py", "--config", "configs/ddpo_emoji.yaml", *HALVED, *options]
    run("Fine-tune the toy's model with that reward, in two processes", [*IN_TWO_PROCESSES, *program])
    options = ["--adapter", str(run_folder / "lora"), "--calibration", str(calibration), "--out", str(OUT)]
    run("Ask a judge that was not in the reward", [sys.executable, "eval/toy/emoji_adapter.py", *options])
    write_reward_curve(run_folder / "metrics.jsonl", OUT / "reward_curve.png")
    print(f"""
Look at {OUT}/before_after.png (a toy's pictures: same captions, same noise) and {OUT}/reward_curve.png.
{calibration} is the reward's calibration, {run_folder}/lora the adapter.
Next: `training/ddpo.py --config configs/ddpo_sd15.yaml` fine-tunes Stable Diffusion 1.5; see README.md.""")


def calibrate(what: str, protocol: str, data: Path, report: Path) -> Path:
    """Fit the reward's weights on preferences; returns the calibration file, which lies next to its report."""
    calibration = report.with_suffix(".json")
    options = ["--data", str(data), "--out", str(calibration), "--report", str(report)]
    run(f"Calibrate on {what}", [COMMAND, "calibrate", "--config", f"configs/calibrate_{protocol}.yaml", *options])
    return calibration


def run(title: str, command: list[str]) -> None:
    """Say what is done, and do it; leave with its status when it fails."""
    shown = [Path(word).name if word in (COMMAND, sys.executable, TORCHRUN) else word for word in command]
    print(f"\n== {title}\n$ {shlex.join(shown)}\n", flush=True)
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


if __name__ == "__main__":
    with clean_exit():
        main()
