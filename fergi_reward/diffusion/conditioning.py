"""What tells a network what to draw, and classifier-free guidance towards it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError


@dataclass(frozen=True)
class Conditioning:
    """What a network reads besides latents and timesteps, for B images.

    Attributes:
        prompt_embeds: (B, L, D) the encoded prompts, token by token.
        others: What else the model family reads, by names that only it knows: (B, ...) each, such as one vector per
            prompt or the size of the picture. A family whose prompts differ in length pads them and keeps a mask here.
    """

    prompt_embeds: Tensor
    others: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = len(self.prompt_embeds)
        if wrong := [f"{name} has {len(tensor)}" for name, tensor in self.others.items() if len(tensor) != rows]:
            raise FergiRewardError(
                f"a conditioning of {rows} images must have as many rows in all, but {', '.join(wrong)}"
            )

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same function of every tensor."""
        return type(self)(
            function(self.prompt_embeds), {name: function(tensor) for name, tensor in self.others.items()}
        )

    def __getitem__(self, rows: Tensor) -> Self:
        """The conditioning of the images at `rows`."""
        return self.map(lambda tensor: tensor[rows])

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return self.prompt_embeds.nbytes + sum(tensor.nbytes for tensor in self.others.values())

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Several batches as one."""
        others = {name: torch.cat([part.others[name] for part in parts]) for name in parts[0].others}
        return cls(torch.cat([part.prompt_embeds for part in parts]), others)


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598).

    Attributes:
        scale: How far to go beyond the conditional prediction; 1 is no guidance.
        absence: What stands for no prompt, B = 1.
    """

    scale: float
    absence: Conditioning

    def combined(self, unconditional: Tensor, conditional: Tensor) -> Tensor:
        """The guided prediction (B, C, H, W)."""
        return unconditional + self.scale * (conditional - unconditional)
