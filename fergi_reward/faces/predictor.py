"""The predictor with its provenance, and its folder: `predictor.json` and `heads.safetensors`."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.heads import Heads, HeadSizes, Prediction
from fergi_reward.faces.judging import LEVELS, HeldOutFigures, Residuals
from fergi_reward.files.atomic import atomic_path, write_json
from fergi_reward.files.json_records import checked, read_record
from fergi_reward.scorers.base import Towers
from fergi_reward.scorers.checkpoints import load_weights
from fergi_reward.scorers.true_float32 import true_float32

SCHEMA = 1
RECORD, WEIGHTS = "predictor.json", "heads.safetensors"
AGAIN = "run `fergi-reward fit-predictor` again"


@dataclass(frozen=True)
class PredictorRecord:
    """What a predictor is and where it comes from.

    Attributes:
        au_source: What measured the action units that it was fitted on.
        decay: Decay coefficient of the valence that it predicts.
        tower: Fingerprint of the PickScore whose embeddings it reads.
        sizes: Sizes of its heads.
        dataset: What it was fitted on: `fingerprint` (SHA-256), `participants` and who they are (`users`), `images`.
        held_out: How fits did on viewers and prompts that they had not seen.
        residuals: How far one viewer's valence lies from the prediction.
        seed: Seed of folds, halves and starting weights.
        command: The command that made it.
        library_version: The version that fitted it.
    """

    au_source: str
    decay: float
    tower: str
    sizes: HeadSizes
    dataset: dict[str, Any]
    held_out: HeldOutFigures
    residuals: Residuals
    seed: int
    command: str
    library_version: str

    def used(self, user: str, source: str) -> bool:
        """Whether reactions of a participant, as measured by a source, are among those that it was fitted on."""
        return source == self.au_source and user in self.dataset.get("users", ())


class ReactionPredictor(nn.Module):
    """Embeddings of PickScore's towers -> the AU4 valence that the picture would meet with.

    Example::

        from fergi_reward.faces.predictor import ReactionPredictor
        from fergi_reward.scorers.registry import load_scorer

        predictor, pickscore = ReactionPredictor.load("predictor/"), load_scorer("pickscore")
        predictor.check_tower(pickscore)
        prediction = predictor(*pickscore.features(pixels, prompts))

    Args:
        record: What it is.
        heads: Its weights.
    """

    def __init__(self, record: PredictorRecord, heads: Heads) -> None:
        super().__init__()
        self.record = record
        self.heads = heads

    def forward(self, images: Tensor, texts: Tensor) -> Prediction:
        """What pictures would meet with; gradients reach the embeddings. An autocast around it changes nothing.

        Args:
            images: (B, width) embeddings of the pictures; the predictor moves to where they are.
            texts: (B, width) embeddings of their prompts.
        """
        # Weights that move in inference mode could not be trained through afterwards.
        with torch.inference_mode(False):
            heads = self.heads.to(images)
        with torch.autocast(images.device.type, enabled=False), true_float32():
            prediction: Prediction = heads(images, texts)
        return prediction

    def interval(self, prediction: Prediction, level: float) -> tuple[Tensor, Tensor]:
        """Where the valence of a new viewer of each picture lies with this probability; (B,) each, in [-1, 0].

        Its width is nearly that of the viewers' differences: a mean is known better than one face.

        Args:
            prediction: Of B pictures.
            level: 0.5, 0.8 or 0.95.
        """
        if level not in LEVELS:
            raise FergiRewardError(f"there are intervals of {', '.join(map(str, LEVELS))}, none of {level}")
        spread = (self.record.residuals.noise**2 + prediction.uncertainty**2).sqrt()
        low, high = self.record.residuals.quantiles[LEVELS.index(level)]
        return (prediction.mean + low * spread).clamp(-1, 0), (prediction.mean + high * spread).clamp(-1, 0)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the record and the weights."""
        digest = hashlib.sha256(json.dumps(asdict(self.record), sort_keys=True).encode())
        for name, value in sorted(self.heads.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    def check_tower(self, tower: Towers) -> None:
        """Refuse embeddings of another model than it was fitted on.

        Raises:
            FergiRewardError: The width or the fingerprint is another.
        """
        if tower.width != self.record.sizes.width:
            raise FergiRewardError(
                f"the predictor reads embeddings of {self.record.sizes.width} numbers, this PickScore makes "
                f"{tower.width}: give the checkpoint that it was fitted on"
            )
        if tower.fingerprint() != self.record.tower:
            raise FergiRewardError(
                f"the predictor was fitted on a PickScore of the fingerprint {self.record.tower[:12]}…, this one has "
                f"{tower.fingerprint()[:12]}…: give the checkpoint that it was fitted on"
            )

    def save(self, folder: Path | str) -> None:
        """Write both files into a folder, each whole or not at all."""
        from safetensors.torch import save_file

        weights = {name: value.detach().cpu().float().contiguous() for name, value in self.heads.state_dict().items()}
        with atomic_path(Path(folder) / WEIGHTS) as temporary:
            save_file(weights, temporary)
        made = {"schema": SCHEMA, "fingerprint": self.fingerprint}
        write_json(Path(folder) / RECORD, made | asdict(self.record))

    @classmethod
    def load(cls, folder: Path | str) -> "ReactionPredictor":
        """Read a predictor, frozen.

        Raises:
            FergiRewardError: A file is missing or damaged, has an unknown schema, or is not of the other one.
        """
        place = Path(folder)
        for name in (RECORD, WEIGHTS):
            if not (place / name).is_file():
                raise FergiRewardError(f"{place} is no predictor, it has no {name}: {AGAIN}")
        made = read_record(place / RECORD, "predictor", SCHEMA, AGAIN)
        record = _record({name: value for name, value in made.items() if name not in ("schema", "fingerprint")}, place)
        with torch.inference_mode(False):
            heads = Heads(record.sizes, device="meta")  # nothing is allocated before the file is known to fit
            load_weights(heads, place / WEIGHTS)
        predictor = cls(record, heads.requires_grad_(False))
        if predictor.fingerprint != made.get("fingerprint"):
            raise FergiRewardError(f"{place}: {RECORD} and {WEIGHTS} do not belong together, or were changed: {AGAIN}")
        return predictor.eval()


_KINDS: dict[type, dict[str, str]] = {
    PredictorRecord: {"au_source": "text", "decay": "number", "tower": "text", "sizes": "record", "dataset": "record"}
    | {"held_out": "record", "residuals": "record", "seed": "number", "command": "text", "library_version": "text"},
    HeadSizes: {"width": "size", "components": "size", "hidden": "size", "members": "size"},
    HeldOutFigures: {"images": "number", "correct": "number", "pairs": "number", "accuracy": "number"}
    | {"ci95": "interval", "rank_correlation": "number", "coverage": "records"},
    Residuals: {"noise": "number", "quantiles": "records"},
}


def _record(made: dict[str, Any], where: Path) -> PredictorRecord:
    values = checked(made, _KINDS[PredictorRecord], f"{where / RECORD}", AGAIN)
    checked({"users": values["dataset"].get("users", [])}, {"users": "texts"}, f"{where / RECORD}, dataset", AGAIN)
    parts: dict[str, Any] = {}
    for name, kind in (("sizes", HeadSizes), ("held_out", HeldOutFigures), ("residuals", Residuals)):
        part = checked(values[name], _KINDS[kind], f"{where / RECORD}, {name}", AGAIN)
        parts[name] = kind(**{key: _frozen(value) for key, value in part.items()})
    return PredictorRecord(**values | parts)


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """A list, as JSON has it, as the tuple that it was."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
