"""A reward from the keys of a host's YAML: the options of `fergi-reward serve` that say what the reward is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import torch

from fergi_reward.core.option_types import parsed
from fergi_reward.core.options import OptionsError, option
from fergi_reward.diffusion.options import ServedRewardOptions
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.reward import CombinedReward


@dataclass(frozen=True, kw_only=True)
class HostOptions(ServedRewardOptions):
    """What a host's YAML may say of the reward."""

    offload: bool = option(False, "Park the scorers on the CPU, and move each to the GPU only while it scores.")


def host_reward(keys: Mapping[str, Any]) -> CombinedReward:
    """The reward that the keys of a YAML name; its scorers are loaded at first use.

    Args:
        keys: By option. A list may be a text, `pickscore,clip`, as may names with numbers, `pickscore=0.7,clip=0.3`.

    Raises:
        OptionsError: A key is none of the options, or a value cannot be used.
    """
    known = get_type_hints(HostOptions)
    if unknown := [name for name in keys if name not in known]:
        names = ", ".join(item.name for item in fields(HostOptions))
        raise OptionsError("the reward", [f"there is no option {', '.join(unknown)}: choose from {names}"])
    values = {name: parsed(_plain(value), known[name]) for name, value in keys.items() if value is not None}
    options = HostOptions(**values)
    # Not what accelerate says: it would take part in setting up processes, which is the host's own business.
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return load_reward(options.reward_options, on=device, offload=options.offload)


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype as YAML files have it.

    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def _plain(value: Any) -> Any:  # noqa: ANN401 - what YAML holds
    """Lists and mappings of OmegaConf as those of Python."""
    if isinstance(value, Mapping):
        return dict(value.items())
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
