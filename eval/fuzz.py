"""Damaged files of every kind, through the functions that open them: what comes out of each.

python eval/fuzz.py [CASES [OUT.json]]

Pictures of each format that Pillow writes, checkpoints, a calibration, rankings and a card are cut, their bits flipped,
their bytes replaced and their beginnings exchanged, from a fixed seed. Counted are successes, refusals, tracebacks
(any other exception) and hangs (more than 20 s); the last two should be 0.
"""

import io
import json
import random
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save

import fergi_reward
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.errors import FergiRewardError
from fergi_reward.evaluation.benchmarks import hpdv2
from fergi_reward.evaluation.compared_model import read_card
from fergi_reward.images import open_picture
from fergi_reward.picture_files import FORMATS
from fergi_reward.scorers.checkpoints import read_weights

SECONDS = 20
PACKAGE = Path(fergi_reward.__file__).parent
Opened = Callable[[Path], object]


def samples() -> dict[str, tuple[str, bytes, Opened]]:
    """By kind, the name of a file, what is in a whole one, and what opens it."""
    tensors = {"a": torch.arange(6.0), "b": torch.ones(2, 3)}
    ranking = [{"prompt": "a cat", "image_path": ["1.png", "2.png"], "rank": [1, 2]}]
    card = b'---\ntags: [fergi-reward]\nbase_model: emoji\n---\n```json\n{"terms": {"clip": 1}}\n```\n'
    calibration = (PACKAGE / "calibrations" / "fergi-ir50-bradley-terry.json").read_bytes()
    return {
        **{name: (f"a{FORMATS[name][0]}", content, open_picture) for name, content in _pictures().items()},
        "pt": ("a.pt", _saved(tensors, zipped=True), read_weights),
        "old pt": ("a.pt", _saved(tensors, zipped=False), read_weights),
        "safetensors": ("a.safetensors", save(tensors), read_weights),
        "calibration": ("a.json", calibration, Calibration.load),
        "rankings": ("test.json", json.dumps(ranking).encode(), lambda path: hpdv2.read(str(path.parent))),
        "card": ("README.md", card, lambda path: read_card(path.parent)),
    }


def _pictures() -> dict[str, bytes]:
    Image.init()
    found = {}
    for name in FORMATS:
        for mode in ("RGB", "P", "1"):
            buffer = io.BytesIO()
            try:
                Image.linear_gradient("L").resize((32, 32)).convert(mode).save(buffer, name)
            except (KeyError, OSError, ValueError, AttributeError):  # no writer, or not of this mode
                continue
            found[name] = buffer.getvalue()
            break
    return found


def _saved(tensors: dict[str, torch.Tensor], *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def damaged(content: bytes, others: list[bytes], draws: random.Random) -> bytes:
    """The content cut, with bits flipped, with a run of bytes replaced, or with the beginning of another file."""
    kind, changed, size = draws.randrange(4), bytearray(content), len(content)
    if kind == 0:
        return content[: draws.randrange(size)]
    if kind == 1:
        for _ in range(draws.choice((1, 4, 32))):
            changed[draws.randrange(min(size, draws.choice((64, size))))] ^= 1 << draws.randrange(8)
    elif kind == 2:
        start = draws.randrange(size)
        changed[start : start + 8] = draws.choice((bytes(8), b"\xff" * 8, draws.randbytes(8), b"9" * 400))
    else:
        changed[: draws.choice((4, 16, 64))] = draws.choice(others)[:64]
    return bytes(changed)


def outcome(opens: Opened, path: Path) -> str:
    """What comes of opening a file."""
    signal.alarm(SECONDS)
    try:
        opens(path)
    except FergiRewardError:
        return "refused"
    except _Hang:
        return "hang"
    except Exception as error:  # what is looked for
        return f"traceback {type(error).__name__}"
    finally:
        signal.alarm(0)
    return "read"


class _Hang(BaseException):
    pass


def _ring(*_: object) -> None:
    raise _Hang


def run(cases: int) -> dict[str, Counter[str]]:
    """The outcomes by kind; each kind has as many cases, within one."""
    draws, kinds = random.Random(0), samples()
    signal.signal(signal.SIGALRM, _ring)
    contents, found = [content for _, content, _ in kinds.values()], {kind: Counter[str]() for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(cases):
            kind = list(kinds)[number % len(kinds)]
            name, content, opens = kinds[kind]
            (path := Path(folder) / name).write_bytes(damaged(content, contents, draws))
            found[kind][outcome(opens, path)] += 1
    return found


def main(cases: int, out: Path | None) -> None:
    """Print a line a kind, and write all of it as JSON if a file is named."""
    found = run(cases)
    for kind, outcomes in found.items():
        print(f"{kind:12}", ", ".join(f"{what} {count}" for what, count in sorted(outcomes.items())))
    print("all         ", dict(sum(found.values(), Counter())))
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 6000, Path(sys.argv[2]) if sys.argv[2:] else None)
