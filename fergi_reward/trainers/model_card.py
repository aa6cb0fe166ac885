"""The README.md of an adapter: what made it, in the form that diffusers and the hub read."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

import fergi_reward
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.pipelines import Pipeline
from fergi_reward.trainers.rewards import Reward

CARD = """---
{front_matter}---

# A LoRA adapter for {base_model}

Fine-tuned on a reward by `{trainer}` of fergi_reward {version}.

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("{base_model}")
pipeline.load_lora_weights("path/of/this/folder")
```

A tuned model draws what its reward likes, which is not all that people like: look at its pictures beside those of the
model it came from, and at a judge that the reward did not weigh.

## Reward

```json
{reward}
```

## Configuration

```yaml
{configuration}```
"""


def write_model_card(folder: Path, trainer: str, config: TrainerConfig, reward: Reward, pipeline: Pipeline) -> None:
    """Write README.md into an adapter's folder.

    Args:
        folder: Holds the adapter.
        trainer: Name of the trainer.
        config: Its options.
        reward: One that can `describe` itself is described, another is named.
        pipeline: What was fine-tuned.
    """
    base_model = pipeline.config.get("_name_or_path") or "a pipeline built in memory"
    front_matter = {
        "base_model": base_model,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": ["diffusers", "lora", "text-to-image", "reinforcement-learning", "fergi-reward"],
    }
    card = CARD.format(
        front_matter=yaml.safe_dump(front_matter, sort_keys=False),
        base_model=base_model,
        trainer=trainer,
        version=fergi_reward.__version__,
        reward=json.dumps(described(reward), indent=2),
        configuration=yaml.safe_dump(asdict(config), sort_keys=False),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def described(reward: Reward) -> Mapping[str, Any]:
    """What a reward says of itself, or its name."""
    describe = getattr(reward, "describe", None)
    return describe() if describe else {"reward": getattr(reward, "__qualname__", type(reward).__qualname__)}
