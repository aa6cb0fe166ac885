/** Dragging by mouse anywhere on an element, by finger or pen at its grip, so that a page still scrolls by finger. */

const FAR_ENOUGH = 6; // pixels: less is a click

/**
 * Let an element be dragged.
 *
 * @param {HTMLElement} element
 * @param {{over: (x: number, y: number) => void, drop: (x: number, y: number) => void}} listener Gets the pointer's place.
 */
export function draggable(element, { over, drop }) {
  element.addEventListener("pointerdown", (down) => {
    const grip = down.target.closest(".grip");
    if (down.button !== 0 || (down.pointerType !== "mouse" && !grip)) return;
    follow(element, down, over, drop);
  });
}

function follow(element, down, over, drop) {
  const watch = new AbortController();
  const { signal } = watch;
  let dragged = false;
  const end = () => {
    watch.abort();
    element.style.translate = "";
    element.classList.remove("dragged");
  };
  const move = ({ pointerId, clientX, clientY }) => {
    if (pointerId !== down.pointerId) return;
    const [x, y] = [clientX - down.clientX, clientY - down.clientY];
    dragged ||= Math.hypot(x, y) > FAR_ENOUGH;
    if (!dragged) return;
    element.classList.add("dragged");
    element.style.translate = `${x}px ${y}px`;
    over(clientX, clientY);
  };
  const up = ({ pointerId, clientX, clientY }) => {
    if (pointerId !== down.pointerId) return;
    end();
    if (!dragged) return;
    window.addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => window.removeEventListener("click", swallow, { capture: true }));
    drop(clientX, clientY);
  };
  window.addEventListener("pointermove", move, { signal });
  window.addEventListener("pointerup", up, { signal });
  window.addEventListener("pointercancel", end, { signal });
}

/** The click that follows a drag is none. @param {Event} event */
function swallow(event) {
  event.stopPropagation();
  event.preventDefault();
}
