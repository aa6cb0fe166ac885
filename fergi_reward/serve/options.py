"""The options of `fergi-reward serve`; nothing heavy is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.calibration.options import SHIPPED_HELP, WeightOptions
from fergi_reward.core.options import Options, option
from fergi_reward.diffusion.options import PENALTY_HELP, RewardOptions
from fergi_reward.scorers.options import CHECKPOINTS_HELP, DEVICE_HELP, Dtype
from fergi_reward.scorers.registry import REGISTRY

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class ServeLimits(Options):
    """How much may be asked, and how it is batched."""

    batch_size: int = option(32, "Images that are scored together at most; those of several callers meet.", at_least=1)
    max_wait: float = option(
        0.005, "Seconds that an image waits for others while the scorers are idle.", at_least=0, at_most=10
    )
    max_images: int = option(256, "Images per request.", at_least=1)
    max_waiting: int = option(1024, "Images that may wait; what comes then is refused (429).", at_least=1)
    max_body: int = option(64, "Megabytes per request.", at_least=1)
    max_pixels: int = option(4096 * 4096, "Pixels per picture, width times height.", at_least=1)
    time_limit: float = option(120.0, "Seconds after which a request is given up (504).", above=0)
    read_limit: float = option(30.0, "Seconds in which a request must have arrived (408).", above=0)
    end_limit: float = option(30.0, "Seconds that SIGTERM leaves for what was accepted.", above=0)

    def problems(self) -> list[str]:
        """Limits that contradict each other."""
        if self.max_images > self.max_waiting:
            return [f"max_images is {self.max_images}, more than max_waiting, {self.max_waiting}: raise max_waiting"]
        return []


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ServeLimits, WeightOptions):
    """The options of `fergi-reward serve`."""

    scorers: Sequence[str] | None = option(
        None, "Scorers.", shown="those of --weights, else those of the calibration", names=REGISTRY
    )
    checkpoints: Mapping[str, str] | None = option(None, CHECKPOINTS_HELP, metavar="NAME=FOLDER,...")
    calibration: str | None = option(None, f"Weighs the scorers; {SHIPPED_HELP}. [default: shipped]", metavar="FILE")
    uncertainty_penalty: float = option(0.0, PENALTY_HELP, at_least=0)
    device: str | None = option(None, DEVICE_HELP)
    workers: int | Literal["auto"] = option(
        1,
        "Processes that score behind the one port, on the GPUs in turn; `auto`: one per GPU.",
        at_least=1,
        metavar="N",
    )
    engine: Literal["local", "ray"] = option(
        "local",
        "Where they are: processes of this machine, or actors on the Ray cluster of RAY_ADDRESS, else of this machine; "
        "each of its nodes must find this folder and the checkpoints.",
    )
    dtype: Dtype = option("float32", "Data type of the towers.")
    host: str = option("127.0.0.1", "Address to listen on; any but this machine's own needs --token-file.")
    port: int = option(8000, "Port; 0 takes a free one.", at_least=0, at_most=65535)
    token_file: Path | None = option(
        None, "File whose text callers send as `Authorization: Bearer TEXT`; only its owner may read it."
    )
    root: Path | None = option(None, "Folder whose pictures may be asked for by their path in it. [default: none]")

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = [*WeightOptions.problems(self), *ServeLimits.problems(self)]
        if self.host not in LOCAL_HOSTS and self.token_file is None:
            found.append(f"host is {self.host}, which others can reach: give --token-file, or listen on 127.0.0.1")
        if self.root is not None and not self.root.is_dir():
            found.append(f"root {self.root} is no folder")
        return found

    @property
    def reward_options(self) -> RewardOptions:
        """Those of its reward."""
        return RewardOptions(
            scorers=self.scorers,
            checkpoints=self.checkpoints,
            scorer_dtype=self.dtype,
            calibration=self.calibration,
            weights=self.weights,
            standardise=self.standardise,
            uncertainty_penalty=self.uncertainty_penalty,
        )


@dataclass(frozen=True, kw_only=True)
class ClientOptions(Options):
    """The options of `fergi-reward client`."""

    out: Path = option(Path("remote_reward.py"), "The file to write; one that is there is replaced.")
