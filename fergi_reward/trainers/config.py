"""The options of every trainer, checked at construction: all that is wrong in one message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.options import Options, option, range_problems, seed_option
from fergi_reward.trainers.totals import batches_each, counted_processes, launched_processes, total_problems

if TYPE_CHECKING:
    from fergi_reward.diffusion.family import Family, Pipeline

ADAMW_ONLY = ("train_adam_beta1", "train_adam_beta2", "train_adam_epsilon")
# What a run learns from, by the names that `allow_changes` takes; see `identity`.
PARTS = ("model", "reward", "calibration", "predictor", "prompts", "pairs", "judges")


@dataclass(frozen=True)
class TrainerConfig(Options):
    """The options that all trainers share: length, place, precision, what is trained, pictures."""

    # Whether a gradient goes through the reward, which must then be differentiable.
    needs_gradient: ClassVar[bool] = False
    # Options of earlier versions, and what to do instead.
    retired: ClassVar[Mapping[str, str]] = {}

    output_dir: str = option("runs/run", "Folder of the run: lora/, checkpoints/, grids/, logs/ and metrics.jsonl.")
    num_epochs: int = option(100, "Epochs to train.", at_least=1)
    seed: int = seed_option(42, "Seed of everything that is drawn; two runs with one seed on one machine are equal.")
    mixed_precision: Literal["no", "fp16", "bf16"] = option(
        "no", "Precision of all frozen weights and of the forward passes; what is trained stays in float32."
    )
    frozen_weights: Literal["float", "nf4"] = option(
        "float",
        "nf4: keep the linear layers of the UNet or transformer and of the text encoders in 4 bits; for adapters, and "
        "needs bitsandbytes.",
    )
    shard: bool = option(
        False,
        "Share the UNet or transformer out among the processes, with full_finetuning also its gradients and moments.",
    )
    num_processes: int | None = option(
        None,
        "Processes that the run is meant for: what a dry run counts with; a run on another number is refused.",
        shown="as many as were launched",
        at_least=1,
    )
    offload_encoders: bool = option(
        False, "Keep the text encoders on the CPU, and move them to the GPU only while they encode prompts."
    )
    allow_tf32: bool = option(True, "Let NVIDIA GPUs multiply and convolve float32 numbers in TF32.")
    save_freq: int = option(10, "Write a checkpoint every this many epochs, and one at the end.", at_least=1)
    num_checkpoint_limit: int = option(5, "Checkpoints to keep; the oldest are deleted.", at_least=1)
    resume_from: str | None = option(
        None, "A checkpoint to resume from (…/checkpoints/epoch_0010), or a run's folder for its newest one."
    )
    allow_changes: str | None = option(
        None, "What may differ from the checkpoint's, with commas between: " + ", ".join(PARTS) + "."
    )
    log_with: Literal["tensorboard", "wandb", "none"] = option("tensorboard", "Where metrics are logged to.")
    tracker_project_name: str = option("fergi_reward", "Name of the project in the tracker.")
    grid_freq: int = option(
        10, "Draw the fixed prompts every this many epochs; 0: only before and after training.", at_least=0
    )
    grid_num_images: int = option(
        8, "Pictures in a grid, of the first prompts of the file; 0: draw no grids.", at_least=0
    )
    judge_freq: int = option(10, "Let the held-out judges see the fixed pictures every this many epochs.", at_least=1)
    judge_num_images: int = option(16, "Pictures that they see, of the first prompts of the file.", at_least=2)
    stop_when_judge_falls: bool = option(
        False, "End the run when the judges have fallen from their best, and finish with the weights of that time."
    )
    judge_patience: int = option(2, "Evaluations in a row by which they must have fallen.", at_least=1)
    judge_tolerance: float = option(2.0, "Standard errors they must have fallen by; of few pictures more.", at_least=0)
    full_finetuning: bool = option(
        False,
        "Train all weights of the UNet or transformer, not an adapter: more memory, and far smaller learning rates.",
    )
    lora_rank: int = option(4, "Rank of the LoRA adapter.", at_least=1)
    lora_alpha: int = option(
        4, "The adapter's update is scaled by lora_alpha / lora_rank; files hold it so scaled.", at_least=1
    )
    lora_target_modules: Sequence[str] | None = option(
        None,
        "Layers of the UNet or transformer that the adapter changes, by the ends of their names: to_q,ff.net.2.",
        shown="the projections of attention",
    )
    resolution: int | None = option(
        None,
        "Height and width in pixels of all pictures: drawn, judged, and of pairs.",
        shown="those that the network was made for",
        at_least=1,
    )
    max_sequence_length: int | None = option(
        None,
        "Tokens of a prompt that T5, or a language model, reads.",
        shown="as many as the pipeline takes by itself",
        at_least=1,
    )
    sample_num_steps: int = option(50, "Denoising steps of an image.", at_least=1)
    sample_eta: float = option(
        0.0, "Noise of a step: 0 is DDIM's none, 1 is DDPM's, 0.7 Flow-GRPO's.", at_least=0, at_most=1
    )
    sample_guidance_scale: float = option(5.0, "Classifier-free guidance of the sampling; 1 turns it off.", at_least=1)
    train_batch_size: int = option(1, "Images in one forward and backward pass, on each process.", at_least=1)
    train_gradient_accumulation_steps: int = option(1, "Training batches in an optimiser step.", at_least=1)
    train_total_batch_size: int | None = option(
        None,
        "Images in an optimiser step over all processes; train_gradient_accumulation_steps follows from it.",
        shown="train_batch_size x train_gradient_accumulation_steps on each process",
        at_least=1,
    )
    train_optimizer: Literal["adamw", "adafactor"] = option(
        "adamw", "What updates the weights; Adafactor, without a momentum, keeps almost nothing for each of them."
    )
    # An update moves a weight by about as much: above 1 no model is left, and a typing error is far above it.
    train_learning_rate: float = option(3e-4, "Learning rate of the optimiser.", above=0, at_most=1)
    train_warmup_steps: int = option(
        0, "Updates in which the learning rate rises from 0, in equal steps; then it stays.", at_least=0
    )
    train_adam_beta1: float = option(0.9, "Decay of AdamW's first moment.", at_least=0, below=1)
    train_adam_beta2: float = option(0.999, "Decay of AdamW's second moment.", at_least=0, below=1)
    train_adam_weight_decay: float = option(1e-4, "Weight decay of the optimiser.", at_least=0)
    train_adam_epsilon: float = option(1e-8, "Epsilon of AdamW.", above=0)
    train_max_grad_norm: float = option(1.0, "Gradients longer than this are shortened to it.", above=0)
    ema_decay: float = option(
        0.0,
        "Average what is trained with this decay, and use the average for pictures, judges and lora/; 0: none.",
        at_least=0,
        below=1,
    )
    ema_freq: int = option(1, "Take the weights into the average every this many updates.", at_least=1)
    gradient_checkpointing: bool = option(
        False, "Compute activations again in the backward pass: far less memory, about a third more work."
    )

    @property
    def allowed_changes(self) -> list[str]:
        """The parts that `allow_changes` names."""
        return [name.strip() for name in (self.allow_changes or "").split(",") if name.strip()]

    @property
    def uses_tf32(self) -> bool:
        """Whether TF32 is allowed."""
        return self.allow_tf32

    @property
    def picture_batch_size(self) -> int:
        """Images drawn at a time where nothing is trained."""
        return self.train_batch_size

    @property
    def picture_num_steps(self) -> int:
        """Denoising steps of the images in grids and for judges."""
        return self.sample_num_steps

    @property
    def picture_eta(self) -> float:
        """Noise of these steps."""
        return self.sample_eta

    @property
    def samples_per_epoch(self) -> int:
        """Images that one process generates for training in an epoch."""
        return self.train_batch_size * self.accumulation_steps

    @property
    def processes(self) -> int:
        """How many train: as many as are stated, else as were launched."""
        return launched_processes() if self.num_processes is None else max(1, self.num_processes)

    @property
    def accumulation_steps(self) -> int:
        """Training batches in an optimiser step, on each process."""
        if self.train_total_batch_size is None:
            return self.train_gradient_accumulation_steps
        return batches_each(self.train_total_batch_size, self.train_batch_size, self.processes)

    @property
    def updates_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return 1

    @property
    def scales_of_losses(self) -> list[str]:
        """The options that multiply a loss or a part of it: too large, they make it infinite."""
        return []

    def family(self, pipeline: "Pipeline") -> "Family":
        """The family of the pipeline, as these options use it.

        Raises:
            FergiRewardError: It cannot draw at this resolution or with guidance, or read so many tokens.
        """
        from fergi_reward.diffusion.family import family_of  # imports torch

        family = family_of(pipeline, self.resolution, self.max_sequence_length)
        if self.sample_guidance_scale > 1 and not family.reads_guidance:
            raise FergiRewardError(
                f"sample_guidance_scale is {self.sample_guidance_scale}, but this {type(pipeline).__name__} was "
                "distilled to do without guidance: give 1"
            )
        return family

    def what_is_trained(self, family: "Family", processes: int) -> str:
        """For the start of a run and for a dry run: how much is in an update, and through how many steps it goes.

        Args:
            family: The pipeline that is trained, as these options use it.
            processes: How many train.

        Raises:
            FergiRewardError: Nothing of this pipeline can be trained with these options.
        """
        images = self.train_batch_size * self.accumulation_steps * processes
        return f"{images} images per update, over {counted_processes(processes)}"

    def training_memory(self, pipeline: "Pipeline") -> int:
        """Peak bytes of what is done with gradients; here one guided prediction of a training batch and back.

        A dry run asks it. The pipeline is on the meta device: `meta_memory.peak_memory` measures a pass there.
        """
        from fergi_reward.trainers.dry_run import prediction_memory  # imports torch

        return prediction_memory(self, pipeline, self.train_batch_size)

    def kept_memory(self, pipeline: "Pipeline") -> int:
        """Bytes that stay on the device between passes, besides weights and optimiser; here none."""
        return 0

    def problems(self) -> list[str]:
        """Changes that cannot be allowed, and options that would not be read."""
        found = [
            *self._unread_by_adafactor(),
            *self._target_problems(),
            *self._quantised_problems(),
            *self._shard_problems(),
            *self._total_problems(),
            *self._never_reached(),
        ]
        if unknown := [name for name in self.allowed_changes if name not in PARTS]:
            found.append(f"allow_changes names {', '.join(unknown)}, must be of {', '.join(PARTS)}")
        if self.allow_changes and self.resume_from is None:
            found.append(f"allow_changes is {self.allow_changes!r} without resume_from: nothing is resumed")
        return found

    def _unread_by_adafactor(self) -> list[str]:
        if self.train_optimizer != "adafactor":
            return []
        own = {item.name: item.default for item in fields(self) if item.name in ADAMW_ONLY}
        given = [name for name in ADAMW_ONLY if getattr(self, name) != own[name]]
        return [f"{name} is {getattr(self, name)}, which adafactor does not read: leave it out" for name in given]

    def _total_problems(self) -> list[str]:
        names = ("train_total_batch_size", "train_batch_size", "train_gradient_accumulation_steps")
        total, size, batches = (getattr(self, name) for name in names)
        return total_problems(total, size, batches, 1, names, self.processes)

    def _never_reached(self) -> list[str]:
        """A rate that the run would not rise to, and an average that would be the weights that it began with."""
        if range_problems(self):
            return []
        updates = self.num_epochs * self.updates_per_epoch
        found = []
        if self.train_warmup_steps > updates:
            found.append(
                f"train_warmup_steps is {self.train_warmup_steps}, but the run has {updates} updates: it would never "
                "reach train_learning_rate"
            )
        if self.ema_freq > 1 and not self.ema_decay:
            found.append(f"ema_freq is {self.ema_freq} without ema_decay: nothing is averaged")
        elif self.ema_decay and self.ema_freq > updates:
            found.append(
                f"ema_freq is {self.ema_freq}, but the run has {updates} updates: the average would be the model "
                "before training"
            )
        return found

    def _quantised_problems(self) -> list[str]:
        found, given = [], f"frozen_weights is {self.frozen_weights}"
        if self.frozen_weights != "float" and self.full_finetuning:
            found.append(f"{given} with full_finetuning, which trains these weights: leave one out")
        if self.frozen_weights != "float" and self.offload_encoders:
            found.append(f"{given} with offload_encoders, but weights in 4 bits stay where they are: leave one out")
        return found

    def _shard_problems(self) -> list[str]:
        """Where there is nobody to share with, and what would not be what one process does."""
        if not self.shard:
            return []
        found = []
        if self.processes == 1:
            found.append("shard is on, but one process has all weights: launch several, or leave it out")
        if self.frozen_weights != "float":
            found.append(
                f"shard is on with frozen_weights {self.frozen_weights}, which is not shared out: leave one out"
            )
        if self.full_finetuning and self.train_optimizer != "adamw":
            found.append(
                f"shard is on with full_finetuning and train_optimizer {self.train_optimizer}, whose rows and columns "
                "are of whole matrices: give adamw"
            )
        if self.full_finetuning and self.mixed_precision == "fp16":
            found.append("shard is on with full_finetuning and mixed_precision fp16, which is not tried: give bf16")
        return found

    def _target_problems(self) -> list[str]:
        targets = self.lora_target_modules
        if self.full_finetuning:
            default = {"lora_rank": 4, "lora_alpha": 4, "lora_target_modules": None}
            given = [name for name, value in default.items() if getattr(self, name) != value]
            return [f"{name} is given with full_finetuning, which trains no adapter: leave one out" for name in given]
        if targets is None:
            return []
        if not targets or not all(targets) or len(set(targets)) < len(targets):
            return [f"lora_target_modules is {','.join(targets)!r}, must be different names of layers"]
        return []
