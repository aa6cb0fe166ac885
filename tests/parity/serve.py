"""How the originals are asked, each from the Python of its own environment: a JSON line in, a JSON line out.

In: {"images": [paths], "prompt": text}. Out: {"scores": [one per image, null for a crash], "seconds": s}.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def serve(load: Callable[[Path], Callable[[list[str], str], list[float]]]) -> None:
    """Load from the folder that the command line names, then answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print
    score = load(Path(sys.argv[1]))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        try:
            scores = [float(value) for value in score(asked["images"], asked["prompt"])]
        except (RuntimeError, ValueError) as error:
            print(f"the original crashes: {error}", file=sys.stderr)
            scores = [None] * len(asked["images"])
        print(json.dumps({"scores": scores, "seconds": time.perf_counter() - start}), file=answers, flush=True)
