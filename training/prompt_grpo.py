"""Train a language model to rewrite prompts with GRPO, on the calibrated reward of the pictures that come of them.

accelerate launch training/prompt_grpo.py --config configs/prompt_grpo_qwen_sd15.yaml

Options beside `--config` override the file's; `--help` explains them all. Those of TRL's GRPOConfig are among them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.cli.arguments import one_sentence_for_mistakes, parse_arguments
from fergi_reward.cli.training_program import RewardArguments, load_reward
from fergi_reward.core.devices import training_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import for_terminal
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.files.prompts import read_prompts
from fergi_reward.prompt_reward import PromptReward
from fergi_reward.trainers.config import option


@dataclass(frozen=True)
class PromptArguments(RewardArguments):
    """Which language model rewrites which prompts, and how the rewritten ones are drawn."""

    prompts: str = option("configs/prompts/everyday.txt", "Text file of prompts as users write them, one a line.")
    rewriter: str = option("Qwen/Qwen2.5-0.5B-Instruct", "Chat model to train: a hub id or a folder.")
    instruction: str = option(
        "Rewrite the prompt for a text-to-image model so that the picture is beautiful and shows what was asked for. "
        "Answer with the new prompt only.",
        "What the language model is told before each prompt.",
    )
    rewriter_lora_rank: int = option(16, "Rank of the LoRA adapter of the language model; 0: train all its weights.")
    score_against: Literal["original", "completion"] = option("original", "Which prompt the picture is scored against.")
    renderings: int = option(1, "Pictures of each rewritten prompt; its reward is their mean.")
    render_steps: int = option(20, "Denoising steps of a picture.")
    render_guidance_scale: float = option(7.5, "Classifier-free guidance of a picture.")
    render_batch_size: int = option(8, "Pictures at a time, on each process.")

    def problems(self) -> list[str]:
        """Values out of their ranges."""
        counts = ["renderings", "render_steps", "render_batch_size"]
        return [*super().problems(), *self.below(1, counts), *self.below(0, ["rewriter_lora_rank"])]


def main(arguments: Sequence[str]) -> None:
    """Build a reward, a dataset, a trainer, and run it."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    script, config = parse_arguments([PromptArguments, GRPOConfig], arguments)
    prompts = read_prompts(Path(script.prompts))
    reward = PromptReward(
        load_pipeline(script.model).to(training_device()),
        load_reward(script, offload=script.offload_scorers),
        score_against=script.score_against,
        renderings=script.renderings,
        seed=config.seed,
        batch_size=script.render_batch_size,
        num_inference_steps=script.render_steps,
        guidance_scale=script.render_guidance_scale,
    )
    dataset = Dataset.from_list([row(script.instruction, prompt) for prompt in prompts])
    rank = script.rewriter_lora_rank
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM") if rank else None
    try:
        trainer = GRPOTrainer(script.rewriter, reward, config, dataset, peft_config=lora)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FergiRewardError(f"cannot train the rewriter {script.rewriter!r} ({reason})") from error
    trainer.train(resume_from_checkpoint=config.resume_from_checkpoint)
    trainer.save_model(config.output_dir)
    trainer.accelerator.print(for_terminal(f"the rewriter is in {config.output_dir}"))


def row(instruction: str, prompt: str) -> dict[str, object]:
    """What TRL shows the language model, and what the picture is scored against."""
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": prompt}]
    return {"prompt": messages, "original_prompt": prompt}


if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
