"""The whole way in one go: preferences -> calibrated reward -> a fine-tuned model that draws better. `make demo`.

It prints every command before it runs it, so that any of them can be run alone; what they print is in demo_out/log.txt.
The world is a toy that is part of the package: pictures of 32 x 32, three small scorers, simulated viewers. Where FERGI
is found, it is calibrated on as well.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fergi_reward.cli.errors import clean_exit
from fergi_reward.data.fergi import default_folder, locate
from fergi_reward.trainers.curve import write_reward_curve

OUT = Path("demo_out")
LOG, VIEWERS, RUN, CALIBRATION = OUT / "log.txt", OUT / "viewers", OUT / "ddpo", OUT / "toy.json"
PROMPTS = "configs/prompts/emoji_held_out.txt"
COMMAND, TORCHRUN = (str(Path(sys.executable).parent / name) for name in ("fergi-reward", "torchrun"))
# A toy's matrices are too small for two threads to share, but two processes with half a batch each take half the time.
ENVIRONMENT = ["env", "ACCELERATE_USE_CPU=1", "OMP_NUM_THREADS=1"]
IN_TWO_PROCESSES = [*ENVIRONMENT, TORCHRUN, "--standalone", "--nproc_per_node=2"]
SHORT = ["--num_epochs", "8"]  # the configuration has 18
HALVED = ["--sample_num_batches_per_epoch", "2", "--train_batch_size", "16"]


def main() -> None:
    """Calibrate, train, judge, and say what was made."""
    started = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    if os.environ.get("FERGI_DATA") or default_folder().exists():
        calibrate("people's rankings, and their faces (FERGI)", locate(), OUT / "fergi.json")
    else:
        print("FERGI is not here (`fergi-reward data fetch` gets it): only the toy is calibrated.")
    people = ["--participants", "30", "--sessions", "12"]
    run("Simulate viewers of a toy world", [COMMAND, "data", "simulate", "--emoji", *people, "--out", str(VIEWERS)])
    calibrate("the simulated viewers", VIEWERS, CALIBRATION)
    train()
    judge()
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"""
Done in {minutes} min {seconds} s. Before and after: {OUT}/before_after.png; the reward: {OUT}/reward_curve.png
Report: {OUT}/toy/report.html
Try next:""")
    # As it was trained: by default a Stable Diffusion draws in 50 steps, with guidance.
    drawn = ["--model", "emoji", "--prompts", PROMPTS, "--steps", "10", "--guidance-scale", "1"]
    for command in (
        ["best-of", *drawn, "--n", "4", "--out", f"{OUT}/best"],
        ["evaluate", "models", *drawn, "--tuned", f"ddpo={RUN}/lora", "--out", f"{OUT}/models"],
        ["train", "ddpo", "--config", "ddpo_sd15", "--dry-run"],
    ):
        print(f"  {shlex.join([os.path.relpath(COMMAND), *command])}")


def calibrate(what: str, data: Path, out: Path) -> None:
    """Fit the reward's weights on preferences, and say how well they order the pairs of people they have not seen."""
    report = out.with_suffix("")
    options = ["--data", str(data), "--out", str(out), "--report", str(report)]
    run(
        f"Calibrate on {what}",
        [COMMAND, "calibrate", "--config", "configs/calibrate_bradley_terry.yaml", *options],
    )
    print(json.loads((report / "report.json").read_text())["page"]["verdict"][0])


def train() -> None:
    """Fine-tune the toy's model, and say how the reward rose."""
    options = ["--calibration", str(CALIBRATION), "--output_dir", str(RUN)]
    program = ["training/ddpo.py", "--config", "configs/ddpo_emoji.yaml", *SHORT, *HALVED, *options]
    run("Fine-tune the toy's model with that reward, in two processes", [*IN_TWO_PROCESSES, *program])
    write_reward_curve(RUN / "metrics.jsonl", OUT)
    epochs = list(map(json.loads, (RUN / "metrics.jsonl").read_text().splitlines()))
    first, last = (epochs[number]["reward_mean"] for number in (0, -1))
    print(f"Mean reward {first:.2f} in the first epoch, {last:.2f} in the last one of {len(epochs)}.")


def judge() -> None:
    """Ask a judge that is not in the reward, on captions that nothing was trained on."""
    options = ["--adapter", str(RUN / "lora"), "--calibration", str(CALIBRATION), "--out", str(OUT)]
    run("Ask a judge that was not in the reward", [sys.executable, "eval/toy/emoji_adapter.py", *options])
    found = json.loads((OUT / "judged.json").read_text())
    before, after = (found[when] for when in ("before", "after"))
    print(
        f"Pictures of captions that nothing was trained on: {before['held_out/psnr']:.2f} dB from a real one before, "
        f"{after['held_out/psnr']:.2f} dB after (more is closer); the right object in "
        f"{before['held_out/right_object']:.0%} before, {after['held_out/right_object']:.0%} after."
    )


def run(title: str, command: list[str]) -> None:
    """Say what is done, and do it; what it prints goes to the log, and its progress to a terminal.

    Raises:
        SystemExit: It failed; its output is printed, and its status is that of this program.
    """
    shown = [Path(word).name if word in (COMMAND, sys.executable, TORCHRUN) else word for word in command]
    print(f"\n== {title}\n$ {shlex.join(shown)}", flush=True)
    with LOG.open("a+") as log:
        begin = log.seek(0, os.SEEK_END)
        progress = None if sys.stderr.isatty() else log
        status = subprocess.run(command, check=False, stdout=log, stderr=progress).returncode
        if status:
            log.seek(begin)
            sys.stderr.write(log.read())
            sys.exit(status)


if __name__ == "__main__":
    with clean_exit():
        main()
