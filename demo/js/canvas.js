// Canvases that are as sharp as the screen, and are drawn only while they can be seen.
import { colours, forgetColours } from "./format.js";

/** Between two frames of an animation: about 30 a second, since the same processor may be training. */
const PAUSE_MS = 24;

const surfaces = new Set();
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const surface = entry.target.surface;
    surface.visible = entry.isIntersecting;
    if (surface.visible && surface.stale) surface.invalidate();
  }
}, { rootMargin: "60px" });
const sized = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.surface.invalidate(true)));

/**
 * Calls `paint(context, width, height, colours, resized)` in CSS pixels when the canvas is stale and visible. If `paint` returns true,
 * it is called again in the next frame.
 */
export function surface(canvas, paint) {
  const made = { canvas, visible: false, stale: true, asked: false, fresh: true };
  const frame = () => {
    made.asked = false;
    if (!made.visible) return;
    made.stale = false;
    const scale = Math.min(3, devicePixelRatio || 1);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    const w = Math.round(width * scale), h = Math.round(height * scale);
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height, made.fresh] = [w, h, true];
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const again = paint(context, width, height, colours(), made.fresh);
    made.fresh = false;
    if (again) setTimeout(made.invalidate, PAUSE_MS);
  };
  made.invalidate = (fresh = false) => {
    made.stale = true;
    made.fresh ||= fresh;
    if (made.asked || !made.visible) return;
    made.asked = true;
    requestAnimationFrame(frame);
  };
  canvas.surface = made;
  surfaces.add(made);
  seen.observe(canvas);
  sized.observe(canvas);
  return made;
}

/** After a change of the theme. */
export function repaint() {
  forgetColours();
  for (const each of surfaces) each.invalidate(true);
}

/** Removes or shows the sentence that says what a panel waits for. */
export function wait(canvas, sentence) {
  const words = canvas.parentElement.querySelector(".wait");
  words.hidden = !sentence;
  if (sentence && words.textContent !== sentence) words.textContent = sentence;
}

/** What a canvas shows, in words. */
export function describe(canvas, words) {
  if (canvas.getAttribute("aria-label") !== words) canvas.setAttribute("aria-label", words);
}

/** A second canvas of `width` × `height` pixels that is not on the page. */
export function hiddenCanvas(width, height) {
  const made = document.createElement("canvas");
  [made.width, made.height] = [Math.max(1, width), Math.max(1, height)];
  return made;
}

/** Draws `at(k) -> [r, g, b]` of width × height pixels as large as it fits into `room`, sharp-edged; returns where. */
export function drawPixels(context, width, height, room, at) {
  const small = hiddenCanvas(width, height);
  const inside = small.getContext("2d"), data = inside.createImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    const [r, g, b] = at(k);
    data.data.set([r, g, b, 255], 4 * k);
  }
  inside.putImageData(data, 0, 0);
  const scale = Math.min(room.w / width, room.h / height);
  const to = { x: room.x + (room.w - scale * width) / 2, y: room.y + (room.h - scale * height) / 2, w: scale * width, h: scale * height, scale };
  context.imageSmoothingEnabled = false;
  context.drawImage(small, to.x, to.y, to.w, to.h);
  return to;
}
