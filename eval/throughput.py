"""How fast the scorers are and what memory they take: official sizes, random weights, this machine.

Seconds are those of the clock, so leave the machine alone; medians of the rounds after a first call,
the original and the scorer in turn. The first call is given too, because the original keeps a gradient for everything:
it takes half as long again while it gets that memory. `--originals` needs the environments that `make parity` builds.

OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python eval/throughput.py --originals --memory 512 --out throughput.json
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from originals import Original
from PIL import Image
from tabulate import tabulate
from torch import nn
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from fergi_reward.files import write_json
from fergi_reward.scorers.base import Scorer
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer
from fergi_reward.scorers.cpu_kernels import FastCPUKernels
from fergi_reward.scorers.registry import load_scorer

ORIGINALS = {"image_reward": "image_reward", "pickscore": "pickscore", "hps_v2.0": "hps"}
CHECKPOINTS = {"image_reward": "ImageReward.pt", "pickscore": "model.safetensors", "hps_v2.0": "HPS_v2_compressed.pt"}
PROMPT = "a photograph of an astronaut riding a horse on the moon, highly detailed"
PROMPTS = [PROMPT, f"{PROMPT}, oil on canvas", f"{PROMPT}, at night", f"{PROMPT}, seen from above"]
BATCH = 8
# Of each task, the seconds of its first call and of each round.
Times = dict[str, list[float]]


@click.command()
@click.option("--scorers", default=",".join(CHECKPOINTS), show_default=True)
@click.option("--dtypes", default="float32,bfloat16", show_default=True)
@click.option("--images", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--originals/--no-originals", help="Time the original packages too.")
@click.option("--memory", type=click.IntRange(min=0), default=0, show_default=True, help="Images to score for memory.")
@click.option("--out", type=click.Path(path_type=Path), help="A JSON file for the figures.")
@click.option("--measure-memory", nargs=4, hidden=True)
def main(
    scorers: str,
    dtypes: str,
    images: int,
    rounds: int,
    threads: int,
    originals: bool,
    memory: int,
    out: Path | None,
    measure_memory: tuple[str, str, str, str] | None,
) -> None:
    """Print the figures as a table."""
    torch.set_num_threads(threads)
    if measure_memory:
        print(json.dumps(memory_here(*measure_memory)))
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    rows = []
    for name in scorers.split(","):
        with tempfile.TemporaryDirectory() as folder:
            pictures = noise_pictures(Path(folder), images)
            write_checkpoint(name, Path(folder))
            for dtype in dtypes.split(","):
                row = {"scorer": name, "dtype": dtype, "load": round(os.getloadavg()[0], 1)}
                row |= speed(name, Path(folder), dtype, pictures, rounds, originals)
                row |= memory_of(name, Path(folder), dtype, memory) if memory else {}
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
            compare_dtypes(rows[-len(dtypes.split(",")) :])
    print(tabulate(rows, headers="keys", floatfmt=".3g", tablefmt="github"))
    if out:
        machine = {"cpu": cpu_name(), "threads": threads, "torch": torch.__version__, "images": images}
        write_json(out, {"machine": machine, "rows": rows})


def compare_dtypes(rows: list[dict[str, Any]]) -> None:
    """Replace a scorer's scores by their largest difference to those in float32, where there are such."""
    exact = next((row["scores"] for row in rows if row["dtype"] == "float32"), None)
    for row in rows:
        scores = row.pop("scores")
        if exact:
            row["|- float32|"] = max(abs(one - other) for one, other in zip(scores, exact, strict=True))


def speed(name: str, folder: Path, dtype: str, pictures: list[Path], rounds: int, originals: bool) -> dict[str, Any]:
    """Seconds an image; GFLOP/s of the image tower, also as a share of a linear layer's; ratios to the original."""
    scorer = load_scorer(name, folder, dtype=getattr(torch, dtype))
    inputs = torch.rand(BATCH, 3, 224, 224, dtype=getattr(torch, dtype))
    weight = wide_layer(scorer)
    tokens = torch.rand(BATCH * 257, weight.shape[1], dtype=weight.dtype)
    tasks: dict[str, Callable[[], object]] = {
        "score": lambda: scorer.score(pictures, PROMPT, batch_size=BATCH),
        "linear": lambda: [linear(tokens, weight) for _ in range(8)],
        "tower": lambda: scorer.towers()[0](inputs),
    }
    if name == "image_reward":  # the only one whose text tower reads the image
        repeated = [path for path in pictures for _ in PROMPTS]
        tasks["score 4 prompts"] = lambda: scorer.score(repeated, PROMPTS * len(pictures), batch_size=BATCH)
    with original(name, folder) if originals and name in ORIGINALS else nothing() as theirs:
        times = measured(tasks, theirs, pictures, rounds)
    after = {task: float(np.median(values[1:])) for task, values in times.items()}
    peak = 8 * 2 * tokens.numel() * len(weight) / after["linear"] / 1e9
    reached = flops(scorer.towers()[0], inputs) / after["tower"] / 1e9
    row: dict[str, Any] = {"s/image": after["score"] / len(pictures), "GFLOP/s": reached, "of linear": reached / peak}
    row["scores"] = scorer.score(pictures, PROMPT, batch_size=BATCH).tolist()
    if "original" in after:
        row["x original"] = after["original"] / after["score"]
        row["x original, first call"] = times["original"][0] / times["score"][0]
    if "original" in after and "score 4 prompts" in after:
        row["x original, 4 prompts"] = after["original"] * len(PROMPTS) / after["score 4 prompts"]
    return row


def flops(tower: nn.Module, inputs: torch.Tensor) -> int:
    """Floating-point operations of a pass."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        tower(inputs)
    return counter.get_total_flops()


def measured(tasks: dict[str, Callable], theirs: Original | None, pictures: list[Path], rounds: int) -> Times:
    """The seconds of each task and of the original, the first call's before those of the rounds."""
    times: Times = {task: [] for task in [*tasks, *(["original"] if theirs else [])]}
    for _ in range(rounds + 1):
        for task, run in tasks.items():
            with torch.inference_mode(), FastCPUKernels():
                start = time.perf_counter()
                run()
                times[task].append(time.perf_counter() - start)
        if theirs:
            times["original"].append(theirs.score(pictures, PROMPT).seconds)
    return times


@contextmanager
def original(name: str, folder: Path) -> Iterator[Original]:
    """The original with random weights: the checkpoint is hidden from it."""
    with tempfile.TemporaryDirectory() as bare:
        for path in folder.iterdir():
            if path.suffix in (".json", ".txt"):
                (Path(bare) / path.name).symlink_to(path)
        with Original(ORIGINALS[name], Path(bare)) as running:
            yield running


@contextmanager
def nothing() -> Iterator[None]:
    """No original."""
    yield None


def wide_layer(scorer: Scorer) -> torch.Tensor:
    """The weights of the linear layer in the image tower that widens most."""
    layers = [module.weight for module in scorer.towers()[0].modules() if isinstance(module, nn.Linear)]
    return max(layers, key=len)


def noise_pictures(folder: Path, count: int) -> list[Path]:
    """Files of 512 x 512 noise, the size that Stable Diffusion 1.5 draws."""
    draw = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (512, 512, 3), dtype=np.uint8)).save(path)
    return paths


def write_checkpoint(name: str, folder: Path) -> None:
    """A checkpoint in the hub's layout with official sizes and random weights."""
    {"image_reward": _image_reward, "pickscore": _pickscore, "hps_v2.0": _hps}[name](folder)


def _image_reward(folder: Path) -> None:
    from fergi_reward.scorers.image_reward import ImageRewardScorer, TextSizes, VisionSizes, bert_tokenizer

    # BERT's vocabulary is not at hand without the hub: single characters, and filling up to its size.
    characters = [chr(number) for number in range(33, 127)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{character}" for character in characters)]
    words = [*dict.fromkeys([*words, *" ".join(PROMPTS).replace(",", "").split()])]
    words += [f"[unused{number}]" for number in range(30522 - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    config: dict[str, Any] = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }
    config |= {"vocab_size": 30524, "max_position_embeddings": 512, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
    config |= {"add_cross_attention": True, "encoder_width": 768, "type_vocab_size": 2, "pad_token_id": 0}
    (folder / "med_config.json").write_text(json.dumps(config))
    scorer = ImageRewardScorer(VisionSizes(), TextSizes(), bert_tokenizer(words))
    weights = {_official(key): value for key, value in scorer.state_dict().items()}
    torch.save(weights, folder / CHECKPOINTS["image_reward"])


def _official(key: str) -> str:
    """Where the official ImageReward checkpoint has a weight."""
    for old, new in (
        ("text_encoder.layers.", "blip.text_encoder.encoder.layer."),
        ("text_encoder.word", "blip.text_encoder.embeddings.word"),
        ("text_encoder.position", "blip.text_encoder.embeddings.position"),
        ("text_encoder.norm", "blip.text_encoder.embeddings.norm"),
        ("visual_encoder.", "blip.visual_encoder."),
        ("head.", "mlp.layers."),
    ):
        if key.startswith(old):
            return key.replace(old, new)
    raise KeyError(key)


def _pickscore(folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
    vision = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "num_hidden_layers": 32}
    sizes: Any = {"text_config": text | {"hidden_act": "gelu", "eos_token_id": 2}, "projection_dim": 1024}
    sizes["vision_config"] = vision | {"hidden_act": "gelu", "patch_size": 14}
    config = CLIPConfig(**sizes)
    config.save_pretrained(folder)
    save_file(CLIPModel(config).state_dict(), folder / CHECKPOINTS["pickscore"])
    tokenizer: Any = clip_tokenizer()
    tokenizer.backend_tokenizer.model.save(str(folder))


def _hps(folder: Path) -> None:
    from open_clip import get_model_config
    from open_clip.model import CLIP

    model: Any = CLIP(**get_model_config("ViT-H-14"))
    torch.save({"state_dict": model.state_dict()}, folder / CHECKPOINTS["hps_v2.0"])


def memory_of(name: str, folder: Path, dtype: str, images: int) -> dict[str, float]:
    """Gigabytes, measured in a new process."""
    command = [sys.executable, "-W", "ignore", __file__, "--measure-memory", name, str(folder), dtype, str(images)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_here(name: str, folder: str, dtype: str, images: str) -> dict[str, float]:
    """The peak while loading over the checkpoint's size, and what scoring in batches of 8 adds to the weights."""
    before = peak_memory()
    scorer = load_scorer(name, folder, dtype=getattr(torch, dtype))
    loaded = peak_memory() - before
    weights = sum(value.numel() * value.element_size() for value in scorer.parameters()) / 1e9
    scorer.score([Path(folder) / f"{number}.png" for number in range(int(images))], PROMPT, batch_size=BATCH)
    checkpoint = (Path(folder) / CHECKPOINTS[name]).stat().st_size / 1e9
    return {
        "load peak / checkpoint": loaded / checkpoint,
        "scoring peak - weights, GB": peak_memory() - before - weights,
    }


def peak_memory() -> float:
    """The largest resident size so far, in GB; getrusage would count the parent's too, from which Linux inherits."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def cpu_name() -> str:
    """What Linux calls the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0]}, {os.cpu_count()} cores" if names else platform.processor()


if __name__ == "__main__":
    main()
