"""The model of MediaPipe's Face Landmarker: one file, always the same one, since another would measure otherwise."""

import hashlib
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.hub.download import cache_folder, download

FILE = "face_landmarker.task"
URL = f"https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/{FILE}"
BYTES = 3_758_596
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
MAX_BYTES = 1 << 24


def landmarker_model(given: Path | str | None = None) -> Path:
    """The file, checked by its hash.

    Args:
        given: Where it is; by default in `~/.cache/fergi_reward`, downloaded (3.8 MB) when it is missing.

    Raises:
        FergiRewardError: It is missing and cannot be downloaded, or is another file.
    """
    path = Path(given) if given else cache_folder() / FILE
    if given is None and not path.exists():
        download(URL, path, "the face landmarker", digest=SHA256)
    try:
        found = hashlib.sha256(read_bytes(path, MAX_BYTES)).hexdigest()
    except OSError as error:
        raise FergiRewardError(f"the model {path} cannot be read ({error.strerror}): download it from {URL}") from error
    if found != SHA256:
        raise FergiRewardError(f"the model {path} has sha256 {found}, must have {SHA256}: download it from {URL}")
    return path
