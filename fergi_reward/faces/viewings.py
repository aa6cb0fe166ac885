"""What the predictor is fitted on: embeddings of the pictures that viewers saw, and the valence of their faces."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.shown_pictures import Key, Picture, picture_bytes, picture_of
from fergi_reward.reactions.clip import valence
from fergi_reward.reactions.table import KEY, ReactionTable
from fergi_reward.scorers.pickscore import PickScorer


@dataclass(frozen=True)
class Viewings:
    """N times that somebody looked at a picture and the face was seen.

    Attributes:
        images: (N, width) embeddings of the pictures.
        texts: (N, width) embeddings of the prompts.
        valences: (N,) of AU4, in (-1, 0].
        users: (N,) who looked.
        sessions: (N,) numbers; two rows have the same where one viewer saw both in one session.
        prompts: (N,) what the pictures were drawn for.
    """

    images: Tensor
    texts: Tensor
    valences: Tensor
    users: NDArray[np.str_]
    sessions: NDArray[np.int64]
    prompts: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.valences)

    def where(self, rows: NDArray[np.bool_]) -> "Viewings":
        """Some of the rows."""
        chosen = torch.from_numpy(rows)
        tensors = (self.images[chosen], self.texts[chosen], self.valences[chosen])
        return Viewings(*tensors, self.users[rows], self.sessions[rows], self.prompts[rows])


def embed_viewings(
    table: ReactionTable, pictures: Mapping[Key, Picture], tower: PickScorer, decay: float, batch_size: int
) -> Viewings:
    """Embed the pictures whose reaction clips are valid, with a progress bar.

    Args:
        table: The reactions.
        pictures: Pictures of all of these.
        tower: What embeds.
        decay: Decay coefficient of the valence.
        batch_size: Pictures at a time.

    Raises:
        FergiRewardError: A picture is not listed or cannot be read, or no reaction is there.
    """
    seen = table.with_reactions().images
    if seen.empty:
        raise FergiRewardError("no picture has a valid reaction clip: there is nothing to predict")
    shown = [picture_of(pictures, key) for key in _keys(table)]
    embedded = []
    with Progress(total=len(shown), desc="embedding", unit="image") as bar:
        for start in range(0, len(shown), batch_size):
            part = shown[start : start + batch_size]
            paths, prompts = [picture.path for picture in part], [picture.prompt for picture in part]
            embedded.append(tower.embed(paths, prompts, batch_size=batch_size))
            bar.update(len(part))
    images, texts = (torch.cat(parts).float().cpu() for parts in zip(*embedded, strict=True))
    return Viewings(
        images,
        texts,
        torch.from_numpy(valence(seen["au4"].to_numpy(dtype=float), decay)).float(),
        seen["user"].to_numpy(dtype=str),
        seen.groupby(["user", "session"]).ngroup().to_numpy(),
        np.array([picture.prompt for picture in shown]),
    )


def dataset_of(table: ReactionTable, pictures: Mapping[Key, Picture]) -> dict[str, Any]:
    """What `embed_viewings` looks at, for the record: who, how much, and a SHA-256 over rows, prompts and files."""
    seen = table.with_reactions()
    digest = hashlib.sha256(f"{table.au_source}\n".encode())
    for key, activation in sorted(zip(_keys(table), seen.images["au4"].tolist(), strict=True)):
        picture = picture_of(pictures, key)
        content = hashlib.sha256(picture_bytes(picture)).hexdigest()
        digest.update(f"{key} {activation / table.au_unit:.6f} {picture.prompt!r} {content}\n".encode())
    counts = {"participants": len(seen.users), "users": seen.users, "images": len(seen.images)}
    return {"fingerprint": digest.hexdigest(), **counts}


def _keys(table: ReactionTable) -> list[Key]:
    rows = table.with_reactions().images[KEY]
    return [(str(user), str(session), str(image)) for user, session, image in rows.itertuples(index=False)]
