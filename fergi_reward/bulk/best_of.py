"""Draws candidates of many prompts, and keeps the best and the worst in a folder; resumes where it was stopped."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fergi_reward.best_of import Candidates, Wanted, draw_candidates, wanted_candidates
from fergi_reward.bulk.batch_scores import machine
from fergi_reward.bulk.options import BestOfOptions
from fergi_reward.calibration.by_hand import RAW
from fergi_reward.core.devices import named_device
from fergi_reward.diffusion.content import model_content, weights_content
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.grids import write_grid
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.diffusion.trained_weights import load_adapter
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.csv_files import csv_line
from fergi_reward.files.drawn_files import drawn_file, forget_files, write_files
from fergi_reward.files.locks import owned
from fergi_reward.files.prompts import read_prompts
from fergi_reward.files.store import FileDigests, Store, key_of
from fergi_reward.images import as_png, open_picture, to_pixels
from fergi_reward.reward import CombinedReward

# In the overview: more make a picture that no viewer opens.
GRID_PROMPTS = 16
LONGEST_NAME = 50
BEST, WORST = "best", "worst"
# What 1 more of a total means, by what fitted the weights.
UNITS = {
    "bradley-terry": "log-odds: of two pictures of a prompt, 73 of 100 people are expected to prefer one with 1 more",
    RAW: "raw scores times their weights",
}


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes:
        prompts: How many.
        single: Mean reward of a single picture, over all candidates.
        best: Mean reward of the chosen ones.
        unit: What 1 more means; empty where nobody knows.
        replaced: Prompts of earlier runs with other options, whose pictures are gone from the folder.
    """

    prompts: int
    single: float
    best: float
    unit: str
    replaced: int


def run(options: BestOfOptions) -> Outcome:
    """Draw, score and choose for the prompts that are left; write the pictures, the table and the overview.

    Raises:
        FergiRewardError: An option, the prompts, the pipeline, the adapter or a scorer cannot be used.
    """
    with owned(options.out):
        prompts = read_prompts(options.prompts)
        batches = wanted_candidates(prompts, options.n, options.seed, options.batch_size)
        reward = load_reward(options.reward_options, on=named_device(options.device))
        store = Store(options.out / ".journal")
        keys = _keys(options, batches, reward.fingerprints(), FileDigests(store))
        left = {number: key for number, key in keys.items() if not _is_there(options.out, store, key)}
        replaced = _others(store, keys)
        if left:
            _draw(options, batches, reward, store, left)
        entries = [store.get(key) for key in keys.values()]
        pictures = [options.out / file["file"] for entry in entries for file in entry["files"]]
        forget_files(store, options.out, keys.values(), pictures)
        _write_table(options.out / "scores.csv", prompts, entries)
        _write_overview(options.out, prompts[:GRID_PROMPTS], entries)
    scores = torch.tensor([entry["scores"] for entry in entries])
    unit = "" if options.extra else UNITS.get(reward.calibration.protocol, "")
    return Outcome(len(prompts), scores.mean().item(), scores.amax(dim=1).mean().item(), unit, replaced)


def _others(store: Store, keys: Mapping[int, str]) -> int:
    """How many prompts of other runs a store knows."""
    former = [store.get(key) for key in store.known() - {*keys.values()}]
    return sum(isinstance(value, dict) and "files" in value for value in former)


def _keys(
    options: BestOfOptions,
    batches: Sequence[Sequence[Wanted]],
    fingerprints: Mapping[str, str],
    digests: FileDigests,
) -> dict[int, str]:
    """By the number of each prompt, the key of all that its pictures and scores depend on."""
    place = named_device(options.device)

    def load() -> Pipeline:
        return load_pipeline(options.model, getattr(torch, options.dtype))

    weights = [model_content(options.model, digests, load)]
    weights += [weights_content(options.lora, digests)] if options.lora else []
    reward = [dict(fingerprints), options.uncertainty_penalty]
    context = key_of(weights, reward, options.dtype, options.call, machine(place))
    drawn_in: dict[int, list[str]] = {}
    for batch in batches:
        content = key_of([[wanted.prompt, wanted.seed] for wanted in batch])
        for number in dict.fromkeys(wanted.number for wanted in batch):
            drawn_in.setdefault(number, []).append(content)
    names = {wanted.number: picture_name(wanted.number, wanted.prompt) for batch in batches for wanted in batch}
    return {number: key_of("best of", context, options.n, names[number], drawn_in[number]) for number in drawn_in}


def _is_there(out: Path, store: Store, key: str) -> bool:
    """Whether a prompt's pictures are in their files, as they were drawn."""
    entry, digests = store.get(key), FileDigests(store)
    files = [(out / file["file"], file["digest"]) for file in entry["files"]] if entry else []
    return entry is not None and all(path.is_file() and digests(path) == digest for path, digest in files)


def _draw(
    options: BestOfOptions,
    batches: Sequence[Sequence[Wanted]],
    reward: CombinedReward,
    store: Store,
    left: Mapping[int, str],
) -> None:
    pipeline = load_pipeline(options.model, getattr(torch, options.dtype)).to(named_device(options.device))
    if options.lora:
        load_adapter(pipeline, options.lora)
    for candidates in draw_candidates(pipeline, batches, reward, left, **options.call):
        files = _pictures(options.out, candidates)
        drawn = [drawn_file(options.out, path, content) for path, content in files.items()]
        store.add({left[candidates.number]: _entry(candidates) | {"files": drawn}})
        write_files(files)


def picture_name(number: int, prompt: str) -> str:
    """The file of a prompt's picture: its line, and what is left of its words in a file name.

    >>> picture_name(0, "A cat, on a sofa!")
    '0001_A-cat-on-a-sofa.png'
    """
    words = re.sub(r"\W+", "-", prompt)[:LONGEST_NAME].strip("-")
    return f"{number + 1:04d}_{words}.png"


def _pictures(out: Path, candidates: Candidates) -> dict[Path, bytes]:
    name = picture_name(candidates.number, candidates.prompt)
    return {out / kind / name: as_png(pixels) for kind, pixels in ((BEST, candidates.best), (WORST, candidates.worst))}


def _entry(candidates: Candidates) -> dict[str, Any]:
    terms = {name: values.tolist() for name, values in candidates.terms.items()}
    return {"seeds": candidates.seeds, "scores": candidates.scores.tolist(), "terms": terms}


def _write_table(path: Path, prompts: Sequence[str], entries: Sequence[dict[str, Any]]) -> None:
    """A row per candidate."""
    terms = list(entries[0]["terms"])
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(["picture", "prompt", "candidate", "seed", "chosen", "reward", *terms]))
        for number, (prompt, entry) in enumerate(zip(prompts, entries, strict=True)):
            best = max(entry["scores"])
            chosen = entry["scores"].index(best)
            columns = zip(entry["seeds"], entry["scores"], *(entry["terms"][name] for name in terms), strict=True)
            for place, (seed, *values) in enumerate(columns):
                cells = [picture_name(number, prompt), prompt, place, seed, place == chosen, *values]
                file.write(csv_line(cells))


def _write_overview(out: Path, prompts: Sequence[str], entries: Sequence[dict[str, Any]]) -> None:
    """The best and the worst picture of the first prompts, side by side."""
    pixels, captions = [], []
    for number, (prompt, entry) in enumerate(zip(prompts, entries, strict=False)):
        for kind, score in ((BEST, max(entry["scores"])), (WORST, min(entry["scores"]))):
            pixels.append(to_pixels(open_picture(out / kind / picture_name(number, prompt))))
            captions.append(f"{kind} of {len(entry['scores'])}, {score:.2f}: {prompt}")
    write_grid(out / "best_and_worst.png", torch.stack(pixels), captions, columns=min(4, len(pixels)))
