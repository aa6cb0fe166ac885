"""The reward of a batch of images, with its terms and what each adds."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RewardOutput:
    """The reward of a batch of B images, and what it is made of.

    Attributes:
        total: (B,) float32. With a `bradley-terry` calibration, of two pictures of a prompt the one with
            1 more is expected to be preferred by 73 of 100 people: differences are log-odds, but not with `extra`.
        terms: Raw value of each term, (B,); NaN where it is missing. Of an action unit, its valence: where it is
            weighed with several decay coefficients, at the smallest one.
        contributions: What each term adds to the total, (B,); 0 where it is missing. With an uncertainty penalty,
            `disagreement` is a term like the others, and with predicted reactions `au4_uncertainty`.
        missing: Which images lack a term, (B,) bool, for terms that can be missing. Their total comes from weights that
            were fitted without it.
    """

    total: Tensor
    terms: dict[str, Tensor]
    contributions: dict[str, Tensor]
    missing: dict[str, Tensor]

    def log(self, prefix: str = "reward") -> dict[str, float]:
        """Means for a tracker: the total, each term over the images that have it, and the share that lack it.

        Raw terms are `reward/NAME`, what they add to the total `reward/contributions/NAME`.
        """
        means = {prefix: self.total} | {f"{prefix}/{name}": term for name, term in self.terms.items()}
        means |= {f"{prefix}/contributions/{name}": added for name, added in self.contributions.items()}
        means |= {f"{prefix}/{name}_missing": mask.float() for name, mask in self.missing.items()}
        together = torch.stack([values.detach().nanmean() for values in means.values()])
        return {name: mean for name, mean in zip(means, together.tolist(), strict=True) if not math.isnan(mean)}
