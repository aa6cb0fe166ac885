"""Does `fergi-reward serve` answer many callers at once, each with its own scores, and how much faster than one by one?

The scorers are the toy's. The right answers are computed in this process beforehand, and every answer is compared with
its own. Requests are encoded before the clock starts. Callers and server share the machine.

python eval/speed/serve_load.py
"""

import base64
import http.client
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import local
from typing import Any

import click
import numpy as np
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from fergi_reward.cli.errors import clean_exit
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import emoji

COUNT = click.IntRange(min=1)
TOLERANCE = 1e-5
SCORERS = ("pickscore", "hps_v2")
_of_thread = local()


@click.command()
@click.option("--callers", type=COUNT, default=64, show_default=True, help="Threads that ask, each one at a time.")
@click.option("--requests", type=COUNT, default=5000, show_default=True, help="Each of a picture of its own.")
@click.option("--alone", type=COUNT, default=500, show_default=True, help="Number of requests asked one by one.")
@click.option("--size", type=COUNT, default=64, show_default=True, help="Width and height of the pictures.")
@click.option("--workers", type=COUNT, default=1, show_default=True, help="Processes that score.")
@click.option("--max-wait", type=float, default=0.005, show_default=True, help="The server's --max-wait, in seconds.")
def main(callers: int, requests: int, alone: int, size: int, workers: int, max_wait: float) -> None:
    """Ask one by one, then all at once; print a table."""
    files = [_picture(number, size) for number in range(requests)]
    prompts = [f"{number} red hearts" for number in range(requests)]
    right = _right_answers(files, prompts)
    bodies = [_body(file, prompt) for file, prompt in zip(files, prompts, strict=True)]
    rows = []
    with _server(workers, max_wait) as port:
        _asked(port, bodies[0])  # the scorers' first call
        for name, threads, count in (("one at a time", 1, min(alone, requests)), ("at once", callers, requests)):
            before = _batches(port)
            with ThreadPoolExecutor(threads) as pool:
                begun = time.perf_counter()
                found = pool.map(partial(_asked, port), bodies[:count])
                answers = list(tqdm(found, desc=name, total=count, unit="request", leave=False))
                seconds = time.perf_counter() - begun
            batches = _batches(port)
            rows.append(_row(name, threads, answers, right[:count], seconds, before, batches))
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    print(f"{rows[1]['requests/s'] / rows[0]['requests/s']:.2f} times as many requests per second at once")
    if any(row["errors"] or row["wrong"] for row in rows):
        sys.exit(1)


def _picture(number: int, size: int) -> bytes:
    """A picture that no other request has, as a PNG file."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _right_answers(files: Sequence[bytes], prompts: Sequence[str]) -> list[float]:
    reward = CombinedReward(dict.fromkeys(SCORERS, 1.0), checkpoints=_checkpoints())
    output = reward.score(files, prompts, batch_size=32)
    return [float(total) for total in output.total]


def _checkpoints() -> dict[str, str]:
    return {name: str(emoji.checkpoints()[name]) for name in SCORERS}


def _body(file: bytes, prompt: str) -> bytes:
    return json.dumps({"prompts": [prompt], "images": [{"base64": base64.b64encode(file).decode()}]}).encode()


@contextmanager
def _server(workers: int, max_wait: float) -> Iterator[int]:
    """The port of a server that runs; it must end with status 0."""
    command = [sys.executable, "-m", "fergi_reward", "serve", "--port=0", f"--max-wait={max_wait}"]
    command += [f"--weights={','.join(f'{name}=1' for name in SCORERS)}", f"--workers={workers}"]
    command += [f"--checkpoints={','.join(f'{name}={folder}' for name, folder in _checkpoints().items())}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not (port := re.search(r":(\d+)$", line.strip())):
                raise click.ClickException("the server did not start")
            yield int(port[1])
        finally:
            process.terminate()
    if process.returncode:
        raise click.ClickException(f"the server ended with status {process.returncode}")


def _asked(port: int, body: bytes) -> tuple[float | None, float]:
    """The total that one request is answered, None where it is refused, and how long it took; threads keep theirs."""
    begun = time.perf_counter()
    connection = _of_thread.__dict__.setdefault("connections", {}).setdefault(
        port, http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    )
    connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    seconds = time.perf_counter() - begun
    return (json.loads(text)["total"][0] if answer.status == 200 else None), seconds


def _batches(port: int) -> tuple[float, float]:
    """How many batches the server has scored, and of how many images in all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    count, images = (re.search(rf"^fergi_batch_images_{part} (\S+)$", text, re.M) for part in ("count", "sum"))
    return (float(count[1]), float(images[1])) if count and images else (0.0, 0.0)


def _row(
    name: str,
    threads: int,
    answers: Sequence[tuple[float | None, float]],
    right: Sequence[float],
    seconds: float,
    before: tuple[float, float],
    after: tuple[float, float],
) -> dict[str, Any]:
    pairs = [(total, own) for (total, _), own in zip(answers, right, strict=True)]
    batches, images = after[0] - before[0], after[1] - before[1]
    percentiles = np.percentile([took for _, took in answers], [50, 95, 99]) * 1000
    return {
        "requests": name,
        "callers": threads,
        "number": len(answers),
        "errors": sum(total is None for total, _ in pairs),
        "wrong": sum(total is not None and not abs(total - own) <= TOLERANCE for total, own in pairs),
        "requests/s": len(answers) / seconds,
        **{f"p{part} ms": value for part, value in zip((50, 95, 99), percentiles, strict=True)},
        "images per batch": images / batches if batches else float("nan"),
    }


if __name__ == "__main__":
    with clean_exit():
        main()
