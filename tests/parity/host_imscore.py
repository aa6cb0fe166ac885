"""What imscore's own scorers say: python host_imscore.py CHECKPOINT QUESTIONS ANSWERS.

The checkpoint is a CLIP model with its processor. QUESTIONS holds pairs of pixels and prompts (torch.save); of each,
ANSWERS gets the scores and the gradient of their sum, from CLIPScore and from DummyReward.
"""

import sys

import torch
from imscore.dummy.model import DummyReward
from imscore.preference.model import CLIPScore


def ask(scorer: torch.nn.Module, pixels: torch.Tensor, prompts: list[str]) -> dict[str, torch.Tensor]:
    """Scores (B,) and their gradient, like the pixels."""
    pixels = pixels.clone().requires_grad_()
    scores = scorer.score(pixels, prompts)
    (gradient,) = torch.autograd.grad(scores.sum(), pixels)
    return {"scores": scores.detach(), "gradient": gradient}


checkpoint, questions, answers = sys.argv[1:]
scorers = {"CLIPScore": CLIPScore(checkpoint).eval(), "DummyReward": DummyReward()}
asked = torch.load(questions, weights_only=True)
torch.save({name: [ask(scorer, *one) for one in asked] for name, scorer in scorers.items()}, answers)
