"""Whether trained weights are whole: diffusers fills up what lacks, and draws with whatever numbers there are."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.json_files import parse_json

# The two factors of a layer's update, as peft, diffusers and kohya-ss call them.
FACTORS = (("lora_A", "lora_B"), ("lora.down.", "lora.up."), ("lora_down.", "lora_up."))

# What chooses the layers of a network in a configuration of peft, and where the files of diffusers have that.
CHOICE = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
LORA_CONFIG = "lora_adapter_metadata"


def check_tensors(folder: Path) -> set[str]:
    """Look at the tensors of all `.safetensors` files in a folder.

    Returns:
        Their names, as peft calls them.

    Raises:
        FergiRewardError: A file is damaged; a tensor has no partner, or a number that is not finite; all are 0.
    """
    names, is_zero = set[str](), True
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in _tensors(file):
            names.add(name)
            check_finite(file, [(name, tensor)])
            is_zero &= name.endswith("alpha") or not tensor.any()
    check_nothing_lacks(folder, sorted(_partners(names) - names), len(names | _partners(names)))
    if names and is_zero:
        raise FergiRewardError(
            f"all {len(names)} tensors in {folder} are 0, so that it changes nothing: save the adapter again"
        )
    return set(map(_as_in_peft, names))


def meant_tensors(folder: Path, network_name: str, network: nn.Module) -> set[str]:
    """The tensors of the layers that the configuration in an adapter's files names: diffusers takes any part of them.

    Args:
        folder: The adapter's.
        network_name: What the pipeline calls its network.
        network: It, before the adapter is on it.

    Returns:
        Their names; none where the files have no configuration.
    """
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    told = _settings(folder)
    chosen: dict[str, Any] = {key: told.get(f"{network_name}.{key}") for key in CHOICE}
    if not chosen["target_modules"]:
        return set()
    config = LoraConfig(**chosen)
    layers = (name for name, one in network.named_modules() if isinstance(one, nn.Linear | nn.Conv2d))
    meant = [name for name in layers if check_target_module_exists(config, name)]
    return {f"{network_name}.{name}.{factor}.weight" for name in meant for factor in FACTORS[0]}


def check_finite(place: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse weights with NaN.

    Raises:
        FergiRewardError: A number is not finite; the first tensor that has one is named.
    """
    for name, tensor in tensors:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FergiRewardError(
                f"{place} holds numbers that are not finite, first in {name}: give weights from before the training "
                "diverged"
            )


def check_nothing_lacks(folder: Path, lacking: Sequence[str], whole: int) -> None:
    """Refuse weights that are not whole.

    Raises:
        FergiRewardError: Tensors lack.
    """
    if lacking:
        raise FergiRewardError(
            f"{folder} lacks {len(lacking)} of its {whole} tensors, such as {lacking[0]}: copy or save it again"
        )


def _settings(folder: Path) -> dict[str, Any]:
    """The configuration of an adapter, by `network.key`; nothing where there is none that can be read."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            told = (opened.metadata() or {}).get(LORA_CONFIG)
        try:
            found |= parse_json(told) if told else {}
        except (ValueError, TypeError):  # diffusers says what is wrong with it
            continue
    return found


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file, one at a time."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                yield name, opened.get_tensor(name)
    except SafetensorError as error:
        raise FergiRewardError(f"{file} is damaged ({error}): copy or save the adapter again") from error


def _as_in_peft(name: str) -> str:
    """A name of the factors, also of those that `convert_state_dict_to_diffusers` renamed.

    >>> _as_in_peft("unet.to_q.lora.down.weight")
    'unet.to_q.lora_A.weight'
    """
    for first, second in FACTORS[1:]:
        name = name.replace(first, "lora_A.").replace(second, "lora_B.")
    return name


def _partners(names: set[str]) -> set[str]:
    """The other factor of each."""
    return {
        name.replace(one, other)
        for first, second in FACTORS
        for one, other in ((first, second), (second, first))
        for name in names
        if one in name
    }
