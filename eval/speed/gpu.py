"""How fast is it on a GPU? Official sizes with random weights; names the card and what limits.

What is measured: the card's own rates; scorers from pixels on the card; `fergi-reward score` from JPEG files; and how
much of an epoch of DDPO at the size of Stable Diffusion 1.5 is not spent in its network, VAE and scorer. Figures are
medians of rounds after one that warms up. A run that was interrupted resumes with what its JSON file lacks.

python eval/speed/gpu.py --out runs/gpu
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch
from gpu_epoch import epoch_row
from measure import MeasuredRows, Row, tables
from official_models import SCORERS, official_scorer
from official_sizes import PROMPT
from peak_memory import peak_memory
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.job import score_into
from fergi_reward.bulk.manifest import folder_rows
from fergi_reward.bulk.options import ScoringOptions
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.base import TowerScorer

BATCH, SIDE = 64, 512
COUNT = click.IntRange(min=1)
MATRIX = 8192
GOALS = {
    "scorer pickscore bfloat16": ("images/s", 800.0),
    "scorer hps_v2 bfloat16": ("images/s", 800.0),
    "scorer image_reward bfloat16": ("images/s", 1200.0),
    "scorer pickscore compiled": ("of the card", 0.5),
    "files pickscore": ("images/s", 500.0),
    "epoch ddpo": ("elsewhere", 0.03),
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/gpu"), show_default=True)
@click.option("--rounds", type=COUNT, default=5, show_default=True, help="After a first one.")
@click.option("--files", type=COUNT, default=4000, show_default=True, help="JPEG files to score.")
@click.option("--workers", type=COUNT, default=16, show_default=True, help="That decode them.")
@click.option("--only", multiple=True, type=click.Choice(["card", "scorer", "files", "epoch"]), help="Part to measure.")
def main(out: Path, rounds: int, files: int, workers: int, only: tuple[str, ...]) -> None:
    """Measure what the file lacks; print tables, the goals last."""
    if not torch.cuda.is_available():
        raise click.UsageError(f"torch {torch.__version__} sees no CUDA GPU, and this measures one")
    out.mkdir(parents=True, exist_ok=True)
    settings = {"card": torch.cuda.get_device_name(), "rounds": rounds, "files": files, "workers": workers}
    measured = MeasuredRows(out / "gpu.json", settings)
    works: dict[str, Callable[[], Row]] = {"card matrix": matrix_row, "card copy": copy_row}
    for name in SCORERS:
        for kind in ("bfloat16", "float32", *(["compiled"] if name in ("image_reward", "pickscore") else [])):
            works[f"scorer {name} {kind}"] = partial(scorer_row, name, kind, rounds, measured.rows)
    works["files pickscore"] = partial(official_files_row, "pickscore", files, workers)
    works["epoch ddpo"] = partial(epoch_row, rounds)
    for key, work in works.items():
        if not only or key.partition(" ")[0] in only:
            measured.measure([key], partial(_announced, key, work))
    print(f"\n{settings['card']}, torch {torch.__version__}\n\n{tables(measured.rows, {})}\n\n{goals(measured.rows)}")


def _announced(key: str, work: Callable[[], Row]) -> dict[str, Row]:
    print(key, flush=True)
    row = work()
    torch.cuda.empty_cache()
    return {key: row}


def goals(rows: Mapping[str, Row]) -> str:
    """The goal, and what was reached."""
    lines = ["goal | asked | measured", "--- | --- | ---"]
    for key, (figure, asked) in GOALS.items():
        found = f"{rows[key][figure]:.3g}" if key in rows else "not measured"
        lines.append(f"{key}, {figure} | {asked:g} | {found}")
    return "\n".join(f"| {line} |" for line in lines)


def seconds_of(work: Callable[[], object], rounds: int) -> list[float]:
    """The seconds of the card for each round, after a first that is left out."""
    found = []
    for _ in range(rounds + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) / 1e3)
    return found[1:]


def matrix_row() -> Row:
    """A large product in bfloat16: what the card has for matrices."""
    factors = [torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2)]
    return {"TFLOP/s": 2 * MATRIX**3 / median(seconds_of(lambda: factors[0] @ factors[1], 10)) / 1e12}


def copy_row() -> Row:
    """A gigabyte from the card's memory to the card's memory, bytes read and written."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    return {"GB/s": 2 * source.numel() / median(seconds_of(source.clone, 10)) / 1e9}


def scorer_row(name: str, kind: str, rounds: int, rows: Mapping[str, Row]) -> Row:
    """A full batch of pixels on the card, a prompt each, from the resize to the score."""
    scorer = official_scorer(name, "cuda")
    for tower in scorer.towers() if kind != "float32" else ():
        tower.to(torch.bfloat16)
    operations = tower_operations(scorer, Image.new("RGB", (SIDE, SIDE)))  # none are seen in what is compiled
    for tower in scorer.towers() if kind == "compiled" else ():
        tower.compile()
    pixels = torch.rand(BATCH, 3, SIDE, SIDE, device="cuda")
    prompts = [f"{PROMPT} {number}" for number in range(BATCH)]
    torch.cuda.reset_peak_memory_stats()
    whole = median(seconds_of(lambda: scorer.score(pixels, prompts, batch_size=BATCH), rounds))
    forward = median(seconds_of(lambda: _without_gradients(scorer, pixels, prompts), rounds))
    tower = median(seconds_of(lambda: _tower(scorer, pixels), rounds))
    row: Row = {"images/s": BATCH / whole, "forward": BATCH / forward, "tower": BATCH / tower}
    row["tower TFLOP/s"] = operations * BATCH / tower / 1e12
    if "card matrix" in rows:
        row["of the card"] = row["tower TFLOP/s"] / rows["card matrix"]["TFLOP/s"]
    return row | {"peak GB": torch.cuda.max_memory_allocated() / 1e9}


def tower_operations(scorer: TowerScorer, picture: Image.Image) -> int:
    """Floating-point operations of the image tower for a picture."""
    inputs = scorer._as_input(scorer.preprocess(picture)[None])
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        scorer.towers()[0](inputs)
    return counter.get_total_flops()


@torch.no_grad()
def _without_gradients(scorer: TowerScorer, pixels: Tensor, prompts: list[str]) -> Tensor:
    return scorer(pixels, prompts)


@torch.inference_mode()
def _tower(scorer: TowerScorer, pixels: Tensor) -> Tensor:
    with scorer._own_precision():
        return scorer.towers()[0](scorer._as_input(scorer.transform(pixels)))


def official_files_row(name: str, count: int, workers: int) -> Row:
    """The row of files for a scorer of its published size, in bfloat16 on the card."""
    scorer = official_scorer(name, "cuda")
    for tower in scorer.towers():
        tower.to(torch.bfloat16)
    return files_row(scorer, count, workers)


def files_row(scorer: TowerScorer, count: int, workers: int) -> Row:
    """What `fergi-reward score` does with a folder of JPEG files, twice: the second run should take no more memory."""
    options = ScoringOptions(scorers=[scorer.name], batch_size=BATCH, workers=workers, dtype="bfloat16")
    seconds, memory = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        write_jpegs(folder, count, workers)
        for number in range(2):
            started = time.perf_counter()
            outcome = score_into(
                Path(place) / f"{number}.parquet",
                lambda: folder_rows(folder, [PROMPT]),
                count,
                lambda share: BatchScores({scorer.name: scorer}, BATCH),
                [scorer.name],
                options,
            )
            seconds.append(time.perf_counter() - started)
            memory.append(peak_memory())
    if outcome is None or outcome.scored != count:
        raise FergiRewardError(f"{count} pictures must be scored, and the run gave {outcome}")
    rates = {"images/s": count / seconds[-1], "first run": count / seconds[0]}
    return {"images": count, **rates, "peak GB": memory[-1], "of it by the second run": memory[-1] - memory[0]}


def write_jpegs(folder: Path, count: int, workers: int) -> None:
    """Pictures of 512 x 512 that take as many bytes as photographs: coarse noise, enlarged."""
    folder.mkdir()

    def write(number: int) -> None:
        coarse = np.random.default_rng(number).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        large = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        large.save(folder / f"{number:06}.jpg", quality=90)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, range(count)))


if __name__ == "__main__":
    with clean_exit():
        main()
