"""`fergi-reward train prompt_grpo`: TRL's GRPO for a language model that rewrites prompts."""

from dataclasses import dataclass
from typing import Literal

from fergi_reward.cli.command import Answer, Command, as_function
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.options import option
from fergi_reward.diffusion.options import RewardOptions

try:
    from trl import GRPOConfig
except ImportError as error:
    raise MissingDependencyError("trl", "training a rewriter of prompts", "train") from error


@dataclass(frozen=True, kw_only=True)
class RewriterOptions(RewardOptions):
    """Which language model rewrites which prompts, and how the rewritten ones are drawn."""

    prompts: str = option(
        "everyday",
        "Prompts as users write them: a text file with one per line, or a shipped list.",
        metavar="FILE|NAME",
    )
    rewriter: str = option("Qwen/Qwen2.5-0.5B-Instruct", "Chat model to train: a hub id or a folder.")
    instruction: str = option(
        "Rewrite the prompt for a text-to-image model so that the picture is beautiful and shows what was asked for. "
        "Answer with the new prompt only.",
        "The instruction to the language model before each prompt.",
    )
    rewriter_lora_rank: int = option(
        16, "Rank of the LoRA adapter of the language model; 0: train all its weights.", at_least=0
    )
    score_against: Literal["original", "completion"] = option("original", "Which prompt the picture is scored against.")
    renderings: int = option(1, "Pictures of each rewritten prompt; its reward is their mean.", at_least=1)
    render_steps: int = option(20, "Denoising steps of a picture.", at_least=1)
    render_guidance_scale: float = option(7.5, "Classifier-free guidance of a picture.")
    render_batch_size: int = option(8, "Pictures per batch, on each process.", at_least=1)


def train_rewriter(options: RewriterOptions, config: GRPOConfig) -> Answer | None:
    """Train a language model to rewrite prompts with GRPO, on the reward of the pictures that are drawn from them.

    The options of TRL's GRPOConfig are among the options.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOTrainer

    from fergi_reward.core.devices import training_device
    from fergi_reward.diffusion.load import load_pipeline
    from fergi_reward.diffusion.rewards import load_reward
    from fergi_reward.files.prompts import read_prompts
    from fergi_reward.prompt_reward import PromptReward

    prompts = read_prompts(options.prompts)
    reward = PromptReward(
        load_pipeline(options.model).to(training_device()),
        load_reward(options, offload=options.offload_scorers),
        score_against=options.score_against,
        renderings=options.renderings,
        seed=config.seed,
        batch_size=options.render_batch_size,
        num_inference_steps=options.render_steps,
        guidance_scale=options.render_guidance_scale,
    )
    dataset = Dataset.from_list([row(options.instruction, prompt) for prompt in prompts])
    rank = options.rewriter_lora_rank
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM") if rank else None
    try:
        trainer = GRPOTrainer(options.rewriter, reward, config, dataset, peft_config=lora)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FergiRewardError(f"cannot train the rewriter {options.rewriter!r} ({reason})") from error
    trainer.train(resume_from_checkpoint=config.resume_from_checkpoint)
    trainer.save_model(config.output_dir)
    if not trainer.accelerator.is_main_process:
        return None
    return Answer(f"the rewriter is in {config.output_dir}", {"weights": config.output_dir})


def row(instruction: str, prompt: str) -> dict[str, object]:
    """What TRL shows the language model, and what the picture is scored against."""
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": prompt}]
    return {"prompt": messages, "original_prompt": prompt}


prompt_grpo = as_function(
    Command(train_rewriter, (RewriterOptions, GRPOConfig), resumes=False), train_rewriter.__doc__ or "", "prompt_grpo"
)
