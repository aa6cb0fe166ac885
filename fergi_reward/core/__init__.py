"""What everything stands on.

- `errors.py`: mistakes of users; `interrupts.py`: signals that end a process; `terminal.py`: text safe to print;
  `alike.py`: texts that read alike.
- `registry.py`: what a name stands for, built in or from other packages; `lazy.py`: public names imported at first use.
- `devices.py`, `precision.py`, `parking.py`, `transfers.py`: where tensors are, and in which data type.
- `options.py`: options as fields of dataclasses, `option_types.py` their types; `command_line.py`,
  `progress.py`, `shipped.py`: for all commands.
- `machine.py`, `places.py`: what results say of versions, the machine, and paths.
- `seeds.py`: random generators by what they are for; `home.py`: where libraries may keep files;
  `library_bars.py`: their progress bars; `ray_cluster.py`: a cluster of Ray that nobody else can reach.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.core.errors import FergiRewardError as FergiRewardError
    from fergi_reward.core.errors import MissingDependencyError as MissingDependencyError
    from fergi_reward.core.registry import Registry as Registry

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "FergiRewardError": "errors",
        "MissingDependencyError": "errors",
        "Registry": "registry",
    },
)
