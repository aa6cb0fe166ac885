"""The README.md of trained weights: what made them, in the form that diffusers and the hub read."""

import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fergi_reward.core.places import place_without_folders, record_without_folders
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.registry import called
from fergi_reward.hub.licenses import FERGI, UNKNOWN, license_of, scorer_licenses
from fergi_reward.hub.published import SCORERS
from fergi_reward.reactions.sources import FERGI as FERGI_SOURCE
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.sharding import class_of
from fergi_reward.trainers.weights import loading_line
from fergi_reward.version import __version__

# The base model of which no place is known.
IN_MEMORY = "a pipeline built in memory"
ELSEWHERE = "not loaded from where they were published: see where they come from"
CARD = """---
{front_matter}---

# {title} {base_model}

Fine-tuned by `{trainer}` of fergi_reward {version}.

```python
{imports}

pipeline = {base}
{loading}
{drawing}```

A tuned model draws what it learned from likes, which is not all that people like: look at its pictures next to those of
the model it came from, and at a judge that it was not trained on.

## Licenses

As their publishers state them; who shares these weights sees to it that they are kept.

{licenses}

## Learned from

`prompts.txt` in this folder has the prompts of the last epochs.

```json
{learned_from}
```

## Configuration

```yaml
{configuration}```
"""


def write_model_card(
    folder: Path, trainer: str, config: TrainerConfig, seen: Sequence[Mapping[str, Any]], pipeline: Pipeline
) -> None:
    """Write README.md into the folder of trained weights.

    Args:
        folder: Holds the weights.
        trainer: Name of the trainer.
        config: Its options.
        seen: What the weights learned from, stretch by stretch: the reward or the pairs in words, `model`, `prompts`
            and the first and last of the `epochs`. The last stretch is the card's; the others are listed `before` it.
        pipeline: What was fine-tuned.
    """
    full, family = config.full_finetuning, family_of(pipeline)
    named = called(pipeline) or str(pipeline.config.get("_name_or_path") or IN_MEMORY)
    base_model = _printable(place_without_folders(named))
    learned_from = {**seen[-1], **({"before": list(seen[:-1])} if seen[:-1] else {})}
    front_matter = {
        "base_model": base_model,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": ["diffusers", *([] if full else ["lora"]), "text-to-image", "rlhf", "fergi-reward"],
    }
    loaded = [] if called(pipeline) else ["DiffusionPipeline"]
    loaded += [class_of(family.network).__name__] if full else []
    imports = [f"from diffusers import {', '.join(loaded)}"] if loaded else []
    imports += ["from fergi_reward.diffusion import load_pipeline"] if called(pipeline) else []
    card = CARD.format(
        front_matter=yaml.safe_dump(front_matter, sort_keys=False, width=math.inf),
        title=f"The {family.network_name} of" if full else "A LoRA adapter for",
        base_model=base_model,
        base=_base_call(pipeline, named, base_model),
        imports="\n".join(imports),
        loading=loading_line(pipeline, config, "path/of/this/folder"),
        drawing=_drawing_line(config, pipeline),
        trainer=trainer,
        version=__version__,
        licenses="\n".join(f"- {each}" for each in _licenses(named, seen)),
        learned_from=json.dumps(record_without_folders(learned_from), indent=2),
        configuration=yaml.safe_dump(record_without_folders(asdict(config)), sort_keys=False),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _base_call(pipeline: Pipeline, named: str, base_model: str) -> str:
    """The call with which a user loads the base model; of a folder of whoever trained it they have another one."""
    if called(pipeline):
        return f"load_pipeline({json.dumps(base_model)})"
    place = base_model if place_without_folders(named) == named else f"path/of/{base_model}"
    return f"DiffusionPipeline.from_pretrained({json.dumps(place)})"


def _licenses(base_model: str, seen: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Those of the base model, of scorers with published weights, and of FERGI, where it made the calibration."""
    yield f"base model: {license_of(base_model) or UNKNOWN}"
    terms = dict.fromkeys(term for stretch in seen for term in stretch.get("terms", ()) if term in SCORERS)
    # Stretches of earlier versions do not say it.
    published = {term for stretch in seen for term in stretch.get("published", stretch.get("terms", ()))}
    for term, text in scorer_licenses([*terms, *sorted(published - set(terms))]).items():
        if term in published:
            yield f"published weights of {term}: {text}"
    if elsewhere := [term for term in terms if term not in published]:
        yield f"weights of {', '.join(elsewhere)}: {ELSEWHERE}"
    if any(stretch.get("calibration", {}).get("au_source") == FERGI_SOURCE for stretch in seen):
        yield f"calibration: fitted on {FERGI}"


def _drawing_line(config: TrainerConfig, pipeline: Pipeline) -> str:
    """How to draw where that is not as the pipeline would by itself."""
    side, taken = config.resolution, inspect.signature(pipeline.__call__).parameters
    asked: dict[str, object] = {"height": side, "width": side} if side else {}
    if side and "use_resolution_binning" in taken:  # SANA would draw at another size, and shrink that
        asked["use_resolution_binning"] = False
    if config.max_sequence_length and "max_sequence_length" in taken:
        asked["max_sequence_length"] = config.max_sequence_length
    arguments = "".join(f", {name}={value}" for name, value in asked.items())
    return f'picture = pipeline(prompt="a prompt"{arguments}).images[0]\n' if asked else ""


def _printable(name: object) -> str:
    """On one line, in characters that every reader of the card takes."""
    return "".join(letter if letter.isprintable() else " " for letter in str(name))
