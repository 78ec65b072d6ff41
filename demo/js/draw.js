// A pad for an image of one's own, classified by spikes at once.
import { $, className, number, numbers, pack, rgb, say } from "./format.js";
import { describe, drawPixels, surface, wait } from "./canvas.js";

const SEND_MS = 120;

export function drawPanel(app) {
  const pad = $("draw-pad");
  let height = 0, width = 0, pixels = null, sampled = null, place = null, at = null, brush = null, timer = 0, keys = false;
  const view = surface(pad, (context, w, h, c) => {
    if (!pixels) return;
    place = drawPixels(context, width, height, { x: 1, y: 1, w: w - 2, h: h - 2 }, (k) => [pixels[k], pixels[k], pixels[k]]);
    if (!keys && pixels.every((p) => !p)) {
      context.fillStyle = "#c9ced6";
      context.font = `${c.rem}px ${c.font}`;
      context.textAlign = "center";
      context.fillText("Draw here", place.x + place.w / 2, place.y + place.h / 2);
    }
    context.strokeStyle = c.frame;
    context.strokeRect(place.x - 0.5, place.y - 0.5, place.w + 1, place.h + 1);
    if (brush && keys) {
      context.strokeStyle = `rgb(${rgb(c.fresh)})`;
      context.lineWidth = 2;
      context.strokeRect(place.x + brush.x * place.scale, place.y + brush.y * place.scale, place.scale, place.scale);
    }
  });
  const usable = () => {
    const may = app.can("draw") && Boolean(pixels);
    $("draw-clear").disabled = !may;
    $("draw-copy").disabled = !may || !sampled;
    pad.setAttribute("aria-disabled", !may);
    wait(pad, may ? null : !app.hello ? "Waits for the size of the images." : !app.hello.data.shape ? "This data has no images, so there is nothing to draw." : app.whyNot);
    pad.tabIndex = may ? 0 : -1;
    return may;
  };
  const send = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      app.act({ do: "draw", pixels: pack(pixels) });
    }, SEND_MS);
  };
  const changed = (sendIt) => {
    const share = pixels.reduce((n, p) => n + (p > 0), 0) / pixels.length;
    describe(pad, `Drawing of ${width} × ${height} pixels, ${Math.round(100 * share)} % of them drawn. Arrow keys move the brush, space draws.`);
    view.invalidate();
    if (sendIt) send();
  };
  // A soft round brush about 1/14 of the image wide.
  const dab = (x, y) => {
    const radius = Math.max(0.75, Math.min(height, width) / 18);
    for (let row = Math.max(0, Math.floor(y - radius - 1)); row <= Math.min(height - 1, y + radius + 1); row++) {
      for (let column = Math.max(0, Math.floor(x - radius - 1)); column <= Math.min(width - 1, x + radius + 1); column++) {
        const ink = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(column + 0.5 - x, row + 0.5 - y)));
        pixels[row * width + column] = Math.max(pixels[row * width + column], Math.round(255 * ink));
      }
    }
  };
  const stroke = (to) => {
    const from = at ?? to, n = Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)) || 1;
    for (let k = 1; k <= n; k++) dab(from.x + (to.x - from.x) * k / n, from.y + (to.y - from.y) * k / n);
    at = to;
    changed(true);
  };
  const where = (event) => {
    const box = pad.getBoundingClientRect();
    return { x: (event.clientX - box.x - place.x) / place.scale, y: (event.clientY - box.y - place.y) / place.scale };
  };
  pad.addEventListener("pointerdown", (event) => {
    if (!usable() || !place) return;
    pad.setPointerCapture(event.pointerId);
    [at, keys] = [null, false];
    stroke(where(event));
  });
  pad.addEventListener("pointermove", (event) => at && (event.getCoalescedEvents?.() ?? [event]).forEach((each) => stroke(where(each))));
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { at = null; });
  pad.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const clears = event.key === "Delete" || event.key === "Backspace";
    if (!usable() || event.ctrlKey || event.metaKey || !(by || clears || event.key === " ")) return;
    event.preventDefault();
    if (clears) return clear();
    keys = true;
    brush ??= { x: width >> 1, y: height >> 1 };
    if (by) brush = { x: Math.min(width - 1, Math.max(0, brush.x + by[0])), y: Math.min(height - 1, Math.max(0, brush.y + by[1])) };
    if (!by || event.shiftKey) {
      dab(brush.x + 0.5, brush.y + 0.5);
      return changed(true);
    }
    view.invalidate();
  });
  const clear = () => {
    pixels.fill(0);
    say($("draw-result"), "");
    changed(false);
  };
  $("draw-clear").addEventListener("click", clear);
  $("draw-copy").addEventListener("click", () => {
    pixels.set(sampled);
    changed(true);
  });
  return {
    usable,
    hello({ data }) {
      const [h, w] = data.shape ? data.shape.slice(1) : [0, 0];
      if (h !== height || w !== width) pixels = h * w ? new Uint8Array(h * w) : null;
      [height, width, sampled] = [h, w, null];
      say($("draw-result"), "");
      usable();
      if (pixels) changed(false);
    },
    sample(message) {
      if (message.index >= 0) {
        const image = message.image && numbers(message.image.pixels).slice(0, height * width);
        if (image?.length === height * width) sampled = image;
        return usable();
      }
      const ranked = message.logits.map((v, k) => [v, k]).sort((a, b) => b[0] - a[0]);
      const second = ranked[1] ? `, then ${className(app.hello, ranked[1][1])} ${number(ranked[1][0], 2)}` : "";
      say($("draw-result"), `Classified as ${className(app.hello, message.predicted)} (logit ${number(ranked[0][0], 2)}${second}).`);
    },
  };
}
