"""Updates of the trained weights: AdamW or Adafactor on the mean gradient of all processes, and a moving average."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.ema import EMA
from fergi_reward.trainers.sharding import gathered, is_shard, shard_like
from fergi_reward.trainers.weights import copied

if TYPE_CHECKING:
    from accelerate import Accelerator

# Numbers exchanged at a time: an adapter goes in one piece, and a whole network does not need twice its memory.
BUCKET = 50_000_000


class Optimisation:
    """The optimiser of a run.

    Args:
        accelerator: Averages gradients over the run's processes.
        parameters: What is trained.
        config: The options.

    Attributes:
        updates: Begun in this process: while it stays, so do the weights.
    """

    def __init__(self, accelerator: "Accelerator", parameters: Sequence[nn.Parameter], config: TrainerConfig) -> None:
        self.accelerator, self.parameters = accelerator, parameters
        self.max_grad_norm, self.updates = config.train_max_grad_norm, 0
        self._rate, self._warmup = config.train_learning_rate, config.train_warmup_steps
        self._options = _OPTIONS[config.train_optimizer](config)
        self.optimizer = accelerator.prepare(_optimizer(config.train_optimizer)(parameters, **self._options))
        self.ema = EMA(parameters, config.ema_decay, config.ema_freq) if config.ema_decay else None

    def step(self) -> Tensor:
        """Average the gradients over the processes, shorten them, and update; returns their norm.

        One exchange an update costs less than wrapping the network would, and leaves it free to be called any number
        of times before the backward pass.
        """
        self.updates += 1
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if self.accelerator.num_processes > 1 and not is_shard(self.parameters[0]):  # shards have the mean already
            for bucket in _buckets(gradients):
                self._average(bucket)
        norm = gathered(self.accelerator.clip_grad_norm_(self.parameters, self.max_grad_norm))
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * warmed_up(self._done, self._warmup)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update()
        return norm

    @property
    def is_finite(self) -> bool:
        """Whether all that this process keeps of the trained weights are finite numbers."""
        kept = [value.to_local() if hasattr(value, "to_local") else value for value in self.parameters]
        return bool(torch.stack([value.isfinite().all() for value in kept]).all())

    @property
    def _done(self) -> int:
        """Updates of the whole run, by the optimiser's own count: without those that fp16 skipped."""
        return max((int(state["step"]) for state in self.optimizer.state.values()), default=0) if self._warmup else 0

    def averaged(self) -> AbstractContextManager[None]:
        """The weights in the form that users load, inside the block: their average, if there is one."""
        return self.ema.swapped_in() if self.ema else nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """What an update depends on besides the weights."""
        scaler, optimizer = self.accelerator.scaler, self.optimizer.state_dict()
        return {
            "optimizer": optimizer,
            "moments_of": sorted(optimizer["state"]),
            "scaler": scaler.state_dict() if scaler else None,
            "ema": self.ema.state_dict() if self.ema else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` returned; the optimiser's options are those of this run, not the saved ones.

        Raises:
            FergiRewardError: It belongs to other parameters.
        """
        shapes = [tuple(parameter.shape) for parameter in self.parameters]
        moments = state["optimizer"]["state"]
        count = sum(len(group["params"]) for group in state["optimizer"]["param_groups"])
        # There are no moments of what had no gradient: all before the first update, and what no prediction depends on.
        kept = state.get("moments_of", [*range(count)] if moments else [])  # earlier checkpoints: of all or none
        fits = count == len(shapes) and all(_shape(own) == shapes[number] for number, own in moments.items())
        if not fits:
            raise FergiRewardError(
                f"the optimiser's state is of {count} other parameters than the {len(shapes)} that are trained: "
                "resume another checkpoint"
            )
        if sorted(moments) != kept:
            raise FergiRewardError(
                f"the optimiser's state is of {len(moments)} parameters, must be of {len(kept)}: "
                "resume another checkpoint"
            )
        own = {number: self._as_own(number, values) for number, values in moments.items()}
        self.optimizer.load_state_dict({**state["optimizer"], "state": own})
        for group in self.optimizer.param_groups:
            group.update(self._options)
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"] or {"steps": 0, "averages": copied(self.parameters)})

    def _as_own(self, number: int, moments: Mapping[str, Any]) -> dict[str, Any]:
        """What this process keeps of the moments of a parameter."""
        parameter = self.parameters[number]
        return {
            name: shard_like(value, parameter) if getattr(value, "shape", None) == parameter.shape else value
            for name, value in moments.items()
        }

    def _average(self, gradients: Sequence[Tensor]) -> None:
        flat = self.accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The gradients in order, together up to `BUCKET` numbers; a larger one alone."""
    bucket, size = list[Tensor](), 0
    for gradient in gradients:
        if bucket and size + gradient.numel() > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket


def warmed_up(done: int, warmup: int) -> float:
    """The share of the learning rate after so many updates: diffusers' schedule `constant_with_warmup`.

    Example:
        >>> [warmed_up(done, 4) for done in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return min(1.0, done / warmup) if warmup else 1.0


def moment_numbers(optimizer: str, parameters: Iterable[Tensor]) -> int:
    """Numbers that an optimiser keeps besides the weights and their gradients.

    AdamW keeps two for each weight; Adafactor one for each row and one for each column of a matrix (Shazeer and Stern,
    arXiv 1804.04235, section 3), and one for each number of a vector.
    """
    if optimizer == "adamw":
        return sum(2 * parameter.numel() for parameter in parameters)
    return sum(
        parameter.numel() // parameter.shape[-1] + parameter.numel() // parameter.shape[-2]
        if parameter.ndim > 1
        else parameter.numel()
        for parameter in parameters
    )


def _optimizer(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name == "adamw":
        return torch.optim.AdamW
    from transformers.optimization import Adafactor  # imports for seconds

    return Adafactor


def _adamw_options(config: TrainerConfig) -> dict[str, Any]:
    return {
        "lr": config.train_learning_rate,
        "betas": (config.train_adam_beta1, config.train_adam_beta2),
        "weight_decay": config.train_adam_weight_decay,
        "eps": config.train_adam_epsilon,
    }


def _adafactor_options(config: TrainerConfig) -> dict[str, Any]:
    """With the learning rate as given, not scaled by the weights or the number of updates, as Diffusion-DPO has it."""
    return {
        "lr": config.train_learning_rate,
        "weight_decay": config.train_adam_weight_decay,
        "scale_parameter": False,
        "relative_step": False,
    }


_OPTIONS = {"adamw": _adamw_options, "adafactor": _adafactor_options}


def _shape(moments: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of the weights that an optimiser's moments belong to."""
    if "exp_avg_sq_row" in moments:
        return (*moments["exp_avg_sq_row"].shape, moments["exp_avg_sq_col"].shape[-1])
    return tuple(moments["exp_avg_sq"].shape)
