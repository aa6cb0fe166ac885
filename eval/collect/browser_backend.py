"""The measuring of the page of `collect` as a backend like those of `extract`, for comparisons."""

import base64
import io
from collections.abc import Iterable, Iterator
from typing import Any

from PIL import Image
from playwright.sync_api import Page

from fergi_reward.reactions.backends.base import FaceFrame, no_face
from fergi_reward.reactions.sources import MEDIAPIPE_LANDMARKS
from fergi_reward.reactions.video import VideoFrame

WORKER = """async () => {
  const worker = new Worker("/static/measure/worker.js", { type: "module" });
  const answer = () => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.broken ? reject(new Error(data.broken)) : resolve(data));
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  await answer();
  window.measure = async ([time, png]) => {
    const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes]));
    worker.postMessage({ time, picture }, [picture]);
    return answer();
  };
}"""


class BrowserBackend:
    """The page's own measuring worker: every frame that comes in is handed to it as PNG, none is dropped.

    Args:
        page: A page of a study that measures faces.
    """

    source, version = MEDIAPIPE_LANDMARKS, "the page's worker"
    action_units = ("au4", "au4_blendshapes")

    def __init__(self, page: Page) -> None:
        self.page = page

    def measure(self, frames: Iterable[VideoFrame]) -> Iterator[FaceFrame]:
        """The viewer's face in each frame, by a worker that has seen no other one."""
        self.page.evaluate(WORKER)
        for each in frames:
            file = io.BytesIO()
            Image.fromarray(each.pixels).save(file, "PNG", compress_level=1)
            png = base64.b64encode(file.getvalue()).decode()
            yield face_frame(self.page.evaluate("measure", [each.timestamp * 1000, png]))


def face_frame(said: dict[str, Any]) -> FaceFrame:
    """What the worker said of a frame, as the backends of `extract` do."""
    seconds = said["time"] / 1000
    if said["au4"] is None:
        return no_face(seconds, len(BrowserBackend.action_units), said["faces"])
    measures = said["au4"], said["shape"]
    return FaceFrame(seconds, measures, said["confidence"], said["pitch"], said["yaw"], said["faces"])
