"""Reading the pictures of a report."""

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.files.picture_files import MAX_BYTES
from fergi_reward.report.record import Picture

# How files of a kind begin, and what the kind is called in a page.
PNG, JPEG = (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg")
KINDS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG}


def read_picture(picture: Picture) -> tuple[str, bytes]:
    """The media type and the file.

    Raises:
        FergiRewardError: It cannot be read, or is neither PNG nor JPEG.
    """
    try:
        content = read_bytes(picture.path, MAX_BYTES)
    except OSError as error:
        raise FergiRewardError(f"the picture {picture.path} cannot be read ({error.strerror})") from error
    begin, media_type = KINDS.get(picture.path.suffix.lower(), (None, ""))
    if begin is None or not content.startswith(begin):
        raise FergiRewardError(f"the picture {picture.path} is no PNG or JPEG file: a report shows only these")
    return media_type, content
