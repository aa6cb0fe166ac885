"""A small ensemble of heads on frozen embeddings: picture and prompt -> expected valence, and how sure it is."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


@dataclass(frozen=True)
class Prediction:
    """What B pictures would meet with.

    Attributes:
        mean: (B,) the AU4 valence to be expected of a viewer, in (-1, 0).
        uncertainty: (B,) standard error of that expectation, above 0: how far it moves with the choice of the viewers
            fitted on. It says nothing of how far viewers differ, which is the same for all pictures.
    """

    mean: Tensor
    uncertainty: Tensor


@dataclass(frozen=True)
class HeadSizes:
    """Sizes of an ensemble.

    Attributes:
        width: Width of an embedding.
        components: Principal components that are taken of the picture's embedding, and as many of the prompt's.
        hidden: Units of a head.
        members: Heads.
    """

    width: int
    components: int
    hidden: int = 16
    members: int = 16


class Heads(nn.Module):
    """The heads, computed together: -sigmoid(out . gelu(into x + bias) + level) each.

    x are the leading principal components of both embeddings, all of one kind divided by the same number: directions
    in which pictures hardly differ are not blown up.

    Args:
        sizes: Sizes of the ensemble; all weights are zero until they are fitted or loaded.
        device: Where they are; "meta" allocates nothing until they are loaded.
    """

    centre: Tensor
    basis: Tensor

    def __init__(self, sizes: HeadSizes, device: str = "cpu") -> None:
        super().__init__()
        self.sizes = sizes
        inputs = 2 * sizes.components
        zeros = partial(torch.zeros, dtype=torch.float32, device=device)
        self.register_buffer("centre", zeros(2, 1, sizes.width))
        self.register_buffer("basis", zeros(2, sizes.width, sizes.components))
        self.into = nn.Parameter(zeros(sizes.members, inputs, sizes.hidden))
        self.bias = nn.Parameter(zeros(sizes.members, 1, sizes.hidden))
        self.out = nn.Parameter(zeros(sizes.members, sizes.hidden, 1))
        self.level = nn.Parameter(zeros(sizes.members, 1, 1))

    def components(self, images: Tensor, texts: Tensor) -> Tensor:
        """Embeddings (B, width) of pictures and prompts -> what the heads see, (B, 2 x components)."""
        principal = (torch.stack([images, texts]) - self.centre) @ self.basis
        return torch.cat(list(principal), dim=1)

    def members(self, components: Tensor) -> Tensor:
        """The valence that each head expects, (members, B)."""
        return -torch.sigmoid(gelu(components @ self.into + self.bias) @ self.out + self.level).squeeze(-1)

    def forward(self, images: Tensor, texts: Tensor) -> Prediction:
        """Embeddings (B, width) of pictures and prompts -> what the pictures would meet with; differentiable."""
        each = self.members(self.components(images, texts))
        # The root has no gradient at 0.
        return Prediction(each.mean(dim=0), each.var(dim=0, correction=0).clamp(min=1e-12).sqrt())


def principal_components(embeddings: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """The mean of embeddings (N, width), and the basis (width, components) that `Heads` takes.

    What the basis makes of these embeddings has a mean square of 1 over all components; where they are all the same,
    which says nothing, the basis is zero.
    """
    centre = embeddings.mean(dim=0, keepdim=True)
    _, sizes, directions = torch.linalg.svd(embeddings - centre, full_matrices=False)
    scale = (sizes[:components].square().sum() / (len(embeddings) * components)).sqrt()
    basis = directions[:components].T
    return centre, basis / scale if scale > 1e-6 else torch.zeros_like(basis)
