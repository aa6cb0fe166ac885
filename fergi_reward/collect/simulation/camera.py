"""The camera of a simulated participant: a script that runs in their browser before the page's own."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fergi_reward.collect.simulation.faces import HEIGHT, LARGEST, WIDTH, Look, Pixels, frame, moving_rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

LEVELS = 17  # lowerings that are drawn beforehand, 0 and the largest included


def camera_script(look: Look) -> str:
    """The script that makes the page's camera show this person.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    rows = moving_rows(look)
    face = {
        "width": WIDTH,
        "height": HEIGHT,
        "base": _jpeg(frame(look, 0)),
        "strips": [_jpeg(frame(look, lowering, rows)) for lowering in np.linspace(0, LARGEST, LEVELS).tolist()],
        "top": rows.start,
        "largest": LARGEST,
    }
    script = Path(__file__).with_name("camera.js").read_text(encoding="utf-8")
    return f"({script})({json.dumps(face)});"


def set_lowerings(page: "Page", lowerings: Mapping[str, float]) -> None:
    """Say how far the brows come down at the picture of each trial."""
    page.evaluate("lowerings => sessionStorage.setItem('simulated.lowerings', JSON.stringify(lowerings))", lowerings)


def _jpeg(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    return base64.b64encode(file.getvalue()).decode()
