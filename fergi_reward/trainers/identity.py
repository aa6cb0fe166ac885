"""What a training run learns from, by content: a resumed run must find the same, unless the user allows a change.

Each part has a name for people and a digest. Rewards, judges and pairs may be anything that the trainers take: those
that tell their digests (`fingerprints`, `weights_digest`) are known by these, a plain callable by its name and code.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from fergi_reward.callables.code_digests import code_digest
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.diffusion.content import pipeline_digest
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.files.digests import bytes_digest, file_digest, record_digest, tensors_digest
from fergi_reward.images import open_picture, unwrapped
from fergi_reward.trainers.pairs import PairTable

# Rewards and what they were made of: remembered rewards are those of these.
REWARDING = {"reward", "calibration", "predictor"}
# Where pictures of the held-out judges come from: their scores before and after can be compared only if these stay.
JUDGING = {"model", "prompts", "judges"}
# Rows of a stream that are read for its digest: it cannot be read twice.
STREAMED_ROWS = 16


@dataclass(frozen=True)
class Part:
    """One thing that a run depends on.

    Attributes:
        name: For people.
        digest: SHA-256 of its content.
    """

    name: str
    digest: str

    def __str__(self) -> str:
        """The name, and enough of the digest to tell two of one name apart."""
        return f"{self.name} ({self.digest[:8]})"


Identity = Mapping[str, Part]


def identity_of(
    *,
    model: Part,
    prompts: Sequence[str],
    judges: Mapping[str, object],
    reward: object | None = None,
    pairs: PairTable | None = None,
) -> dict[str, Part]:
    """The parts of a run.

    Args:
        model: As `model_part` tells it, before anything is attached to the pipeline.
        prompts: In their order: numbers drawn from a seed choose among them.
        judges: By name.
        reward: What is followed, if anything is.
        pairs: What is learned from, if there are any.
    """
    digests = {name: _digest(judge) for name, judge in sorted(judges.items())}
    name = getattr(prompts, "name", "")
    counted = f"{len(prompts)} prompt{'s' * (len(prompts) != 1)}" + (f" of {name}" if name else "")
    found = {
        "model": model,
        "prompts": Part(counted, record_digest(list(prompts))),
        "judges": Part(", ".join(digests) or "none", record_digest(digests)),
    }
    if reward is not None:
        found |= _reward_parts(reward)
    if pairs is not None:
        found["pairs"] = pairs_part(pairs)
    return found


def model_part(pipeline: Pipeline) -> Part:
    """All weights of a pipeline, as loaded, and the settings of its networks and of its scheduler."""
    return Part(str(pipeline.config.get("_name_or_path") or type(pipeline).__name__), pipeline_digest(pipeline))


def pairs_part(table: PairTable) -> Part:
    """All rows with what is in the files of their pictures, which are read once for it; of a stream, its first rows."""
    rows, streamed = table.rows, not hasattr(table.rows, "__len__")
    digest = sha256(b"streamed" if streamed else b"")  # in another order
    # A large table takes minutes, as a pass of training would.
    with Progress(
        _beginning(rows) if streamed else rows, "reading the pairs", delay=5, leave=False, unit="pair"
    ) as read:
        for row in read:
            digest.update(_row_digest(row).encode())
    return Part(f"{table.name}, {'streamed' if streamed else f'{len(rows)} rows'}", digest.hexdigest())


def changes(before: Mapping[str, Mapping[str, str]], now: Identity) -> dict[str, tuple[str, str]]:
    """What is not as it was: by part, both values in words."""
    told = {name: Part(**part) for name, part in before.items()}
    nothing = Part("none", "")
    pairs = {name: (told.get(name, nothing), now.get(name, nothing)) for name in {**told, **now}}
    return {name: (str(old), str(new)) for name, (old, new) in pairs.items() if old.digest != new.digest}


def check_changes(place: object, found: Mapping[str, tuple[str, str]], allowed: Iterable[str]) -> None:
    """Refuse changes that were not asked for.

    Raises:
        FergiRewardError: One of them is not in `allowed`.
    """
    refused = [name for name in found if name not in set(allowed)]
    if refused:
        what = "; ".join(f"{name} was {found[name][0]}, now {found[name][1]}" for name in refused)
        raise FergiRewardError(
            f"cannot resume {place} with something else to learn from: {what}; give what it was, or resume with "
            f"--allow-changes {','.join(sorted(found))}"
        )


def as_record(identity: Identity) -> dict[str, dict[str, str]]:
    """For a checkpoint."""
    return {name: asdict(part) for name, part in identity.items()}


def described(learned_from: object) -> dict[str, Any]:
    """What a reward or a table of pairs says of itself, or its name."""
    describe = getattr(learned_from, "describe", None)
    return dict(describe()) if describe else {"name": _name(learned_from).rpartition(":")[2]}


def _reward_parts(reward: object) -> dict[str, Part]:
    """A `CombinedReward` has its calibration and its predictor as parts of their own; others are one part."""
    if not hasattr(reward, "fingerprints"):
        name = described(reward).get("name", _name(reward).rpartition(":")[2])
        return {"reward": Part(str(name), _digest(reward))}
    digests, told = dict(reward.fingerprints()), described(reward)
    calibration, predictor = digests.pop("calibration"), digests.pop("predictor", None)
    reaction = dict(told["reaction"])
    pessimism = reaction.pop("pessimism", None)
    made_of = [digests, told["uncertainty_penalty"], reaction["mode"], list(told["terms"])]
    name = " + ".join(told["terms"])
    if told["uncertainty_penalty"]:
        name += f", uncertainty_penalty {told['uncertainty_penalty']}"
    added = [f"{weight:g} x {term}" for term, weight in told.get("extra", {}).items()]
    found = {
        "reward": Part(name, record_digest(made_of)),
        "calibration": Part(" + ".join([str(told["calibration"]["protocol"]), *added]), str(calibration)),
    }
    if predictor:
        found["predictor"] = Part(f"pessimism {pessimism}", record_digest([predictor, pessimism]))
    return found


def _digest(asked: object) -> str:
    """The digest that a reward or judge reports, or else that of its code and of its weights, if it has any."""
    if hasattr(asked, "weights_digest"):
        return str(asked.weights_digest())
    weights = tensors_digest(asked.state_dict()) if isinstance(asked, nn.Module) else ""
    return record_digest([_name(asked), code_digest(asked), weights])


def _name(asked: object) -> str:
    while isinstance(asked, partial):
        asked = asked.func
    named = asked if hasattr(asked, "__qualname__") else type(asked)
    return f"{named.__module__}:{named.__qualname__}"


def _beginning(stream: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 - datasets has no types
    """The first rows of a stream, which then begins where it did."""
    start = stream.state_dict()
    rows = list(islice(iter(stream), STREAMED_ROWS))
    stream.load_state_dict(start)
    return rows


def _row_digest(row: Mapping[str, Any]) -> str:
    """Digest of all that a pair is read from."""
    texts = [repr(row.get(name)) for name in ("caption", "label_0", "confidence")]
    return record_digest([*texts, *(_picture_digest(row.get(name)) for name in ("jpg_0", "jpg_1"))])


def _picture_digest(picture: Any) -> str:  # noqa: ANN401 - whatever is in the column
    """Digest of the picture's file, or of the pixels of a decoded one; rows that have neither are skipped later."""
    try:
        file = unwrapped(picture)
        if isinstance(file, bytes):
            return bytes_digest(file)
        if isinstance(file, str | os.PathLike):
            return file_digest(Path(file)) if Path(file).is_file() else "missing"
        image = open_picture(file)
        return bytes_digest(f"{image.mode} {image.size} {image.getpalette()}".encode() + image.tobytes())
    except (FergiRewardError, OSError):
        return "unreadable"
