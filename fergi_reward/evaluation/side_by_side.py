"""Two pictures of one prompt in one file, as a report shows them."""

from pathlib import Path

from PIL import Image

from fergi_reward.files.atomic import atomic_path
from fergi_reward.images import open_picture

HEIGHT = 512  # pixels: enough to judge by, little enough for a page that holds dozens
GAP = 12


def write_side_by_side(path: Path, left: Path, right: Path) -> None:
    """Write two pictures of whatever sizes next to each other, equally high.

    Args:
        path: The file to write.
        left: A picture.
        right: Another.
    """
    pictures = [_fitted(open_picture(file).convert("RGB")) for file in (left, right)]
    joined = Image.new("RGB", (sum(picture.width for picture in pictures) + GAP, HEIGHT), "gray")
    joined.paste(pictures[0])
    joined.paste(pictures[1], (pictures[0].width + GAP, 0))
    with atomic_path(path) as temporary:
        joined.save(temporary, quality=90)


def _fitted(picture: Image.Image) -> Image.Image:
    """Small pictures are enlarged without smoothing, so that one sees the pixels that were drawn."""
    size = (round(HEIGHT * picture.width / picture.height), HEIGHT)
    return picture.resize(size, Image.Resampling.NEAREST if picture.height < HEIGHT else Image.Resampling.LANCZOS)
