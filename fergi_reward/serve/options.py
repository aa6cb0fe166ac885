"""The options of `fergi-reward serve`; nothing heavy is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.core.options import Options, option
from fergi_reward.diffusion.options import ServedRewardOptions

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
class ServeOptions(ServeLimits, ServedRewardOptions):
    """The options of `fergi-reward serve`."""

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
    host: str = option("127.0.0.1", "Address to listen on; any but this machine's own needs --token-file.")
    port: int = option(8000, "Port; 0 takes a free one.", at_least=0, at_most=65535)
    token_file: Path | None = option(
        None, "File whose text callers send as `Authorization: Bearer TEXT`; only its owner may read it."
    )
    log_requests: bool = option(
        False,
        "Print a line per request to standard error: time, path, status, images, milliseconds; no prompts, no token; "
        "none for /health and /metrics, unless they fail.",
    )
    root: Path | None = option(None, "Folder whose pictures may be asked for by their path in it. [default: none]")

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = [*ServedRewardOptions.problems(self), *ServeLimits.problems(self)]
        if self.host not in LOCAL_HOSTS and self.token_file is None:
            found.append(f"--host is {self.host}, which others can reach: give --token-file, or listen on 127.0.0.1")
        if self.root is not None and not self.root.is_dir():
            found.append(f"root {self.root} is no folder")
        return found


@dataclass(frozen=True, kw_only=True)
class ClientOptions(Options):
    """The options of `fergi-reward client`."""

    out: Path = option(Path("remote_reward.py"), "The file to write; another one that is there is not replaced.")
