"""Best-of-n: draw n pictures of a prompt and keep the one that the reward likes best. Nothing is trained."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, evaluate
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.core.seeds import seed_of
from fergi_reward.diffusion.rendering import render
from fergi_reward.scorers.base import chunks


@dataclass(frozen=True)
class Candidates:
    """n scored pictures of one prompt, of which two are kept.

    Attributes:
        number: The prompt's, as it was given.
        prompt: What was drawn.
        seeds: n, one per picture.
        scores: (n,) rewards.
        terms: (n,) each: what the reward is made of, where it says so.
        best: (3, H, W) the picture with the highest reward, the first of several.
        worst: (3, H, W) the one with the lowest.
    """

    number: int
    prompt: str
    seeds: list[int]
    scores: Tensor
    terms: dict[str, Tensor]
    best: Tensor
    worst: Tensor


@dataclass(frozen=True)
class BestOfN:
    """The best of n pictures for each of P prompts.

    Attributes:
        prompts: P of them.
        pixels: (P, 3, H, W) in [0, 1], float32 on the CPU: the chosen pictures.
        chosen: (P,) which of the n candidates each is.
        scores: (P, n) the rewards of all candidates.
        terms: (P, n) each: what the rewards are made of, where the reward says so.
        seeds: P lists of n: `torch.Generator().manual_seed(seed)` draws a candidate again.
    """

    prompts: list[str]
    pixels: Tensor
    chosen: Tensor
    scores: Tensor
    terms: dict[str, Tensor]
    seeds: list[list[int]]


def best_of_n(
    pipe: Any,  # noqa: ANN401 - the pipelines of diffusers have no useful common type
    prompts: Sequence[str],
    reward: Reward,
    n: int,
    *,
    seed: int = 0,
    batch_size: int = 8,
    **call: Any,  # noqa: ANN401
) -> BestOfN:
    """Draw n pictures of each prompt and choose the one with the highest reward.

    Example::

        from diffusers import DiffusionPipeline
        from fergi_reward import CombinedReward
        from fergi_reward.best_of import best_of_n

        pipe = DiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        best = best_of_n(pipe, ["a cat on a sofa"], CombinedReward.from_pretrained(), 8, num_inference_steps=30)

    Args:
        pipe: Any text-to-image pipeline of diffusers.
        prompts: P of them.
        reward: Any callable from pixels (B, 3, H, W) in [0, 1] and prompts to rewards (B,), higher being better.
        n: Candidates a prompt. The first of them are those of a smaller n.
        seed: A candidate's seed depends on it, the prompt's place and the candidate's number alone.
        batch_size: Pictures drawn and scored at a time; on its way through, a prompt has all n in memory.
        call: Arguments of the pipeline's call, such as `num_inference_steps` and `guidance_scale`.

    Raises:
        FergiRewardError: There is no prompt, n or the batch size is below 1, or a reward is not finite.
    """
    if not prompts:
        raise FergiRewardError("there is no prompt to draw: give at least one")
    wanted = wanted_candidates(prompts, n, seed, batch_size)
    found = list(draw_candidates(pipe, wanted, reward, range(len(prompts)), **call))
    return BestOfN(
        prompts=list(prompts),
        pixels=torch.stack([candidates.best for candidates in found]),
        chosen=torch.stack([candidates.scores.argmax() for candidates in found]),
        scores=torch.stack([candidates.scores for candidates in found]),
        terms={name: torch.stack([candidates.terms[name] for candidates in found]) for name in found[0].terms},
        seeds=[candidates.seeds for candidates in found],
    )


@dataclass(frozen=True)
class Wanted:
    """A picture to draw.

    Attributes:
        number: Number of its prompt.
        prompt: What to draw.
        seed: Seed of its noise.
    """

    number: int
    prompt: str
    seed: int


def wanted_candidates(prompts: Sequence[str], n: int, seed: int, batch_size: int) -> list[list[Wanted]]:
    """The batches of n candidates for each prompt; one may hold pictures of several prompts.

    Args:
        prompts: What to draw.
        n: Candidates a prompt.
        seed: As for `best_of_n`.
        batch_size: Pictures at a time.

    Raises:
        FergiRewardError: n or the batch size is below 1.
    """
    if n < 1 or batch_size < 1:
        raise FergiRewardError(f"n is {n} and batch_size {batch_size}: both must be at least 1")
    wanted = [
        Wanted(number, prompt, seed_of(seed, "candidate", number, place))
        for number, prompt in enumerate(prompts)
        for place in range(n)
    ]
    return [list(batch) for batch in chunks(wanted, batch_size)]


def draw_candidates(
    pipe: Any,  # noqa: ANN401
    batches: Sequence[Sequence[Wanted]],
    reward: Reward,
    left: Collection[int],
    **call: Any,  # noqa: ANN401
) -> Iterator[Candidates]:
    """As `best_of_n`, prompt by prompt as they are ready, with a progress bar.

    Args:
        pipe: As there.
        batches: All of them, from `wanted_candidates`.
        reward: As there.
        left: The prompts that are asked for, by their numbers. Batches are drawn whole, as if all were: the last bits
            of a picture depend on the batch that it is drawn in.
        call: As there.

    Raises:
        FergiRewardError: A reward is not finite.
    """
    needed = [batch for batch in batches if any(each.number in left for each in batch)]
    for number, group in groupby(_scored(pipe, needed, reward, call), attrgetter("wanted.number")):
        pictures = list(group)
        if number not in left:
            continue
        scores = torch.stack([picture.score for picture in pictures])
        yield Candidates(
            number,
            pictures[0].wanted.prompt,
            [picture.wanted.seed for picture in pictures],
            scores,
            {name: torch.stack([picture.terms[name] for picture in pictures]) for name in pictures[0].terms},
            best=pictures[int(scores.argmax())].pixels,
            worst=pictures[int(scores.argmin())].pixels,
        )


@dataclass(frozen=True)
class _Picture:
    wanted: Wanted
    score: Tensor
    terms: dict[str, Tensor]
    pixels: Tensor


def _scored(
    pipe: Any,  # noqa: ANN401
    batches: Sequence[Sequence[Wanted]],
    reward: Reward,
    call: Mapping[str, Any],
) -> Iterator[_Picture]:
    """Pictures, drawn and scored batch by batch."""
    with Progress(total=sum(map(len, batches)), desc="drawing and scoring", unit="picture") as bar:
        for batch in batches:
            prompts = [each.prompt for each in batch]
            with torch.no_grad():
                pixels = render(pipe, prompts, [each.seed for each in batch], **call)
                rewards = evaluate(reward, pixels, prompts)
            scores, pixels = rewards.total.cpu(), pixels.cpu()
            terms = {name: values.cpu() for name, values in rewards.terms.items()}
            bar.update(len(batch))
            for row, wanted in enumerate(batch):
                yield _Picture(wanted, scores[row], {name: values[row] for name, values in terms.items()}, pixels[row])
