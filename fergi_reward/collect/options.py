"""The options of `fergi-reward collect`; nothing heavy is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fergi_reward.core.options import Options, option, seed_option
from fergi_reward.scorers.options import CHECKPOINTS_HELP
from fergi_reward.scorers.registry import REGISTRY
from fergi_reward.serve.options import LOCAL_HOSTS

Task = Literal["rank", "pairs", "look"]
EVERY_ADDRESS = ("0.0.0.0", "::")


@dataclass(frozen=True, kw_only=True)
class CollectOptions(Options):
    """The options of `fergi-reward collect`."""

    pictures: Path | None = option(
        None, "A CSV with the columns session, image, file, prompt; the pictures of a session have one prompt."
    )
    out: Path = option(Path("study"), "The folder of the study; a study in it continues.")
    consent: Path | None = option(
        None, "What participants agree to, in Markdown; its first heading is the title. [default: a template]"
    )
    camera: bool = option(True, "Measure faces in the participants' browsers; --no-camera asks for judgements alone.")
    offer_video: bool = option(
        False, "Offer participants a tick of its own by which video of their face is kept at each picture; it is off."
    )
    rank: bool = option(False, "Rank the pictures of each session, after they were seen. [default: this]")
    pairs: bool = option(False, "Compare pictures of a session two by two, in place of ranking them.")
    look: bool = option(False, "Only look at pictures.")
    ratings: bool = option(False, "Ask for three ratings after each picture: overall, alignment, fidelity.")
    blank_seconds: float = option(0.5, "Seconds of a blank page before each baseline.", at_least=0, at_most=60)
    baseline_seconds: float = option(5.0, "Seconds of the face before each picture.", at_least=0.5, at_most=60)
    picture_seconds: float = option(5.0, "Seconds that each picture is shown.", at_least=0.5, at_most=60)
    sessions_per_participant: int | None = option(
        None, "Sessions that a participant sees; each is seen equally often. [default: all]", at_least=1
    )
    seed: int = seed_option(0, "Seed of the order of pictures.")
    language: str = option("en", "Language of the page: en, de, or a JSON file of strings.")
    retention_days: int = option(365, "Days after which all of a participant is deleted.", at_least=1, at_most=36500)
    host: str = option("127.0.0.1", "Address to listen on; any but this machine's own needs TLS.")
    port: int = option(8321, "Port; 0 takes a free one.", at_least=0, at_most=65535)
    address: str | None = option(
        None, "How participants reach it, such as https://study.example.org; they then need links. [default: HOST:PORT]"
    )
    tls_cert: Path | None = option(None, "Certificate of the server, PEM. [default: none, on this machine only]")
    tls_key: Path | None = option(None, "Its private key, PEM. [default: none]")
    backend_model: Path | None = option(
        None, "File of the landmarker's model. [default: downloaded once into ~/.cache/fergi_reward]"
    )
    scorers: Sequence[str] | None = option(
        None,
        "What `calibrate now` weighs. [default: the columns of OUT/scores.csv, else the paper's three]",
        names=REGISTRY,
    )
    checkpoints: Mapping[str, str] | None = option(None, CHECKPOINTS_HELP, metavar="NAME=FOLDER,...")
    export: bool = option(False, "Write the tables of the study in --out, and end.")
    expire: bool = option(False, "Delete participants of the study in --out whose retention has ended, and end.")
    simulate: int | None = option(
        None,
        "Rehearse the study with so many simulated participants, in Chromium on this machine; give it an --out of its "
        "own. [default: real ones]",
        at_least=2,
        metavar="N",
    )

    @property
    def task(self) -> Task:
        """What participants are asked."""
        return "pairs" if self.pairs else "look" if self.look else "rank"

    @property
    def is_local(self) -> bool:
        """Whether only people at this machine reach it."""
        return self.host in LOCAL_HOSTS and self.address is None

    @property
    def is_rehearsal(self) -> bool:
        """Whether its participants are simulated, so that a real study must not continue it."""
        return self.simulate is not None

    @property
    def has_trials(self) -> bool:
        """Whether pictures are shown one by one."""
        return self.camera or self.ratings or self.look

    def problems(self) -> list[str]:
        """What contradicts itself."""
        found = []
        if self.pictures is None and not (self.export or self.expire):
            found.append("--pictures is missing")
        if self.export and self.expire:
            found.append("--export and --expire are both given: give one of them")
        if len(given := [name for name in ("rank", "pairs", "look") if getattr(self, name)]) > 1:
            found.append(f"--{' and --'.join(given)} are different tasks: give one of them")
        if self.look and not (self.camera or self.ratings):
            found.append("--look without a camera and without --ratings collects nothing")
        if self.offer_video and not self.camera:
            found.append("--offer-video needs the camera: leave --no-camera out")
        if self.is_rehearsal and (self.export or self.expire or self.tls_cert or not self.is_local):
            found.append("--simulate is for a study on this machine: no --host, --address, TLS, --export, --expire")
        return found + self._access_problems()

    def _access_problems(self) -> list[str]:
        found = []
        if (self.tls_cert is None) != (self.tls_key is None):
            found.append("--tls-cert and --tls-key go together: give both or neither")
        if self.host not in LOCAL_HOSTS and self.tls_cert is None:
            found.append(f"host is {self.host}, which others can reach: give --tls-cert and --tls-key")
        if self.host in EVERY_ADDRESS and self.address is None:
            found.append(f"host is {self.host}, every address of this machine: give --address, which participants use")
        if self.address is not None and not _is_origin(self.address):
            found.append(f"--address {self.address} must be like https://study.example.org, without a path")
        return found


def _is_origin(address: str) -> bool:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "https" and bool(parts.hostname) and address == f"https://{parts.netloc}" and "@" not in address
    )
