"""LoRA on the network that denoises (Hu et al., arXiv 2106.09685), as `pipeline.load_lora_weights` reads it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.files.tensor_files import read_tensors

ADAPTER = "reward"
WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
# What peft adapts.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def add_lora(
    pipeline: Pipeline, *, rank: int, alpha: int, seed: int, targets: Sequence[str] | None = None
) -> list[nn.Parameter]:
    """Attach a fresh adapter to the network, which changes nothing yet, and freeze all else in the pipeline.

    Args:
        pipeline: Its UNet or transformer gets the adapter in place.
        rank: Rank of the update of each weight matrix.
        alpha: The update is scaled by alpha / rank.
        seed: Seed of the first, random factor; the second starts at zero.
        targets: Ends of the names of the layers that it changes; None for the family's own.

    Returns:
        The parameters to train, in float32 whatever the network is in, since small updates vanish in half precision.

    Raises:
        FergiRewardError: The network already carries an adapter, or has no layers of a name in `targets`.
    """
    from peft import LoraConfig

    family = family_of(pipeline)
    network = family.network
    if getattr(network, "peft_config", None):
        raise FergiRewardError(
            f"the {family.network_name} already carries the adapter {', '.join(network.peft_config)!r}: "
            "call pipeline.fuse_lora() and pipeline.unload_lora_weights() first"
        )
    for component in (network, *family.other_models):
        component.requires_grad_(False)
    if targets is not None:
        _check_targets(network, family.network_name, targets)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        init_lora_weights="gaussian",
        target_modules=list(family.lora_targets if targets is None else targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(config, adapter_name=ADAPTER)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    return parameters


def _check_targets(network: nn.Module, network_name: str, targets: Sequence[str]) -> None:
    """Refuse names that match no layer, which peft would ignore, or a part that is none or convolves in groups."""
    parts = dict(network.named_modules())
    layers = {name for name, part in parts.items() if isinstance(part, LAYERS) and getattr(part, "groups", 1) == 1}
    matched = {end: [name for name in parts if f".{name}".endswith(f".{end}")] for end in targets}
    if wrong := [end for end, names in matched.items() if not names or not layers.issuperset(names)]:
        raise FergiRewardError(
            f"lora_target_modules names {', '.join(wrong)}, which are no layers of the {network_name} that can be "
            f"adapted: it has {', '.join(sorted({_end(name) for name in layers}))}"
        )


def _end(name: str) -> str:
    """The end of a layer's name that says what it is: its last part, or its last two where that is a number."""
    *_, before, last = f".{name}".split(".")
    return f"{before}.{last}" if last.isdecimal() else last


@contextmanager
def adapter_disabled(pipeline: Pipeline) -> Iterator[None]:
    """The network as it was before it got the adapter, inside the block."""
    network = family_of(pipeline).network
    network.disable_adapters()
    try:
        yield
    finally:
        network.enable_adapters()


def save_lora(pipeline: Pipeline, folder: Path) -> None:
    """Write the adapter into `folder`, where `pipeline.load_lora_weights(folder)` finds it.

    Its second factors are multiplied by alpha / rank, and alpha is said to be the rank: a reader that does not look for
    alpha draws the same as one that does.
    """
    from peft import get_peft_model_state_dict

    family = family_of(pipeline)
    name, network = family.network_name, family.network
    config = network.peft_config[ADAPTER]
    layers = get_peft_model_state_dict(network, adapter_name=ADAPTER)
    told = {**config.to_dict(), "lora_alpha": config.r}
    # A set has another order in each process: equal adapters must have equal bytes.
    metadata = {key: sorted(value) if isinstance(value, set) else value for key, value in told.items()}
    pipeline.save_lora_weights(
        folder,
        **{f"{name}_lora_layers": _second_factors_times(layers, lora_scale(pipeline))},
        **{f"{name}_lora_adapter_metadata": metadata},
    )
    _order_metadata(folder / WEIGHTS_FILE)


def _order_metadata(file: Path) -> None:
    """Sort the metadata of a file of safetensors, which writes them in a random order."""
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


def load_lora(pipeline: Pipeline, folder: Path) -> None:
    """Read the adapter in `folder` into the one that `add_lora` attached.

    Raises:
        FergiRewardError: Its file is missing or damaged, or holds other tensors than that adapter has.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    family = family_of(pipeline)
    prefix = f"{family.network_name}."
    try:
        state = read_tensors(folder / WEIGHTS_FILE)
    except (OSError, ValueError) as error:
        raise FergiRewardError(
            f"{folder / WEIGHTS_FILE} is missing or damaged ({error}): resume an older one"
        ) from error
    layers = {name.removeprefix(prefix): value for name, value in state.items()}
    expected = get_peft_model_state_dict(family.network, adapter_name=ADAPTER)
    if wrong := _differences(layers, expected):
        raise FergiRewardError(
            f"{folder / WEIGHTS_FILE} is not of the adapter that is trained: {'; '.join(wrong)}; resume another"
        )
    layers = _second_factors_times(layers, 1 / lora_scale(pipeline))
    set_peft_model_state_dict(family.network, layers, adapter_name=ADAPTER)


def _differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """A clause for each way in which tensors are not those expected, with the first name of each."""
    common = sorted(set(found) & set(expected))
    kinds = {
        "it lacks": sorted(set(expected) - set(found)),
        "it has besides": sorted(set(found) - set(expected)),
        "of another shape": [name for name in common if found[name].shape != expected[name].shape],
        "not finite": [name for name in common if not torch.isfinite(found[name]).all()],
    }
    return [f"{kind} {names[0]}{_and_more(names)}" for kind, names in kinds.items() if names]


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if names[1:] else ""


def lora_scale(pipeline: Pipeline) -> float:
    """What the product of the adapter's factors is multiplied by: alpha / rank."""
    config = family_of(pipeline).network.peft_config[ADAPTER]
    return config.lora_alpha / config.r


def _second_factors_times(layers: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    return {name: value * scale if ".lora_B." in name else value for name, value in layers.items()}
