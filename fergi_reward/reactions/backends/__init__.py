"""What can measure action units in a video: one file a backend."""

from pathlib import Path
from typing import TYPE_CHECKING

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import Registry, blaming, is_maker, takes
from fergi_reward.reactions import sources

if TYPE_CHECKING:
    from fergi_reward.reactions.backends.base import Backend

BACKENDS = Registry(
    "backend",
    {
        "mediapipe": "fergi_reward.reactions.backends.mediapipe:load",
        "mediapipe-blendshapes": "fergi_reward.reactions.backends.mediapipe:load_blendshapes",
        "pyfeat": "fergi_reward.reactions.backends.pyfeat:PyFeatBackend",
    },
)

# By source, which of them measures it: what continues a folder.
MEASURED_BY = {
    sources.MEDIAPIPE_LANDMARKS: "mediapipe",
    sources.MEDIAPIPE_BLENDSHAPES: "mediapipe-blendshapes",
    sources.PYFEAT: "pyfeat",
}


def load_backend(name: str, model: Path | str | None = None) -> "Backend":
    """A backend by its name.

    Args:
        name: One of the registry.
        model: The file of its model, for those that take one: MediaPipe's, where it is not to be downloaded.

    Raises:
        FergiRewardError: There is none of that name; the model is not the expected one or not available, or
            this backend takes none.
        MissingDependencyError: The backend's package is not installed.
    """
    found = BACKENDS.get(name)
    given = {} if model is None else {"model": model}
    makes = is_maker(found.target)
    if given and not (makes and "model" in takes(found.target)):
        raise FergiRewardError(f"--model {model} is not for {name}, which takes none: leave it out")
    with blaming(f"the backend {name!r}", found.origin):
        backend: Backend = found.target(**given) if makes else found.target
    needed = ("source", "version", "action_units", "measure")
    if lacks := [attribute for attribute in needed if attribute not in dir(backend)]:
        raise FergiRewardError(
            f"the backend {name!r} ({found.origin}) has no {', '.join(lacks)}: see Backend in base.py"
        )
    return backend
