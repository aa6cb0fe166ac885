"""A reward for language models that rewrite prompts: `GRPOTrainer(reward_funcs=PromptReward(...))` of TRL 1.x.

The model is asked for a better wording of what a user wants drawn; each answer is drawn, and the picture is rewarded.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, evaluate
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import seed_of
from fergi_reward.diffusion.rendering import render

TOTAL = "total"
# Plain text, or the messages of a conversation.
Text = str | Sequence[Mapping[str, Any]]


class PromptReward:
    """Draws each completion with a pipeline and returns the reward of the picture.

    A dataset for it has, in addition to TRL's column `prompt` with the instruction to the language model, a
    column with the prompt that the user wrote: a picture is scored against that one, since a rewriter that is scored
    against its own words soon writes what is easy to draw.

    Within a training step all completions are drawn from the same noise, so that their wording is what differs; the
    next step draws other noise.

    Example::

        from diffusers import DiffusionPipeline
        from trl import GRPOTrainer
        from fergi_reward import CombinedReward
        from fergi_reward.prompt_reward import PromptReward

        pipe = DiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5").to("cuda")
        reward = PromptReward(pipe, CombinedReward.from_pretrained(device="cuda"), num_inference_steps=20)
        trainer = GRPOTrainer("Qwen/Qwen2.5-0.5B-Instruct", reward_funcs=reward, train_dataset=dataset)

    Args:
        pipeline: Any text-to-image pipeline of diffusers.
        reward: Any callable from pixels (B, 3, H, W) in [0, 1] and prompts to rewards (B,), higher being better.
        score_against: `original`, the user's prompt, or `completion`, the rewritten one.
        original_column: The dataset's column of the user's prompts.
        renderings: Pictures per completion; its reward is their mean.
        seed: Seed of the noise.
        batch_size: Pictures at a time.
        call: Arguments of the pipeline's call, such as `num_inference_steps` and `guidance_scale`.
    """

    def __init__(
        self,
        pipeline: Any,  # noqa: ANN401 - the pipelines of diffusers have no useful common type
        reward: Reward,
        *,
        score_against: Literal["original", "completion"] = "original",
        original_column: str = "original_prompt",
        renderings: int = 1,
        seed: int = 0,
        batch_size: int = 8,
        **call: Any,  # noqa: ANN401
    ) -> None:
        if score_against not in ("original", "completion"):
            raise FergiRewardError(f"score_against is {score_against!r}, must be 'original' or 'completion'")
        if renderings < 1 or batch_size < 1:
            raise FergiRewardError(f"renderings is {renderings} and batch_size {batch_size}: both must be at least 1")
        self.__name__ = "prompt_reward"  # TRL logs by it
        self.pipeline, self.reward, self.call = pipeline, reward, call
        self.score_against, self.original_column = score_against, original_column
        self.renderings, self.seed, self.batch_size = renderings, seed, batch_size
        self._has_drawn, self._last_failure = False, ""

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        *,
        trainer_state: Any = None,  # noqa: ANN401 - TrainerState of transformers
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,  # noqa: ANN401
    ) -> list[float | None]:
        """Reward a batch of B completions.

        Args:
            prompts: B instructions to the language model, which are not looked at.
            completions: B answers, plain or as messages.
            trainer_state: Says which training step it is, on which the noise depends.
            log_metric: Gets the mean of each of the reward's terms, and the share of completions without a picture.
            log_extra: Gets each completion's terms, for TRL's table of completions.
            columns: The dataset's other columns, B values each.

        Returns:
            B rewards; None, with a warning that says why, where a completion is empty or could not be drawn. TRL then
            learns nothing from it.

        Raises:
            FergiRewardError: The column of the user's prompts is missing, a reward is not finite, or no completion of
                the first batch could be drawn, so that the next would not either.
        """
        texts = [_text(completion) for completion in completions]
        wanted = self._originals(columns) if self.score_against == "original" else texts
        rows = [row for row, text in enumerate(texts) if text]
        if empty := len(texts) - len(rows):
            warnings.warn(f"{empty} of {len(texts)} completions are empty and get no reward", stacklevel=2)
        step = trainer_state.global_step if trainer_state else 0
        found: list[list[dict[str, float]]] = [[] for _ in texts]
        for row, scores in self._scored(rows, texts, wanted, step):
            found[row].append(scores)
        means = [_mean(scores) for scores in found]
        self._has_drawn = self._has_drawn or any(means)
        if rows and not self._has_drawn:
            raise FergiRewardError(
                f"none of the first {len(rows)} completions could be drawn ({self._last_failure}): without a reward "
                "nothing is learned, so look at the pipeline first"
            )
        self._log(means, log_metric, log_extra)
        return [mean[TOTAL] if mean else None for mean in means]

    def _originals(self, columns: Mapping[str, Any]) -> list[str]:
        if self.original_column not in columns:
            raise FergiRewardError(
                f"the dataset has no column {self.original_column!r} with the user's prompts (it has "
                f"{', '.join(columns) or 'no other'}): add it, or name it by original_column"
            )
        return list(columns[self.original_column])

    @torch.no_grad()
    def _scored(
        self, rows: Sequence[int], texts: Sequence[str], wanted: Sequence[str], step: int
    ) -> Iterator[tuple[int, dict[str, float]]]:
        """The scores of each picture that could be drawn, with the row that it belongs to."""
        seeds = [seed_of(self.seed, "rendering", step, number) for number in range(self.renderings)]
        jobs = [(row, seed) for row in rows for seed in seeds]
        for start in range(0, len(jobs), self.batch_size):
            batch = jobs[start : start + self.batch_size]
            pictures = self._drawn([texts[row] for row, _ in batch], [seed for _, seed in batch])
            drawn = [(row, picture) for (row, _), picture in zip(batch, pictures, strict=True) if picture is not None]
            if drawn:
                pixels = torch.stack([picture for _, picture in drawn])
                rewards = evaluate(self.reward, pixels, [wanted[row] for row, _ in drawn])
                columns = {name: values.tolist() for name, values in {**rewards.terms, TOTAL: rewards.total}.items()}
                for place, (row, _) in enumerate(drawn):
                    yield row, {name: values[place] for name, values in columns.items()}

    def _drawn(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Tensor | None]:
        """The pictures; None for one that the pipeline cannot draw, which must not cost the others theirs."""
        try:
            pictures = render(self.pipeline, texts, seeds, **self.call)
        except FergiRewardError:
            raise
        except Exception as error:  # whatever a pipeline raises; the warning says it, and training continues
            if len(texts) > 1:
                return [self._drawn([text], [seed])[0] for text, seed in zip(texts, seeds, strict=True)]
            self._last_failure = repr(error)
            warnings.warn(f"cannot draw {texts[0]!r}, which gets no reward: {error!r}", stacklevel=2)
            return [None]
        finite = pictures.isfinite().flatten(1).all(1).tolist()
        for text, good in zip(texts, finite, strict=True):
            if not good:
                self._last_failure = "the pictures are not finite"
                warnings.warn(f"the picture of {text!r} is not finite, and gets no reward", stacklevel=2)
        return [picture if good else None for picture, good in zip(pictures, finite, strict=True)]

    def _log(
        self,
        means: Sequence[dict[str, float] | None],
        log_metric: Callable[[str, float], None] | None,
        log_extra: Callable[[str, list[Any]], None] | None,
    ) -> None:
        drawn = [mean for mean in means if mean]
        for name in (name for name in (drawn[0] if drawn else {}) if name != TOTAL):
            if log_metric:
                log_metric(f"{self.__name__}/{name}", sum(mean[name] for mean in drawn) / len(drawn))
            if log_extra:
                log_extra(name, [mean[name] if mean else None for mean in means])
        if log_metric:
            log_metric(f"{self.__name__}/not_drawn", 1 - len(drawn) / len(means))


def _text(completion: Text) -> str:
    """What the language model wrote: its last message, whose content may come in parts."""
    content = completion if isinstance(completion, str) else completion[-1]["content"] if completion else ""
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return content.strip()


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """Name by name, over a completion's pictures; None where there is none."""
    return {name: sum(one[name] for one in scores) / len(scores) for name in scores[0]} if scores else None
