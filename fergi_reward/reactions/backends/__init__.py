"""What can measure action units in a video: one file a backend."""

from pathlib import Path

from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.backends.base import Backend


def load_backend(name: str, model: Path | str | None = None) -> Backend:
    """A backend by its name.

    Args:
        name: `mediapipe` or `pyfeat`.
        model: MediaPipe's model file, where it is not to be downloaded.

    Raises:
        FergiRewardError: The model is not the one, cannot be had, or is given to py-feat.
        MissingDependencyError: The backend's package is not installed.
    """
    if name == "mediapipe":
        from fergi_reward.reactions.backends.landmarker_model import landmarker_model
        from fergi_reward.reactions.backends.mediapipe import MediaPipeBackend

        return MediaPipeBackend(landmarker_model(model))
    from fergi_reward.reactions.backends.pyfeat import PyFeatBackend

    if model is not None:
        raise FergiRewardError(f"--model {model} is for mediapipe, and py-feat finds its own: leave it out")
    return PyFeatBackend()
