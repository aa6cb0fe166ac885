"""One task of `better_model.py`: fine-tune the toy by one method on one reward from one seed, and ask the judge.

Settings are those of the configurations; only the length is the budget's, which counts the pictures that are drawn and
scored for training. Diffusion-DPO follows no reward. Its pairs are these pictures, drawn by the model before training
and ranked by the reward: of each caption the better half against the worse half, the best against the best of these.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from better_model_results import Budget, Judged, Result, Task
from torch import Tensor

from fergi_reward.calibration.by_hand import by_hand
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.devices import training_device
from fergi_reward.core.machine import machine
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.shown_pictures import read_pictures
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.faces.face import AU4
from fergi_reward.faces.predicted import TOWER, Predicted
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.faces.run import fit_predictor, summary
from fergi_reward.files.prompts import read_prompts
from fergi_reward.files.yaml_files import read_yaml
from fergi_reward.images import to_picture
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.toy.emoji import CALIBRATION, SCORERS, checkpoints, load_scorers
from fergi_reward.toy.emoji.evaluation import draw
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import HELD_OUT
from fergi_reward.toy.emoji.viewers import write_emoji_fergi
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.registry import find_trainer

CONFIGS = Path(__file__).parents[2] / "configs"
PROMPTS = "emoji"
# The scorer that alone tells most pairs of the calibration's viewers right.
ONE_SCORER = "pickscore"
BATCH = 64
# Seed of the pictures that are ranked for Diffusion-DPO, which must not have the noise of those that are judged.
PAIRS_SEED = 1_000_000
# The calibration's viewers are those of seed 0.
VIEWERS_SEED = 1


@dataclass(frozen=True)
class Method:
    """A trainer, its configuration, and how many pictures of the budget an epoch stands for."""

    trainer: str
    config: str
    per_epoch: int


METHODS: Mapping[str, Method] = {
    "ddpo": Method("ddpo", "ddpo_emoji", 256),
    "flow_grpo": Method("flow_grpo", "flow_grpo_emoji", 256),
    "nft": Method("nft", "nft_emoji", 256),
    "draft": Method("reward_backprop", "draft1_emoji", 64),
    # Ten updates of 64 pairs. Of 20, 40 and 120 updates for 1,536 pictures, 20 did best on seed 7 and 120 did harm.
    "diffusion_dpo": Method("diffusion_dpo", "diffusion_dpo_emoji", 768),
}


def perform(task: Task, budget: Budget, predictor: Path, folder: Path) -> Result:
    """Judge, train, judge.

    Args:
        task: What is trained.
        budget: How long.
        predictor: Folder of the reaction predictor, for the reward that has one.
        folder: An empty one for the run.
    """
    started, device = time.monotonic(), training_device()
    settings = read_yaml(CONFIGS / f"{METHODS[task.method].config}.yaml")
    reward = reward_of(task.reward, predictor).to(device)
    pipeline = load_pipeline(settings["model"]).to(device)
    before = judged(pipeline, reward, task.seed, budget)
    is_pairs = task.method == "diffusion_dpo"
    learned = ranked_pairs(pipeline, reward, task.seed, budget) if is_pairs else reward
    pipeline.load_lora_weights(train(task, budget, settings, learned, folder))
    after = judged(pipeline, reward, task.seed, budget)
    made_on = machine()["accelerator" if device.type == "cuda" else "processor"]
    return Result(task, budget, made_on, round(time.monotonic() - started, 1), before, after)


def reward_of(name: str, predictor: Path) -> CombinedReward:
    """The reward of a task.

    `one`: one scorer. `equal`: all three, standardised, with equal weights that sum up to those of the calibration, so
    that only their ratios differ. `calibrated`: by the toy's calibration. `predicted`: by the same with the AU4 valence
    that a predictor expects.
    """
    calibration, scorers = Calibration.load(CALIBRATION), load_scorers()
    if name == "one":
        return CombinedReward([scorer for scorer in scorers if scorer.name == ONE_SCORER], calibration)
    if name == "equal":
        total = sum(term.weight for term in calibration.fit_for(SCORERS).terms)
        return CombinedReward(scorers, by_hand(dict.fromkeys(SCORERS, total / len(SCORERS)), calibration))
    face = Predicted(ReactionPredictor.load(predictor)) if name == "predicted" else None
    return CombinedReward(scorers, calibration, face=face)


def judged(pipeline: Pipeline, reward: CombinedReward, seed: int, budget: Budget) -> Judged:
    """Several pictures of every held-out caption, with noises of the seed."""
    captions = [scene.caption for scene in HELD_OUT for _ in range(budget.noises)]
    pixels = draw(pipeline, captions, seed)
    verdict = judge(pixels, captions)
    right = (verdict.right_object & verdict.right_colour).int()
    psnr = [[round(value, 3) for value in row] for row in verdict.psnr.unflatten(0, (-1, budget.noises)).tolist()]
    total = reward.score(pixels, captions, batch_size=BATCH).total.mean().item()
    return Judged(psnr, right.unflatten(0, (-1, budget.noises)).tolist(), total)


def train(
    task: Task, budget: Budget, settings: Mapping[str, object], learned: CombinedReward | PairTable, folder: Path
) -> Path:
    """Train a new pipeline; returns the folder of the adapter."""
    method, trainer = METHODS[task.method], find_trainer(METHODS[task.method].trainer).target
    own = {field.name for field in fields(trainer.config_class)}
    epochs = max(1, budget.pictures // method.per_epoch)
    length = {"num_epochs": epochs, "save_freq": epochs, "judge_freq": epochs}
    nothing_drawn = {"grid_num_images": 0, "log_with": "none"}
    options = {name: value for name, value in settings.items() if name in own} | length | nothing_drawn
    config = trainer.config_class(**options | {"seed": task.seed, "output_dir": str(folder)})
    return trainer(config, learned, load_pipeline(str(settings["model"])), read_prompts(PROMPTS)).train()


def ranked_pairs(pipeline: Pipeline, reward: CombinedReward, seed: int, budget: Budget) -> PairTable:
    """The budget's pictures of the training captions, each in one pair."""
    prompts = read_prompts(PROMPTS)
    each = budget.pictures // len(prompts)
    captions = [prompt for prompt in prompts for _ in range(each)]
    pixels = draw(pipeline, captions, PAIRS_SEED + seed)
    totals = reward.score(pixels, captions, batch_size=BATCH).total.cpu()
    rows = []
    for prompt, drawn, scores in zip(prompts, pixels.split(each), totals.split(each), strict=True):
        rows += [
            {"caption": prompt, "jpg_0": to_picture(drawn[better]), "jpg_1": to_picture(drawn[worse]), "label_0": 1}
            for better, worse in halves(scores)
        ]
    return PairTable(rows, "the base's pictures, ranked by the reward")


def halves(scores: Tensor) -> Sequence[tuple[int, int]]:
    """Places of the better and of the worse half, both from their best on; of an odd number the middle is left out.

    >>> import torch
    >>> halves(torch.tensor([0.1, 0.5, 0.3, 0.9]))
    [(3, 2), (1, 0)]
    """
    order = scores.argsort(descending=True, stable=True).tolist()
    half = len(order) // 2
    return list(zip(order[:half], order[len(order) - half :], strict=True))


def fit(budget: Budget, viewers: Path) -> ReactionPredictor:
    """Simulate viewers in a folder, and fit the predictor on their faces, at the decay of the calibration."""
    counts = {"participants": budget.participants, "sessions": budget.sessions}
    write_emoji_fergi(viewers, load_scorers(), **counts, seed=VIEWERS_SEED)
    decay = Calibration.load(CALIBRATION).fit_for([*SCORERS, AU4]).decay or 0.0
    tower = PickScorer.from_pretrained(checkpoints()[TOWER])
    predictor = fit_predictor(read_fergi(viewers), read_pictures(viewers), tower, decay=decay, batch_size=128)
    print(summary(predictor))
    return predictor
