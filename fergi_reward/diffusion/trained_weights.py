"""Puts trained weights on a pipeline: a LoRA adapter, or the network as full fine-tuning leaves it."""

import warnings
from pathlib import Path
from textwrap import shorten

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.library_bars import no_library_bars_in_a_log
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.whole_weights import check_finite, check_nothing_lacks, check_tensors, meant_tensors


def load_adapter(pipeline: Pipeline, folder: Path) -> None:
    """Put a LoRA adapter on the pipeline, as `save_lora_weights` of diffusers writes it.

    Raises:
        FergiRewardError: There is none in the folder, its file is damaged, or it is another model's.
    """
    from diffusers.utils import logging

    if not folder.exists():
        raise FergiRewardError(f"the adapter {folder} does not exist: give its folder")
    names, family = check_tensors(folder), family_of(pipeline)
    meant = meant_tensors(folder, family.network_name, family.network)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # that an adapter leaves the text encoder alone is no news
    try:
        with warnings.catch_warnings():  # peft lists every layer that does not fit; the error says it once
            warnings.simplefilter("ignore", RuntimeWarning)
            pipeline.load_lora_weights(folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise FergiRewardError(
            f"{folder} holds no adapter of this pipeline ({in_short(error)}): give one that was trained on this model"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    if not pipeline.get_active_adapters():  # diffusers only warns
        raise FergiRewardError(f"{folder} holds no adapter of this pipeline: it changes none of its layers")
    if meant & names:  # other programs call the layers otherwise
        check_nothing_lacks(folder, sorted(meant - names), len(meant | names))


def load_network(pipeline: Pipeline, folder: Path) -> None:
    """Give the pipeline the weights of the network in a folder, as full fine-tuning leaves it.

    Raises:
        FergiRewardError: It is damaged, or another model's.
    """
    network = family_of(pipeline).network
    try:
        with no_library_bars_in_a_log():
            trained, found = type(network).from_pretrained(folder, output_loading_info=True)
        check_nothing_lacks(folder, sorted(found["missing_keys"]), len(trained.state_dict()))
        network.load_state_dict(trained.state_dict())
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        kind = type(network).__name__
        raise FergiRewardError(
            f"{folder} holds no {kind} of this pipeline ({in_short(error)}): give one that was trained from this model"
        ) from error
    check_finite(folder, trained.state_dict().items())


def in_short(error: Exception) -> str:
    """The first of what may be a line for each weight, and how many more there are."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    head, *details = lines if len(lines) > 1 else [*lines, ""]
    more = f" and {len(details) - 1} more" if len(details) > 1 else ""
    first = " ".join([head, *details[:1]]).strip().rstrip(".")
    return shorten(first, 400, placeholder=" ...") + more
