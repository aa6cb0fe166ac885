"""Damaged inputs of every kind, through the functions and commands that open them: what comes out of each.

python eval/attacks/fuzz.py [--cases 6000] [--kinds NAME,NAME] [--out OUT.json]

Pictures, checkpoints, state files, adapters, predictors, JSON, YAML, CSV and FERGI folders are cut, their bits flipped,
their bytes replaced and their beginnings exchanged, from a fixed seed. A case is refused (one sentence), succeeds, ends
in a traceback (any other exception, or the end of its process), hangs (more than 20 s) or leaves an output that is not
whole; the last three should be 0. The cases run in a process of their own, which may take 4 GiB more than it has.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_kinds import Kind, kinds

from fergi_reward.core.errors import FergiRewardError

SECONDS = 20
# A text in place of bytes: what JSON, CSV and YAML can hold and few expect.
ODD = [
    b"null",
    b"1e999",
    b"9" * 400,
    b"[" * 99,
    b'"',
    b"\r",
    b"\xef\xbb\xbf",
    b"NaN",
    b"-1",
    b"{}",
    b"true",
    b"\\ud800",
]
ODD += [bytes(8), b"\xff" * 8]
OUTCOMES = ["refused", "succeeded", "traceback", "hang", "half-written"]


class _Hang(BaseException):
    pass


def damaged(content: bytes, others: list[bytes], draws: random.Random) -> bytes:
    """The content cut, with bits flipped, with a run of bytes replaced, or with the beginning of another file."""
    if not content:
        return draws.choice(ODD)
    kind, changed, size = draws.randrange(5), bytearray(content), len(content)
    start = draws.randrange(size)
    if kind == 0:
        return content[:start]
    if kind == 1:
        for _ in range(draws.choice((1, 4, 32))):
            changed[draws.randrange(min(size, draws.choice((64, size))))] ^= 1 << draws.randrange(8)
    elif kind == 2:
        changed[start : start + draws.choice((0, 1, 8))] = draws.choice([*ODD, draws.randbytes(8)])
    elif kind == 3:
        end = draws.randrange(start, min(size, start + 64) + 1)
        changed[start:end] = changed[start:end] * draws.choice((0, 2))
    else:
        changed[: draws.choice((4, 16, 64))] = draws.choice(others)[:64]
    return bytes(changed)


def outcome(kind: Kind, folder: Path) -> str:
    """The outcome of opening what a folder holds."""
    signal.alarm(SECONDS)
    try:
        kind.opens(folder)
        if kind.written:
            kind.written(folder)
    except FergiRewardError:
        left = [name for name in kind.outputs if (folder / name).exists()]
        return f"half-written {left}" if left else "refused"
    except _Hang:
        return "hang"
    except Exception as error:  # what is looked for
        return f"traceback {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    return "succeeded"


def run(cases: int, names: list[str] | None = None) -> dict[str, Counter[str]]:
    """The outcomes by kind; each kind has as many cases, within one."""
    found = kinds()
    chosen = {name: found[name] for name in names or found}
    each = {name: cases // len(chosen) + (number < cases % len(chosen)) for number, name in enumerate(chosen)}
    starts = [content[:64] for kind in chosen.values() for content in list(kind.files.values())[:1]]
    return {name: Counter(_outcomes(name, kind, each[name], starts)) for name, kind in chosen.items()}


def _outcomes(name: str, kind: Kind, cases: int, starts: list[bytes]) -> Iterator[str]:
    """The outcome of each case; a process that hangs or dies is followed by one that continues after its case."""
    done, forks = 0, multiprocessing.get_context("fork")
    while done < cases:
        ours, theirs = forks.Pipe(duplex=False)
        process = forks.Process(target=_work, args=(theirs, name, kind, range(done, cases), starts), daemon=True)
        process.start()
        theirs.close()
        while done < cases:
            try:
                # A hang within a decoder, which is no Python, hears no alarm.
                yield ours.recv() if ours.poll(2 * SECONDS) else "hang"
            except EOFError:
                yield "traceback of the process: it died"
                done += 1
                break
            done += 1
        process.kill()
        process.join()


def _work(answers: Connection, name: str, kind: Kind, numbers: range, starts: list[bytes]) -> None:
    taken = int(re.findall(r"VmData:\s*(\d+)", Path("/proc/self/status").read_text())[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (taken + (4 << 30),) * 2)
    signal.signal(signal.SIGALRM, _ring)
    warnings.simplefilter("ignore")
    choice = list(kind.damaged or kind.files)
    for number in numbers:
        draws = random.Random(f"14 {name} {number}")
        target = draws.choice(choice)
        with _folder({**kind.files, target: damaged(kind.files[target], starts, draws)}) as folder:
            answers.send(outcome(kind, folder))


@contextmanager
def _folder(files: dict[str, bytes]) -> Iterator[Path]:
    """A folder with these files, and the process in it."""
    folder = Path(tempfile.mkdtemp())
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir("/")
        shutil.rmtree(folder)


def _ring(*_: object) -> None:
    raise _Hang


def main() -> None:
    """Print a line a kind and what was wrong, and write all of it as JSON if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=6000)
    parser.add_argument("--kinds", help="Names, with commas between.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = run(options.cases, options.kinds.split(",") if options.kinds else None)
    print(f"{'':16}", *(f"{what:>12}" for what in OUTCOMES))
    for name, outcomes in [*found.items(), ("all", sum(found.values(), Counter[str]()))]:
        counts = [sum(count for what, count in outcomes.items() if what.startswith(start)) for start in OUTCOMES]
        print(f"{name:16}", *(f"{count:12}" for count in counts))
    for name, outcomes in found.items():
        for what, count in outcomes.items():
            if what not in ("refused", "succeeded"):
                print(f"{name}: {count} x {what}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
