"""One thing done in a process that has done nothing else; footprint.py starts it and times its lines.

Each line that it prints is a JSON object: what is done by now, and the most memory that it took, in GB.

python eval/speed/fresh_process.py scoring DTYPE FOLDER_OF_PICTURES BATCH IMAGES NAME=CHECKPOINT ...
python eval/speed/fresh_process.py training NAME FOLDER
"""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

from peak_memory import forget_peak, peak_memory

LINES = sys.stdout


def say(done: str, **more: float) -> None:
    """Print a line; what follows has a peak of its own."""
    print(json.dumps({"done": done, "peak": peak_memory(), **more}), file=LINES, flush=True)
    forget_peak()


def scoring(dtype: str, folder: str, batch: str, images: str, *checkpoints: str) -> None:
    """Load a scorer, or several as a combined reward; score a picture, a batch, and all pictures."""
    import torch
    from official_sizes import PROMPT

    from fergi_reward.reward import CombinedReward
    from fergi_reward.scorers.registry import load_scorer

    say("import torch")
    named = [text.split("=", 1) for text in checkpoints]
    scorers = [load_scorer(name, place, dtype=getattr(torch, dtype)) for name, place in named]
    reward = CombinedReward.from_pretrained(scorers=scorers) if len(scorers) > 1 else scorers[0]
    say("load", weights=sum(value.nbytes for scorer in scorers for value in scorer.parameters()) / 1e9)
    pictures = [f"{folder}/{number}.png" for number in range(int(images))]
    reward.score(pictures[:1], PROMPT)
    say("first score")
    reward.score(pictures[: int(batch)], PROMPT, batch_size=int(batch))
    say(f"batch {batch}")
    reward.score(pictures, PROMPT, batch_size=int(batch))
    say(f"{images} images")


def training(name: str, folder: str) -> None:
    """Load a trainer with its toy and its reward; train for one epoch."""
    from toy_trainers import ToyRun

    say("import torch")
    run = ToyRun.prepared(name, Path(folder), epochs=1)
    say("load")
    run.epochs()
    say("first epoch")


ACTIONS: Mapping[str, Callable[..., object]] = {"scoring": scoring, "training": training}

if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        say("Python")
        import fergi_reward  # noqa: F401  # what takes time is the import

        say("import fergi_reward")
        ACTIONS[sys.argv[1]](*sys.argv[2:])
