"""What is scored where weights do not matter: checkpoints of official sizes with random weights, and noise."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch
from PIL import Image

from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

if TYPE_CHECKING:
    from transformers import CLIPConfig

CHECKPOINTS = {"image_reward": "ImageReward.pt", "pickscore": "model.safetensors", "hps_v2": "HPS_v2_compressed.pt"}
PROMPT = "a photograph of an astronaut riding a horse on the moon, highly detailed"
PROMPTS = [PROMPT, f"{PROMPT}, oil on canvas", f"{PROMPT}, at night", f"{PROMPT}, seen from above"]


class Checkpoints:
    """Folders of checkpoints by the scorers' names; one that is not given is written when it is first asked for.

    Args:
        place: Gets those that are written.
        given: By scorer, a folder in the hub's layout.
    """

    def __init__(self, place: Path, given: Mapping[str, Path]) -> None:
        self._place, self._folders = place, dict(given)

    def __getitem__(self, name: str) -> Path:
        if name not in self._folders:
            folder = self._place / name
            folder.mkdir()
            {"image_reward": _image_reward, "pickscore": _pickscore, "hps_v2": _hps}[name](folder)
            self._folders[name] = folder
        return self._folders[name]


def named_folders(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    """Folders by name, from NAME=FOLDER."""
    folders = {name: Path(place) for name, _, place in (value.partition("=") for value in values)}
    for name, folder in folders.items():
        if name not in CHECKPOINTS or not folder.is_dir():
            raise click.BadParameter(f"{name}={folder} must be one of {', '.join(CHECKPOINTS)} and a folder")
    return folders


checkpoint_option = click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    callback=named_folders,
    metavar="NAME=FOLDER",
    help="A checkpoint in place of official sizes with random weights; repeatable.",
)


def noise_pictures(folder: Path, count: int) -> list[Path]:
    """Files of 512 x 512 noise, the size that Stable Diffusion 1.5 draws."""
    draw = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (512, 512, 3), dtype=np.uint8)).save(path)
    return paths


def bert_words() -> list[str]:
    """As many words as BERT's vocabulary has, which is not at hand without the hub: single characters, and filling."""
    characters = [chr(number) for number in range(33, 127)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{character}" for character in characters)]
    words = [*dict.fromkeys([*words, *" ".join(PROMPTS).replace(",", "").split()])]
    return words + [f"[unused{number}]" for number in range(30522 - len(words))]


def pickscore_config() -> "CLIPConfig":
    """The sizes of CLIP ViT-H/14, as PickScore's checkpoint has them."""
    from transformers import CLIPConfig

    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
    vision = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "num_hidden_layers": 32}
    sizes: Any = {"text_config": text | {"hidden_act": "gelu", "eos_token_id": 2}, "projection_dim": 1024}
    sizes["vision_config"] = vision | {"hidden_act": "gelu", "patch_size": 14}
    return CLIPConfig(**sizes)


def _image_reward(folder: Path) -> None:
    from fergi_reward.scorers.image_reward import (
        ImageRewardScorer,
        TextSizes,
        VisionSizes,
        bert_tokenizer,
        official_key,
    )

    words = bert_words()
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
    weights = {official_key(key): value for key, value in scorer.state_dict().items()}
    torch.save(weights, folder / CHECKPOINTS["image_reward"])


def _pickscore(folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import CLIPModel

    config = pickscore_config()
    config.save_pretrained(folder)
    # The older transformers of the original asks for the format.
    save_file(CLIPModel(config).state_dict(), folder / CHECKPOINTS["pickscore"], metadata={"format": "pt"})
    tokenizer: Any = clip_tokenizer()
    tokenizer.backend_tokenizer.model.save(str(folder))


def _hps(folder: Path) -> None:
    from open_clip import get_model_config
    from open_clip.model import CLIP

    model: Any = CLIP(**get_model_config("ViT-H-14"))
    torch.save({"state_dict": model.state_dict()}, folder / CHECKPOINTS["hps_v2"])
    (folder / "checkpoint.pt").symlink_to(CHECKPOINTS["hps_v2"])  # where the original's program looks
