"""Make the embedded world's three scorers: small models of the real architectures, trained to prefer better pictures.

OMP_NUM_THREADS=1 python training/pretrain_emoji_scorers.py

Each learns which caption belongs to a picture, and sees faults of its own: together they know more than each. Run it
after training/pretrain_emoji.py, some of whose model's pictures it shows them.
"""

import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from tqdm import tqdm

from fergi_reward.files.atomic import write_json, write_text
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.hps import HPSv2Scorer
from fergi_reward.scorers.image_reward import (
    ImageRewardScorer,
    TextSizes,
    VisionSizes,
    bert_tokenizer,
    official_key,
)
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy.emoji import load_pipeline
from fergi_reward.toy.emoji.evaluation import draw
from fergi_reward.toy.emoji.faults import FAULTS, with_faults
from fergi_reward.toy.emoji.pictures import HELD_OUT, SEEN, SIDE, Scene, compose_anywhere, draw_scenes
from fergi_reward.toy.emoji.vocabulary import MAX_TOKENS, WORDS, emoji_tokenizer
from fergi_reward.toy.tiny import seeded

DATA = Path("fergi_reward/toy/emoji/data")
BATCH = 64
CHOICES = 8  # captions that a picture's own one is chosen from
PATCH, WIDTH, LAYERS, HEADS, TEXT_LAYERS = 4, 64, 3, 4, 2
HPS_TEXT_WIDTH = 32  # of 49,408 embeddings
LEARNING_RATE = 1e-3
REAL, SPOILT, STRENGTHS = 0.5, 0.3, (0.2, 1.0)
JUDGED, JUDGED_AT = 128, 0.6
POOL = 1024
# Beside the faults: being drawn by the model, whose shapes are not quite right, and showing another scene.
DRAWN, OTHER = "drawn", "other"
KINDS = (*FAULTS, DRAWN, OTHER)


@dataclass(frozen=True)
class Recipe:
    """How one scorer is made.

    Attributes:
        build: The untrained scorer.
        save: Writes it in the hub's layout.
        sees: What it learns to dislike, of KINDS; to the faults that are not here it learns to be indifferent, since
            fine-tuning would soon find what a scorer likes by accident.
        scale: What turns a difference of its scores into log-odds.
    """

    build: Callable[[], TowerScorer]
    save: Callable[[Any, Path], None]
    sees: tuple[str, ...]
    scale: float


@dataclass(frozen=True)
class Pool:
    """Pictures that the world's model drew, and the same scenes as it would draw them at best.

    Attributes:
        scenes: N of them.
        drawn: (N, 3, 32, 32) in [0, 1].
        ideal: (N, 3, 32, 32), real pictures that went through its autoencoder.
    """

    scenes: list[Scene]
    drawn: Tensor
    ideal: Tensor


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=DATA, show_default=True, help="A folder per scorer.")
@click.option("--steps", type=click.IntRange(min=1), default=600, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, steps: int, seed: int) -> None:
    """Train the scorers one after the other, save each and say what it sees."""
    pool = draw_pool(SEEN, POOL, seed)
    for name, recipe in RECIPES.items():
        with seeded(seed):
            scorer = recipe.build()
            train(scorer, recipe, pool, steps, torch.Generator().manual_seed(seed))
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
        recipe.save(scorer.half(), out / name)
        figures = judge_scorer(load_scorer(name, out / name), draw_pool(HELD_OUT, JUDGED, seed + 1), seed + 1)
        write_json(out / name / "made_by.json", {"command": shlex.join(["python", *sys.argv]), "seed": seed} | figures)
        click.echo(f"a toy, {out / name}: {figures}")


@torch.no_grad()
def draw_pool(scenes: Sequence[Scene], count: int, seed: int) -> Pool:
    """Let the model draw some of the scenes."""
    draws = torch.Generator().manual_seed(seed)
    wanted = draw_scenes(scenes, count, draws)
    pipeline = load_pipeline()
    latents = pipeline.vae.encode(compose_anywhere(wanted, draws) * 2 - 1).latent_dist.mean
    ideal = (pipeline.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    return Pool(wanted, draw(pipeline, [scene.caption for scene in wanted], seed), ideal)


def train(scorer: TowerScorer, recipe: Recipe, pool: Pool, steps: int, draws: torch.Generator) -> None:
    """Minimise the contrastive and the Bradley-Terry loss together."""
    optimizer = torch.optim.AdamW(scorer.train().parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for _ in (bar := tqdm(range(steps), desc=scorer.name, unit="step")):
        rows = torch.randint(len(pool.scenes), (BATCH,), generator=draws)
        scenes = [pool.scenes[row] for row in rows.tolist()]
        better, worse, kinds = draw_pair(pool, rows, recipe.sees, draws)
        texts = scorer.encode_prompts([scene.caption for scene in scenes])
        images = scorer.encode_images(scorer.transform(torch.cat([better, worse])))
        scores = torch.stack([scorer.compare(images[:BATCH], texts.roll(-shift, 0)) for shift in range(CHOICES)], 1)
        choice = cross_entropy(recipe.scale * hide_twins(scores, scenes), torch.zeros(BATCH, dtype=torch.long))
        log_odds = recipe.scale * (scores[:, 0] - scorer.compare(images[BATCH:], texts))
        sees = torch.isin(kinds, torch.tensor([KINDS.index(kind) for kind in recipe.sees]))
        preference = binary_cross_entropy_with_logits(log_odds, torch.where(sees, 1.0, 0.5))
        (choice + preference).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        bar.set_postfix(choice=f"{choice.item():.3f}", preference=f"{preference.item():.3f}")
    scorer.eval()


def draw_pair(pool: Pool, rows: Tensor, sees: tuple[str, ...], draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Better and worse pictures of scenes of the pool, and by which of KINDS the second is worse.

    Half are real and half drawn by the model, and any may have a fault; the worse has one more, or is of what the
    scorer must see in addition to the faults.
    """
    scenes = [pool.scenes[row] for row in rows.tolist()]
    strength = torch.rand(BATCH, generator=draws) * (torch.rand(BATCH, generator=draws) < SPOILT)
    real = (torch.rand(BATCH, 1, 1, 1, generator=draws) < REAL) * 1.0
    pictures = torch.lerp(pool.drawn[rows], compose_anywhere(scenes, draws), real)
    better = with_faults(pictures, strength, draw_kinds(FAULTS, draws), draws)
    low, high = STRENGTHS
    kinds = draw_kinds([*FAULTS, *sees], draws)
    worse = with_faults(better, low + (high - low) * torch.rand(BATCH, generator=draws), kinds, draws)
    drawn, other = kinds == KINDS.index(DRAWN), kinds == KINDS.index(OTHER)
    better[drawn], worse[drawn] = pool.ideal[rows[drawn]], pool.drawn[rows[drawn]]
    worse[other] = compose_anywhere(draw_scenes(SEEN, int(other.sum()), draws), draws)
    return better, worse, kinds


def draw_kinds(names: Iterable[str], draws: torch.Generator) -> Tensor:
    """(BATCH,) numbers of some of KINDS."""
    numbers = torch.tensor([KINDS.index(name) for name in names])
    return numbers[torch.randint(len(numbers), (BATCH,), generator=draws)]


def hide_twins(scores: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """Scores (B, CHOICES) of each picture with its own and the following captions, without those equal to its own."""
    twin = [
        [shift > 0 and scenes[(row + shift) % len(scenes)] == scene for shift in range(CHOICES)]
        for row, scene in enumerate(scenes)
    ]
    return scores.masked_fill(torch.tensor(twin), -torch.inf)


def judge_scorer(scorer: LoadedScorer, pool: Pool, seed: int) -> dict[str, float]:
    """On held-out scenes: how often the own caption beats another, and the clean picture each fault of strength 0.6."""
    draws = torch.Generator().manual_seed(seed)
    captions = [scene.caption for scene in pool.scenes]
    others = [scene.caption for scene in draw_scenes([*reversed(pool.scenes)], len(captions), draws)]
    different = torch.tensor([caption != other for caption, other in zip(captions, others, strict=True)])
    clean = compose_anywhere(pool.scenes, draws)
    own = scorer.score(clean, captions)
    figures = {"caption": (own > scorer.score(clean, others))[different].float().mean().item()}
    for number, name in enumerate(FAULTS):
        strength, kinds = torch.full((len(clean),), JUDGED_AT), torch.full((len(clean),), number)
        spoilt = scorer.score(with_faults(clean, strength, kinds, draws), captions)
        figures[name] = (own > spoilt).float().mean().item()
    drawn = scorer.score(pool.ideal, captions) > scorer.score(pool.drawn, captions)
    return {name: round(value, 4) for name, value in (figures | {DRAWN: drawn.float().mean().item()}).items()}


def build_pickscore() -> PickScorer:
    """CLIP as transformers has it, with the small vocabulary."""
    from transformers import CLIPConfig

    tokenizer = emoji_tokenizer()
    tower = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS, "hidden_act": "gelu"}
    # As the published configuration says: transformers then takes the largest token for the end of the text.
    ends = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id, "eos_token_id": 2}
    words = {"vocab_size": len(tokenizer), "max_position_embeddings": MAX_TOKENS}
    text = tower | ends | words | {"num_hidden_layers": TEXT_LAYERS}
    vision = tower | {"num_hidden_layers": LAYERS, "image_size": SIDE, "patch_size": PATCH}
    return PickScorer(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH), tokenizer)


def save_pickscore(scorer: PickScorer, folder: Path) -> None:
    """config.json, model.safetensors and the tokenizer in processor/."""
    scorer.model.save_pretrained(folder)
    scorer.tokenizer.save_pretrained(folder / "processor")


HPS_CONFIG = {
    "embed_dim": WIDTH,
    "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "head_width": 16, "patch_size": PATCH},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": HPS_TEXT_WIDTH, "heads": 2, "layers": TEXT_LAYERS},
}


def save_hps(scorer: HPSv2Scorer, folder: Path) -> None:
    """open_clip_config.json and HPS_v2_compressed.pt under open_clip's names."""
    official = {"image_projection": "visual.proj", "text_projection": "text_projection"}
    weights = {official.get(key, key.removeprefix("model.")): value for key, value in scorer.state_dict().items()}
    torch.save({"state_dict": weights}, folder / "HPS_v2_compressed.pt")
    write_json(folder / "open_clip_config.json", HPS_CONFIG)


IMAGE_REWARD_VISION = {"image_size": SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": LAYERS, "num_heads": HEADS}
IMAGE_REWARD_TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": TEXT_LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 40,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,"
VOCABULARY = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *WORDS[1:],
)


def build_image_reward() -> ImageRewardScorer:
    """BLIP, with the captions' words and letters as its vocabulary."""
    tokenizer = bert_tokenizer(VOCABULARY)
    sizes = TextSizes(len(tokenizer), **IMAGE_REWARD_TEXT)
    return ImageRewardScorer(VisionSizes(**IMAGE_REWARD_VISION), sizes, tokenizer)


def save_image_reward(scorer: ImageRewardScorer, folder: Path) -> None:
    """ImageReward.pt under the official names, the sizes of both towers, and the vocabulary."""
    weights = {official_key(key): value for key, value in scorer.state_dict().items()}
    torch.save(weights, folder / "ImageReward.pt")
    write_json(folder / "med_config.json", {"vocab_size": len(scorer.tokenizer)} | IMAGE_REWARD_TEXT)
    write_json(folder / "vision_config.json", IMAGE_REWARD_VISION)
    write_text(folder / "vocab.txt", "\n".join(VOCABULARY) + "\n")


RECIPES = {
    "pickscore": Recipe(build_pickscore, save_pickscore, ("faded", "garish", "blotched", "tinted"), 1.0),
    "hps_v2": Recipe(lambda: HPSv2Scorer(HPS_CONFIG), save_hps, ("blurred", "torn", DRAWN), 20.0),
    "image_reward": Recipe(build_image_reward, save_image_reward, ("blotched", "torn", DRAWN, OTHER), 10.0),
}

if __name__ == "__main__":
    main()
