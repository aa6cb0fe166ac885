"""How much of an epoch of DDPO goes to its network, VAE and scorer, and how much to all else."""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import torch
from measure import Row, by_turns, timed
from official_models import official_pipeline, official_scorer
from official_sizes import PROMPTS
from torch import Tensor

from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer

MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
IMAGES, STEPS = 8, 20


def epoch_row(rounds: int) -> Row:
    """Epochs of DDPO on Stable Diffusion 1.5 at 512, and the same calls of its models in a bare loop, by turns."""
    with tempfile.TemporaryDirectory() as folder:
        scorer = official_scorer("pickscore", "cuda")
        for tower in scorer.towers():
            tower.to(torch.bfloat16)
        trainer = _trainer(scorer, Path(folder))
        torch.cuda.reset_peak_memory_stats()
        numbers = count()
        works = {"whole": lambda: trainer.epoch(next(numbers)), "bare": partial(_bare, trainer, scorer)}
        tasks = {name: timed(work, _clock) for name, work in works.items()}
        seconds, models = (median(found[1:]) for found in by_turns(tasks, rounds + 1, "epochs").values())
        peak = torch.cuda.max_memory_allocated() / 1e9
    return {"images/s": IMAGES / seconds, "s": seconds, "models s": models, "elsewhere": 1 - models / seconds} | {
        "peak GB": peak
    }


def _trainer(scorer: TowerScorer, folder: Path) -> DDPOTrainer:
    config = DDPOConfig(
        output_dir=str(folder / "run"),
        mixed_precision="bf16",
        sample_num_steps=STEPS,
        sample_batch_size=IMAGES,
        sample_num_batches_per_epoch=1,
        train_batch_size=IMAGES,
        grid_num_images=0,
        log_with="none",
    )
    pipeline = official_pipeline(MODEL, "cuda", torch.bfloat16)
    return DDPOTrainer(config, lambda pixels, prompts: scorer(pixels, prompts), pipeline, PROMPTS)


def _bare(trainer: DDPOTrainer, scorer: TowerScorer) -> None:
    """What an epoch calls of its models: guided predictions with and without gradients, the decoder, the scorer."""
    prompts: Sequence[str] = [PROMPTS[row % len(PROMPTS)] for row in range(IMAGES)]
    with torch.no_grad():
        texts = trainer.model.family.encode_prompts([*prompts, *prompts])
        latents = torch.randn(2 * IMAGES, *trainer.model.family.latent_shape, device="cuda")
        for step in range(STEPS):
            _predict(trainer, latents, texts, step)
        scorer(trainer.model.family.decode(latents[:IMAGES]), prompts)
    for step in range(STEPS):
        _predict(trainer, latents, texts, step).float().pow(2).mean().backward()
    for parameter in trainer.model.parameters:
        parameter.grad = None


def _predict(trainer: DDPOTrainer, latents: Tensor, texts: Conditioning, step: int) -> Tensor:
    time_of_step = trainer.model.schedule.timesteps[torch.full((2 * IMAGES,), step, device="cuda")]
    return trainer.model.network(latents, time_of_step, texts)


def _clock() -> float:
    """When the card is done with all that it was asked."""
    torch.cuda.synchronize()
    return time.perf_counter()
