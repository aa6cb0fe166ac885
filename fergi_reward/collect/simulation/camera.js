/**
 * Takes the place of the camera of a simulated participant: a face whose brows come down while a picture is shown.
 *
 * Runs before the page's own scripts. How far the brows come down at which trial is kept in the tab, by `camera.py`.
 *
 * @param {{width: number, height: number, base: string, strips: string[], top: number, largest: number}} face The
 *   neutral face and the rows in which its brows move, from neutral to the largest lowering, as JPEG in base64.
 */
(face) => {
  if (!navigator.mediaDevices) return; // a page that was not loaded from this machine or by TLS
  const RATE = 30;
  const [BEGINS, IS_DOWN] = [0.4, 1.0]; // seconds after a picture appeared
  const SWAY = 0.7; // pixels by which the head moves, in periods that no trial repeats
  const canvas = Object.assign(document.createElement("canvas"), { width: face.width, height: face.height });
  const context = canvas.getContext("2d");
  let shownSince = null;

  const decoded = (text) => createImageBitmap(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
  const pictures = Promise.all([face.base, ...face.strips].map(decoded));

  /** How far the brows are down now, from 0 to the largest lowering. */
  function lowering(now) {
    const isShown = document.querySelector("main")?.dataset.part === "picture";
    shownSince = isShown ? (shownSince ?? now) : null;
    if (!isShown) return 0;
    const lowerings = JSON.parse(sessionStorage.getItem("simulated.lowerings") ?? "{}");
    const share = Math.min(Math.max(((now - shownSince) / 1000 - BEGINS) / (IS_DOWN - BEGINS), 0), 1);
    return (lowerings[document.body.dataset.trial] ?? 0) * share * share * (3 - 2 * share);
  }

  function draw([base, ...strips]) {
    const now = performance.now();
    const strip = strips[Math.round((lowering(now) / face.largest) * (strips.length - 1))];
    const [right, down] = [SWAY * Math.sin(now / 1700), SWAY * Math.sin(now / 1300)];
    context.drawImage(base, right, down);
    context.drawImage(strip, right, face.top + down);
  }

  navigator.mediaDevices.getUserMedia = async () => {
    const ready = await pictures;
    const stream = canvas.captureStream(RATE);
    const [track] = stream.getVideoTracks();
    draw(ready);
    const clock = setInterval(() => (track.readyState === "live" ? draw(ready) : clearInterval(clock)), 1000 / RATE);
    return stream;
  };
}
