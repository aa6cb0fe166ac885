"""A `RewardGuard` in a Trainer of transformers or TRL."""

from typing import Any

from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from fergi_reward.adapters.reward_guard import Draw, RewardGuard, Verdict


class GuardCallback(TrainerCallback):
    """Checks before the first step and every so many steps; ends the training when the judges have fallen.

    It prints why it ends. The metrics go into the trainer's `log_history`, once per step. A best check asks for a
    checkpoint. A training that is resumed knows nothing of earlier checks, and checks again first, unless the guard's
    `load_state_dict` is called before.

    Args:
        guard: The guard; with `parameters`, the weights at the end are those that the judges liked most.
        draw: As for `RewardGuard.check`.
        every: Steps between two checks.

    Attributes:
        verdicts: All so far.
    """

    def __init__(self, guard: RewardGuard, draw: Draw, every: int) -> None:
        self.guard, self.draw, self.every = guard, draw, every
        self.verdicts: list[Verdict] = []

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """The first check; none where a training is resumed whose checks the guard remembers."""
        if not (state.global_step and self.guard.has_checked):
            self._check(state)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """A check, where it is due."""
        if state.global_step % self.every:
            return
        verdict = self._check(state)
        control.should_save |= verdict.is_best
        control.should_training_stop |= verdict.must_stop
        if verdict.must_stop and state.is_world_process_zero:
            print(f"step {verdict.step}: {verdict.reason}")

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Back to the best weights, if they are kept."""
        if self.guard.keeps_weights:
            self.guard.restore_best()

    def _check(self, state: TrainerState) -> Verdict:
        verdict = self.guard.check(state.global_step, self.draw)
        self.verdicts.append(verdict)
        found = {"step": state.global_step, **verdict.metrics}
        # A resumed training has those of its checkpoint.
        state.log_history = [line for line in state.log_history if not _same_check(line, found)] + [found]
        return verdict


def _same_check(line: dict[str, Any], found: dict[str, Any]) -> bool:
    return line.get("step") == found["step"] and line.keys() == found.keys()
