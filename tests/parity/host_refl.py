"""What ImageReward's own `score_gard` says to ReFL: python host_refl.py CHECKPOINT QUESTIONS ANSWERS.

As host_imscore.py; images are normalised, and prompts tokenised, as ReFL does both.
"""

import sys
from pathlib import Path

import torch
from original_image_reward import build

checkpoint, questions, answers = sys.argv[1:]
model = build(Path(checkpoint)).requires_grad_(False)
told = []
for image, prompts in torch.load(questions, weights_only=True):
    image = image.requires_grad_()
    tokens = model.blip.tokenizer(prompts, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    scores = model.score_gard(tokens.input_ids, tokens.attention_mask, image)
    (gradient,) = torch.autograd.grad(scores.sum(), image)
    told.append({"scores": scores.detach(), "gradient": gradient})
torch.save({"score_gard": told}, answers)
