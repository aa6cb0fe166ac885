"""A number in the pictures of a camera, which says which picture it is or when it was taken, and who reads it.

The number is a strip at the top of a picture: a white or black field per bit, the highest bit on the left. `TAP` is a
script for a page of `collect`: it notes the number of each picture that the page hands to its measuring worker, and
the worker's answer.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 20
FIELD = 32  # pixels, both ways
WIDTH = BITS * FIELD

TAP = (
    f"() => {{ const [BITS, FIELD] = [{BITS}, {FIELD}];"
    """
  const canvas = new OffscreenCanvas(BITS * FIELD, FIELD).getContext("2d", { willReadFrequently: true });
  const answers = new WeakSet();
  window.taken = []; // what the worker got: time, code, and when
  window.measured = [];
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (data, transfer) {
    if (data.picture) window.taken.push({ time: data.time, code: code(data.picture), now: performance.now() });
    if (!answers.has(this)) this.addEventListener("message", ({ data }) => window.measured.push(data));
    answers.add(this);
    return post.call(this, data, transfer);
  };
  function code(picture) {
    canvas.drawImage(picture, 0, 0);
    const [above, below] = [FIELD / 4, (FIELD * 3) / 4].map(number);
    return above === below ? above : null; // the picture was exchanged while it was read
  }
  function number(row) {
    const { data } = canvas.getImageData(0, row, BITS * FIELD, 1);
    let found = 0;
    for (let bit = 0; bit < BITS; bit++) found = found * 2 + (data[4 * FIELD * (bit + 0.5)] > 127 ? 1 : 0);
    return found;
  }
}"""
)


def strip(number: int) -> NDArray[np.uint8]:
    """The strip of a number, (32, 640), black and white."""
    bits = [number >> place & 1 for place in reversed(range(BITS))]
    row = np.repeat(np.array(bits, dtype=np.uint8) * 255, FIELD)
    return np.tile(row, (FIELD, 1))
