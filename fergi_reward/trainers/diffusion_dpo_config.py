"""The options of `diffusion_dpo.py`; imports no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.totals import counted_processes

if TYPE_CHECKING:
    from fergi_reward.diffusion.family import Family, Pipeline


@dataclass(frozen=True)
class DiffusionDPOConfig(TrainerConfig):
    """Options of Diffusion-DPO. Batch sizes are those of one process."""

    train_batch_size: int = option(1, "Pairs in one forward and backward pass, on each process.", at_least=1)
    train_learning_rate: float = option(
        1e-4, "Learning rate of AdamW; for full fine-tuning about 1e-6.", above=0, at_most=1
    )
    train_updates_per_epoch: int = option(10, "Optimiser steps in an epoch.", at_least=1)
    beta: float | None = option(
        None,
        "Larger values keep the model closer to what it was before training.",
        shown="5000; 100 for flow matching",
        above=0,
    )
    caption_dropout: float = option(
        0.0, "Share of pairs whose caption is left empty for both pictures.", at_least=0, at_most=1
    )
    random_flip: Literal["none", "pair", "picture"] = option(
        "none", "Mirror half of all pairs, both pictures alike, or half of all pictures, each by itself."
    )
    use_confidence: bool = option(True, "Let a pair count by its confidence; off: as if no pair stated one.")
    label_smoothing: float = option(
        0.0, "Share of wrong pairs among those that state no confidence.", at_least=0, below=0.5
    )
    shuffle_buffer: int = option(1000, "For a stream: rows at a time that are put into a random order.", at_least=1)
    held_out_freq: int = option(10, "Measure the held-out pairs every this many epochs.", at_least=1)
    held_out_num_pairs: int = option(256, "Held-out pairs that are measured, the first of a random order.", at_least=1)

    @property
    def picture_batch_size(self) -> int:
        """Images drawn at a time where nothing is trained."""
        return 2 * self.train_batch_size

    @property
    def samples_per_epoch(self) -> int:
        """None: it trains on pictures that there are."""
        return 0

    @property
    def updates_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return self.train_updates_per_epoch

    @property
    def scales_of_losses(self) -> list[str]:
        """The beta, if one is given."""
        return ["beta"] * (self.beta is not None)

    def what_is_trained(self, family: "Family", processes: int) -> str:
        """Pairs of an epoch and of an update, among how many noise levels that of a pair is drawn, and the beta."""
        import torch

        from fergi_reward.trainers.diffusion_dpo import published_beta

        each = self.train_batch_size * self.accumulation_steps * processes
        levels = family.training_schedule(torch.device("cpu"))
        return (
            f"{each * self.updates_per_epoch} pairs per epoch, {each} per update, over {counted_processes(processes)}; "
            f"each pair at 1 of {len(levels.timesteps)} noise levels; beta {self.beta or published_beta(levels):g}"
        )

    def confidence(self, stated: float | None) -> float:
        """The probability that the better picture of a pair is better, from what the pair states."""
        return stated if stated is not None and self.use_confidence else 1 - self.label_smoothing

    def training_memory(self, pipeline: "Pipeline") -> int:
        """Peak bytes: both pictures of each pair are encoded, and then denoised."""
        import torch

        from fergi_reward.trainers.dry_run import prediction_memory
        from fergi_reward.trainers.meta_memory import META, peak_memory

        pictures = torch.empty(2 * self.train_batch_size, 3, *self.family(pipeline).picture_size, device=META)
        encoding = peak_memory(lambda: self.family(pipeline).encode_pictures(pictures))
        return max(encoding, prediction_memory(self, pipeline, len(pictures), guided=False))

    def kept_memory(self, pipeline: "Pipeline") -> int:
        """Bytes of the batches of an update, which are made together where text encoders wait on the CPU."""
        if not self.offload_encoders:
            return 0
        from fergi_reward.trainers.dry_run import conditioning_bytes, latents_bytes  # imports torch

        pictures = 2 * self.train_batch_size * self.accumulation_steps
        return pictures * (latents_bytes(self, pipeline) + conditioning_bytes(self, pipeline))
