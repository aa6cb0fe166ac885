"""A model to compare: where it is, what is in its folder, and what its card says that it was trained on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fergi_reward.core.alike import folded
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.digests import folder_fingerprint
from fergi_reward.files.json_files import parse_json
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.files.prompts import read_prompts
from fergi_reward.files.yaml_files import parse_yaml

# A whole pipeline, a LoRA adapter, or only the network that denoises, as full fine-tuning leaves it.
ModelKind = Literal["pipeline", "adapter", "network"]
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHTS = (".safetensors", ".bin")
OURS = "fergi-reward"
MAX_CARD_BYTES = 1 << 23


@dataclass(frozen=True)
class Card:
    """What the trainers of this package write into the README.md of trained weights.

    Attributes:
        base_model: What was fine-tuned: a hub id, a folder of whoever trained it, or words.
        learned_from: The reward or the pairs of the last epochs; what other epochs learned from is listed `before`.
    """

    base_model: str
    learned_from: Mapping[str, Any]

    @property
    def terms(self) -> tuple[str, ...] | None:
        """Terms of all rewards that the weights have seen; none for pairs, which no scorer here made as far as it says.

        None: of some of them it is not known.
        """
        return self.known_terms if all("terms" in one or "pairs" in one for one in self._stretches) else None

    @property
    def known_terms(self) -> tuple[str, ...]:
        """The terms that the card names, whatever else was trained on."""
        return tuple(dict.fromkeys(name for one in self._stretches for name in one.get("terms", ())))

    @property
    def _stretches(self) -> list[Mapping[str, Any]]:
        before = self.learned_from.get("before")
        told = before if isinstance(before, list) else []
        return [*(one for one in told if isinstance(one, Mapping)), self.learned_from]


@dataclass(frozen=True)
class ComparedModel:
    """A model to draw with.

    Attributes:
        name: In reports.
        place: A folder or a hub id.
        kind: What is there.
        card: None where there is none of this package.
        trained_on: Terms of the reward that it was trained on; None where nothing says.
    """

    name: str
    place: str
    kind: ModelKind
    card: Card | None = None
    trained_on: tuple[str, ...] | None = None

    @property
    def folder(self) -> str:
        """What its folder of results is called.

        >>> ComparedModel("epoch 4/lora", "runs/x/lora", "adapter").folder
        'epoch-4-lora'
        """
        return re.sub(r"[^\w.]+", "-", self.name).strip("-.")

    @cached_property
    def fingerprint(self) -> str | None:
        """SHA-256 over its files except for text; None where it is not in a folder."""
        place = Path(self.place)
        return folder_fingerprint(place) if place.is_dir() else None


def tuned_model(text: str, trained_on: tuple[str, ...] | None) -> ComparedModel:
    """The model that `[NAME=]PLACE` means; without a name it is called by the last two parts of its place.

    Args:
        text: Place is a folder as the trainers write it, one of a whole pipeline, or a pipeline's hub id.
        trained_on: What it was trained on, unless its card says.

    Raises:
        FergiRewardError: There is no such folder, or nothing to draw with in it.
    """
    name, equals, place = text.rpartition("=")
    if equals and not (name and place):
        raise FergiRewardError(f"--tuned {text!r} must be NAME=PLACE or PLACE")
    path = Path(place)
    parts = [part for part in path.parts if part not in (path.anchor, "..")]
    card = read_card(path)
    terms = card.terms if card else None
    if terms is None and card and trained_on is not None:
        terms = tuple(dict.fromkeys([*card.known_terms, *trained_on]))
    return ComparedModel(name or "/".join(parts[-2:]), place, _kind(path), card, trained_on if terms is None else terms)


def _kind(path: Path) -> ModelKind:
    if not path.is_dir():
        if HUB_ID.fullmatch(path.as_posix()) and not (path.exists() or path.parent.is_dir()):
            return "pipeline"
        if path.is_file():
            raise FergiRewardError(f"--tuned {path} is a file: give its folder, {path.parent}")
        raise FergiRewardError(f"--tuned {path} is neither a folder nor a hub id: give one with trained weights")
    names = [each.name for each in path.iterdir()]
    if "model_index.json" in names:
        return "pipeline"
    if any(name.endswith(WEIGHTS) for name in names):
        return "network" if "config.json" in names else "adapter"
    what = "holds no weights" if names else "is empty"
    raise FergiRewardError(f"--tuned {path} {what}: give the folder of an adapter, of a network or of a pipeline")


def read_card(folder: Path) -> Card | None:
    """The card in a folder; None where there is none, or one of something else than this package."""
    path = folder / "README.md"
    if not path.is_file():
        return None
    text = _text(path)
    front = text.removeprefix("---\n").partition("\n---\n")[0]
    found = re.search(r"^```json\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    try:
        matter, learned_from = parse_yaml(front), parse_json(found[1] if found else "null")
    except ValueError:
        return None
    if not isinstance(matter, dict) or OURS not in _tags(matter) or not isinstance(learned_from, dict):
        return None
    return Card(str(matter.get("base_model")), learned_from)


def _text(path: Path) -> str:
    try:
        return read_bytes(path, MAX_CARD_BYTES).decode(errors="replace")
    except OSError as error:
        raise FergiRewardError(f"the card {path} cannot be read ({error.strerror or error}): fix it") from error


def seen_prompts(model: ComparedModel, prompts: Sequence[str]) -> int:
    """How many of the prompts are in the list that the trainers put next to the weights, whatever their capitals."""
    path = Path(model.place) / "prompts.txt"
    if model.card is None or not path.is_file():
        return 0
    seen = set(map(folded, read_prompts(path)))
    return sum(folded(prompt) in seen for prompt in prompts)


def _tags(matter: Mapping[str, Any]) -> list[Any]:
    tags = matter.get("tags")
    return tags if isinstance(tags, list) else []


def base_doubt(model: ComparedModel, base: str) -> str | None:
    """What speaks against drawing with these weights on that base model.

    Args:
        model: Trained weights.
        base: Hub id or folder of the base model.

    Returns:
        A sentence where the card calls the base model by another name that may be a copy's; None where all is well.

    Raises:
        FergiRewardError: The card names another base model on the hub.
    """
    from fergi_reward.trainers.model_card import IN_MEMORY  # imports torch

    if model.card is None or model.kind == "pipeline" or model.card.base_model == IN_MEMORY:
        return None
    named = model.card.base_model
    if Path(named).name == Path(base).name:
        return None
    if HUB_ID.fullmatch(named) and HUB_ID.fullmatch(base) and not Path(base).exists():
        raise FergiRewardError(
            f"--tuned {model.place} was trained on {named}, and --model is {base}: compare weights of one base model"
        )
    return f"{model.name}: its card names the base model {Path(named).name}, here it is {Path(base).name}."


def scale_doubt(model: ComparedModel) -> str | None:
    """What speaks against the strength of an adapter: diffusers saves `lora_alpha` only when it is asked to.

    Args:
        model: Trained weights.

    Returns:
        A sentence where its files do not say; None where they do, or are of these trainers, whose files hold it scaled.
    """
    from safetensors import SafetensorError, safe_open

    from fergi_reward.diffusion.whole_weights import LORA_CONFIG  # imports torch

    if model.kind != "adapter" or model.card is not None:
        return None
    for path in Path(model.place).glob("*.safetensors"):
        try:
            with safe_open(path, "pt") as file:
                told = LORA_CONFIG in (file.metadata() or {}) or any(key.endswith(".alpha") for key in file.keys())  # noqa: SIM118
        except SafetensorError:  # it is said when it is loaded
            return None
        if told:
            return None
    return (
        f"{model.name}: its files do not say its lora_alpha, and it is drawn with one equal to its rank: if it was "
        "trained with another, save it with unet_lora_adapter_metadata or transformer_lora_adapter_metadata."
    )
