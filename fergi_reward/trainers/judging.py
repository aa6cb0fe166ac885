"""Held-out judges in a run: they see fixed images now and then, and the weights that they liked most are kept."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.fixed_pictures import FixedPictures
from fergi_reward.trainers.guards import JudgeWatch, judge_metrics, judge_pictures
from fergi_reward.trainers.identity import JUDGING
from fergi_reward.trainers.model import TrainedModel
from fergi_reward.trainers.processes import in_order
from fergi_reward.trainers.weights import copied, overwrite, swapped_in


class Judging:
    """The judges of a run.

    Args:
        judges: By name, rewards that are not trained on.
        reward: Scores the same images, so that both can be compared; None where no reward is trained on.
        config: The options.
        model: What is judged.
        pictures: Draws what they see.

    Attributes:
        watch: When the judges were happiest, and whether they have fallen since.
        best: The values of the trained weights of that time; none before the first evaluation.
    """

    def __init__(
        self,
        judges: Mapping[str, Reward],
        reward: Reward | None,
        config: TrainerConfig,
        model: TrainedModel,
        pictures: FixedPictures,
    ) -> None:
        self.judges, self._reward, self._config = judges, reward, config
        self._model, self._pictures = model, pictures
        self.watch = JudgeWatch(config.judge_patience, config.judge_tolerance)
        self.best: list[Tensor] = []

    @property
    def must_stop(self) -> bool:
        """Whether the judges have fallen, in a run that stops then."""
        return self._config.stop_when_judge_falls and self.watch.fallen

    def are_due(self, finished: int) -> bool:
        """Whether they are asked after so many epochs: before training, every `judge_freq` epochs and at the end."""
        return bool(self.judges) and (finished == self._config.num_epochs or finished % self._config.judge_freq == 0)

    def ask(self, finished: int, prompts: Sequence[str]) -> tuple[dict[str, float], bool]:
        """Show them the images that the model draws; returns their metrics, and whether they were never happier.

        Args:
            finished: Epochs.
            prompts: The run's prompts; the first of them are drawn.
        """
        count = self._config.judge_num_images
        shown = (list(prompts) * math.ceil(count / len(prompts)))[:count]
        mine = [
            (start, judge_pictures(self.judges, self._reward, [pixels], shown[start : start + len(pixels)]))
            for start, pixels in self._pictures.mine("judge", shown)
        ]
        parts = in_order(mine)
        scores = {name: [score for part in parts for score in part[name]] for name in parts[0]}
        is_best = self.watch.update(finished, {name: scores[name] for name in self.judges})
        if is_best:
            self.best = copied(self._model.parameters)
        return judge_metrics(scores), is_best

    @contextmanager
    def best_swapped_in(self) -> Iterator[None]:
        """The model with the weights that the judges liked most, inside the block."""
        with swapped_in(self._model.parameters, self.best):
            yield

    def go_back_to_best(self) -> None:
        """Give the model the weights that the judges liked most."""
        overwrite(self._model.parameters, self.best)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered."""
        return {"watch": self.watch.state_dict(), "best": self.best, "drawn_by": self._drawn_by}

    def load_state_dict(self, state: Mapping[str, Any], changed: Set[str]) -> bool:
        """Remember what others remembered; with other images or judges than theirs, nothing: scores do not compare.

        Returns:
            Whether there was something that is not remembered.
        """
        if not state["best"]:
            return False
        same_number = len(state["watch"]["best"]) == self._config.judge_num_images
        same_pictures = same_number and state.get("drawn_by", self._drawn_by) == self._drawn_by
        if not same_pictures or JUDGING & changed:
            return True
        self.watch.load_state_dict(state["watch"])
        self.best = copied(self._model.parameters)
        overwrite(self.best, state["best"])
        return False

    @property
    def _drawn_by(self) -> list[float | str]:
        """The options that make other images of the same prompts; earlier checkpoints do not hold them."""
        config = self._config
        drawing = [config.seed, config.picture_num_steps, config.picture_eta, config.sample_guidance_scale]
        return [*drawing, config.mixed_precision]
