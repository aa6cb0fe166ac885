"""`fergi-reward train NAME`: a command for each trainer of the registry."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from cyclopts import App

from fergi_reward.cli.command import Answer, Command, as_function
from fergi_reward.core.registry import is_path
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions
from fergi_reward.trainers.registry import TRAINERS, find_options, find_trainer

# One line each: to print them, no trainer is imported.
HELP = {
    "ddpo": "DDPO: policy gradient on the reward.",
    "flow_grpo": "Flow-GRPO, for flow-matching models.",
    "nft": "DiffusionNFT, for flow-matching models.",
    "reward_backprop": "The reward's gradient through the last steps: DRaFT, AlignProp, ReFL.",
    "diffusion_dpo": "Diffusion-DPO, on preference pairs.",
    "prompt_grpo": "GRPO of TRL for a language model that rewrites prompts.",
}
OPTIONS = {"reward": RewardTrainingOptions, "pairs": PairTrainingOptions}

app = App(
    name="train", help="Fine-tune a model; on several GPUs by `torchrun --nproc-per-node N -m fergi_reward train`."
)
app.command("fergi_reward.cli.prompt_grpo:prompt_grpo", name="prompt_grpo", help=HELP["prompt_grpo"])


def add_trainers(words: Sequence[str]) -> None:
    """Add a command for each trainer that the registry knows now.

    Args:
        words: What was typed after `train`: it may be the path of a trainer.
    """
    for name in [name for name in app if name not in ("prompt_grpo", *app.help_flags, *app.version_flags)]:
        del app[name]
    for name in TRAINERS.names():
        app.command(f"{__name__}:{name}", name=name, help=HELP.get(name, "A trainer of another package."))
    for path in filter(is_path, words):
        app.command(__getattr__(path), name=path)


def __getattr__(name: str) -> Callable[..., None]:
    """The command of a trainer, which is imported now."""
    if name not in TRAINERS.names() and not is_path(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    learns_from, config_class = find_options(name)

    def run(options: RewardTrainingOptions | PairTrainingOptions, config: TrainerConfig) -> Answer | None:
        from fergi_reward.trainers.program import train

        done = train(find_trainer(name), options, config)
        if int(os.environ.get("RANK", "0")):  # the first process prints it
            return None
        if not isinstance(done, Path):
            return Answer(str(done), asdict(done))
        return Answer(f"trained weights: {done} (README.md there says how to load them)", {"weights": str(done)})

    made = Command(run, (OPTIONS[learns_from], config_class), resumes=False)
    help = HELP.get(name) or find_trainer(name).target.__doc__ or ""
    return as_function(made, help, name)
