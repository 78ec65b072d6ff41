// One sample moving in time: spikes of the input and of each layer, the readout's potentials, and the decision.
import { $, className, count, element, layerName, number, numbers, percent, plural, reducedMotion, rgb, say, tick, ticks } from "./format.js";
import { describe, drawPixels, hiddenCanvas, surface, wait } from "./canvas.js";

const SWEEP_MS = 5000, HOLD_MS = 2500;
const COLOURED = 5, MOST_BARS = 10;
const KINDS = { max: "largest potential so far", sum: "sum of the potentials so far", mean: "mean of the potentials so far", last: "potential at this time" };

const largest = (row) => row.reduce((best, v, k) => v > row[best] ? k : best, 0);

/** What the panel needs of a `sample` message: spikes by time step, and the logits after each step. */
function prepared(message, hello) {
  const { network, data } = hello;
  const T = network.time_steps, C = network.readout.classes;
  const strips = [{ name: "Input", ...message.input }, ...message.layers.map((l) => ({ ...l, name: layerName(l.name) }))].map((layer, k) => {
    const byTime = Array.from({ length: T }, () => []);
    layer.t.forEach((t, e) => byTime[t]?.push(layer.i[e]));
    return { name: layer.name, neurons: layer.neurons, spikes: layer.t.length, byTime, layer: k - 1 };
  });
  const v = numbers(message.readout.v), running = [], now = new Float64Array(C).fill(v && network.readout.logits === "max" ? -Infinity : 0);
  const counted = v ? null : strips.at(-1);
  for (let t = 0; t < T; t++) {
    for (let c = 0; v && c < C; c++) {
      const value = v[t * C + c];
      if (network.readout.logits === "max") now[c] = Math.max(now[c], value);
      else if (network.readout.logits === "last") now[c] = value;
      else now[c] += value;
    }
    for (const i of counted?.byTime[t] ?? []) now[i]++;
    running.push(network.readout.logits === "mean" ? now.map((x) => x / (t + 1)) : now.slice());
  }
  const order = message.logits.map((_, c) => c).sort((a, b) => message.logits[b] - message.logits[a]);
  // A class keeps its colour from sample to sample, unless another one that matters here has it.
  const coloured = new Map();
  for (const k of [...new Set([...order.slice(0, COLOURED), message.label ?? order[0]])]) {
    let colour = k % 6;
    while ([...coloured.values()].includes(colour)) colour = (colour + 1) % 6;
    coloured.set(k, colour);
  }
  const bars = order.slice(0, C <= MOST_BARS + 2 ? C : MOST_BARS);
  if (message.label !== null && !bars.includes(message.label)) bars.splice(-1, 1, message.label);
  const pixels = message.image && numbers(message.image.pixels);
  return { message, T, C, strips, v, running, coloured, bars, pixels, image: message.image, dt: network.dt_ms, data };
}

export function rasterPanel(app) {
  const canvas = $("raster"), play = $("sample-play"), slider = $("sample-time");
  let shown = null, next = null, at = Infinity, playing = !reducedMotion.matches, began = 0, layers = null, frames = [], rows = [];

  const colourOf = (c, k) => shown.coloured.has(k) ? c.classes[shown.coloured.get(k)] : c.faint;
  /** Where the strips are: the readout's potentials get as much room as the input. */
  const places = (w, h, c) => {
    const potentials = shown.v ? 1 : 0, count = shown.strips.length + potentials;
    const left = c.rem * (w < 480 ? 2.3 : 2.7), right = w - 8, head = c.rem * 1.35, foot = c.rem * 1.4;
    const weight = (k) => k === 0 || k === shown.strips.length ? 1.6 : 1;
    const total = Array.from({ length: count }, (_, k) => weight(k)).reduce((a, b) => a + b, 0);
    let y = 0;
    return Array.from({ length: count }, (_, k) => {
      const room = (h - foot) * weight(k) / total, top = y + head;
      y += room;
      return { left, right, top, bottom: y - 6 };
    });
  };
  const x = (place, t) => place.left + (place.right - place.left) * t / shown.T;

  const strip = (context, back, k, place, c, w) => {
    const { name, neurons, byTime, spikes } = shown.strips[k];
    const colour = k === 0 ? c.ink : c.classes[(k - 1) % 6];
    heading(back, place, name, w < 420 ? `${plural(spikes, "spike")}` : `${plural(neurons, "neuron")} · ${plural(spikes, "spike")}`, c);
    const tall = place.bottom - place.top, row = tall / neurons, step = (place.right - place.left) / shown.T;
    const size = Math.max(1.6, Math.min(5, Math.max(row * 0.8, spikes > 3000 ? 1.6 : 3.2), Math.max(step * 0.9, 2.2)));
    back.textAlign = "right";
    back.fillStyle = c.muted;
    for (const mark of tall > 44 ? ticks(0, neurons, Math.max(1, tall / 40)) : [0]) {
      back.fillText(count(mark), place.left - 5, place.bottom - row * mark + (mark ? 4 : 0));
    }
    context.fillStyle = colour;
    for (let t = 0; t < shown.T; t++) {
      for (const i of byTime[t]) {
        const [px, py] = [x(place, t + 0.5), place.bottom - row * (i + 0.5)];
        if (spikes > 6000) context.fillRect(px - size / 2, py - size / 2, size, size);
        else {
          context.beginPath();
          context.arc(px, py, size / 2, 0, 7);
          context.fill();
        }
      }
    }
  };
  const heading = (back, place, left, right, c) => {
    const font = back.font;
    back.textAlign = "right";
    back.fillStyle = c.muted;
    back.fillText(right, place.right, place.top - 6);
    const room = place.right - place.left - back.measureText(right).width - 10;
    back.textAlign = "left";
    back.font = `600 ${font}`;
    back.fillStyle = c.ink;
    back.fillText(left, place.left, place.top - 6, room);
    back.font = font;
    back.strokeStyle = c.frame;
    back.lineWidth = 1;
    back.strokeRect(Math.round(place.left) - 0.5, Math.round(place.top) - 0.5, Math.round(place.right - place.left) + 1, Math.round(place.bottom - place.top) + 1);
  };
  const readout = (context, back, place, c, w) => {
    const { v, T, C } = shown;
    const kind = app.hello.network.readout.logits;
    heading(back, place, "Readout potentials", w < 560 ? "" : `a line per class · the ${{ max: "largest value", sum: "sum over time", mean: "mean over time", last: "last value" }[kind] ?? "largest logit"} decides`, c);
    let [low, high] = [0, 0];
    for (const value of v) if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
    if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
    const space = (high - low) * 0.08, bottom = place.bottom - 9;
    const y = (value) => bottom - (bottom - place.top) * (value - low + space) / (high - low + 2 * space);
    back.textAlign = "right";
    for (const mark of ticks(low, high, Math.max(3, (bottom - place.top) / 44))) {
      back.fillStyle = c.muted;
      back.fillText(tick(mark), place.left - 5, y(mark) + 4);
      back.strokeStyle = mark === 0 ? c.faint : c.grid;
      back.beginPath();
      back.moveTo(place.left, Math.round(y(mark)) + 0.5);
      back.lineTo(place.right, Math.round(y(mark)) + 0.5);
      back.stroke();
    }
    context.lineJoin = "round";
    const order = Array.from({ length: C }, (_, k) => k).sort((a, b) => shown.message.logits[a] - shown.message.logits[b]);
    order.sort((a, b) => shown.coloured.has(a) - shown.coloured.has(b));
    for (const k of order) {
      context.strokeStyle = colourOf(c, k);
      context.lineWidth = k === shown.message.predicted ? 3 : shown.coloured.has(k) ? 2 : 1;
      context.beginPath();
      for (let t = 0; t < T; t++) context[t ? "lineTo" : "moveTo"](x(place, t + 0.5), y(v[t * C + k]));
      context.stroke();
    }
    // Below: the class that leads at each time step.
    for (let t = 0; t < T; t++) {
      context.fillStyle = colourOf(c, largest(shown.running[t]));
      context.fillRect(x(place, t), place.bottom - 6, x(place, t + 1) - x(place, t) + 0.5, 6);
    }
  };
  const compose = (w, h, c) => {
    const scale = canvas.width / w;
    layers = [0, 1].map(() => {
      const made = hiddenCanvas(canvas.width, canvas.height), context = made.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.font = `${c.rem * (w < 480 ? 0.74 : 0.78)}px ${c.font}`;
      return { made, context };
    });
    const [back, front] = layers.map((l) => l.context);
    frames = places(w, h, c);
    const foot = frames.at(-1);
    for (const mark of ticks(0, shown.T * shown.dt, Math.max(3, (foot.right - foot.left) / 90))) {
      const px = Math.round(x(foot, mark / shown.dt)) + 0.5;
      back.strokeStyle = c.grid;
      back.beginPath();
      for (const place of frames) {
        back.moveTo(px, place.top);
        back.lineTo(px, place.bottom);
      }
      back.stroke();
      back.fillStyle = c.muted;
      back.textAlign = px > foot.right - 20 ? "right" : "center";
      back.fillText(px > foot.right - 20 ? `${count(mark)} ms` : tick(mark), px + (px > foot.right - 20 ? 4 : 0), h - 5);
    }
    shown.strips.forEach((_, k) => strip(front, back, k, frames[k], c, w));
    if (shown.v) readout(front, back, frames.at(-1), c, w);
  };

  const paint = surface(canvas, (context, w, h, c, fresh) => {
    if (!shown) return;
    if (fresh || !layers) compose(w, h, c);
    const t = clock();
    const whole = t >= shown.T;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(layers[0].made, 0, 0);
    const scale = canvas.width / w, until = Math.round(x(frames[0], t) * scale);
    if (!whole) {
      context.globalAlpha = 0.13;
      context.drawImage(layers[1].made, 0, 0);
      context.globalAlpha = 1;
    }
    if (whole) context.drawImage(layers[1].made, 0, 0);
    else if (until > 0) context.drawImage(layers[1].made, 0, 0, until, canvas.height, 0, 0, until, canvas.height);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    if (!whole) playhead(context, t, c);
    if (Math.ceil(t) !== paint.step) {
      paint.step = Math.ceil(t);
      picture.invalidate();
      decide(Math.min(shown.T, paint.step), c);
    }
    return playing && !document.hidden;
  });
  const playhead = (context, t, c) => {
    const step = Math.floor(t);
    context.lineWidth = 1.5;
    context.strokeStyle = c.accent;
    context.beginPath();
    for (const place of frames) {
      context.moveTo(x(place, t), place.top - 3);
      context.lineTo(x(place, t), place.bottom + 3);
    }
    context.stroke();
    // The newest spikes flash.
    shown.strips.forEach(({ byTime, neurons }, k) => {
      const place = frames[k], row = (place.bottom - place.top) / neurons, radius = c.rem * (canvas.clientWidth < 480 ? 0.24 : 0.34);
      for (let back = 0; back < 3 && step - back >= 0; back++) {
        const spikes = byTime[step - back];
        if (spikes.length > 400) continue;
        context.globalAlpha = 0.6 - 0.2 * back;
        context.fillStyle = k === 0 ? c.fresh : c.classes[(k - 1) % 6];
        for (const i of spikes) {
          context.beginPath();
          context.arc(x(place, step - back + 0.5), place.bottom - row * (i + 0.5), radius - 0.8 * back, 0, 7);
          context.fill();
        }
      }
    });
    context.globalAlpha = 1;
  };

  const picture = surface($("image"), (context, w, h, c) => {
    if (!shown?.pixels) return;
    const { channels, height, width } = shown.image, plane = height * width;
    const t = Math.min(at, shown.T), seen = new Float32Array(plane).fill(-1);
    const spiked = shown.message.input.neurons === channels * plane;
    for (let s = 0; spiked && s < t && s < shown.T; s++) for (const i of shown.strips[0].byTime[s]) seen[i % plane] = s;
    const fresh = rgb(c.fresh), tints = channels === 2 ? [rgb(c.classes[0]), rgb(c.classes[1])] : null;
    drawPixels(context, width, height, { x: 0, y: 0, w, h }, (k) => {
      const own = Array.from({ length: channels }, (_, ch) => shown.pixels[ch * plane + k]);
      const colour = tints ? [0, 1, 2].map((i) => Math.min(255, (own[0] * tints[0][i] + own[1] * tints[1][i]) / 255)) : channels === 3 ? own : [own[0], own[0], own[0]];
      if (!spiked || t >= shown.T) return colour;
      if (seen[k] < 0) return colour.map((v) => v * 0.3);
      const heat = Math.max(0, 1 - (t - seen[k]) / (shown.T * 0.05));
      return colour.map((v, i) => v + (fresh[i] - v) * heat);
    });
  });

  /** The bars: the logits as they are after `t` time steps. */
  const decide = (t, c) => {
    const logits = t >= shown.T ? shown.message.logits : shown.running[Math.max(0, t - 1)];
    const most = Math.max(...shown.message.logits.map(Math.abs), 1e-9), leader = largest(logits), quiet = logits.every((v) => v === logits[0] || !Number.isFinite(v));
    for (const { k, li, bar, value } of rows) {
      li.classList.toggle("leads", k === leader && !quiet);
      bar.style.transform = `scaleX(${Math.max(0, Math.min(1, logits[k] / most))})`;
      bar.style.background = colourOf(c, k);
      value.textContent = shown.v ? number(logits[k], 2) : count(logits[k]);
    }
    const kind = app.hello.network.readout.kind === "spike_count" ? "spikes so far" : KINDS[app.hello.network.readout.logits] ?? "logit";
    say($("decision-h"), t >= shown.T ? `Decision: ${className(app.hello, shown.message.predicted)}` : quiet ? `After ${tick(t * shown.dt)} ms: nothing yet` : `After ${tick(t * shown.dt)} ms: ${className(app.hello, leader)}`);
    say($("bars-more"), `Bars: ${kind}.${shown.C > rows.length ? ` ${count(shown.C - rows.length)} other classes are below.` : ""}`);
    slider.value = t;
    slider.setAttribute("aria-valuetext", `time step ${t} of ${shown.T}, ${tick(t * shown.dt)} ms`);
  };

  /** The time step to show now; at the end of a sweep, the latest message takes over. */
  const clock = () => {
    if (!playing) return at;
    const ms = performance.now() - began;
    if (ms > SWEEP_MS + HOLD_MS) {
      began = performance.now();
      if (next) setTimeout(() => adopt(next));
    }
    at = Math.min(1, Math.max(0, performance.now() - began) / SWEEP_MS) * shown.T;
    return at;
  };
  const adopt = (message) => {
    next = null;
    shown = prepared(message, app.hello);
    layers = null;
    canvas.parentElement.style.minHeight = `${Math.max(420, 160 + 84 * shown.strips.length)}px`;
    wait(canvas, null);
    slider.max = shown.T;
    rows = shown.bars.map((k) => {
      const bar = element("i"), value = element("span", { class: "value" });
      const mark = k === message.label ? " ✓" : "";
      const li = element("li", {}, element("span", { class: "name", title: className(app.hello, k) }, className(app.hello, k) + mark), value, element("span", { class: "track" }, bar));
      return { k, li, bar, value };
    });
    $("bars").replaceChildren(...rows.map((row) => row.li));
    $("image-box").hidden = !shown.pixels;
    if (shown.image) $("image").style.aspectRatio = `${shown.image.width} / ${shown.image.height}`;
    say($("image-caption"), shown.message.input.neurons === shown.pixels?.length ? "Pixels light up as their input neuron spikes." : "The image behind the spikes.");
    verdict(message);
    words(message);
    paint.step = -1;
    picture.invalidate(true);
    paint.invalidate(true);
  };
  const verdict = ({ index, of, label, predicted, position, wrong_count }) => {
    const name = (k) => className(app.hello, k), parts = [];
    if (index < 0) parts.push(`Your drawing: ${name(predicted)}`);
    else {
      const among = $("sample-wrong").checked && position !== null ? ` (wrong one ${count(position + 1)} of ${count(wrong_count)})` : "";
      parts.push(`Sample ${count(index)} of ${count(of)}${among} · `);
      if (label === null) parts.push(`predicted ${name(predicted)}, no label`);
      else if (label === predicted) parts.push(`${name(label)} `, element("span", { class: "good" }, "✓ right"));
      else parts.push(`${name(label)}, `, element("span", { class: "bad" }, `✗ taken for ${name(predicted)}`));
    }
    $("sample-verdict").replaceChildren(...parts);
  };
  const words = (message) => {
    const spikes = shown.strips.map((s) => `${s.name}: ${plural(s.spikes, "spike")} of ${plural(s.neurons, "neuron")}, ${percent(s.spikes / (s.neurons * shown.T))} density`).join("; ");
    const top = shown.bars.slice(0, 3).map((k) => `${className(app.hello, k)} ${number(message.logits[k], 2)}`).join(", ");
    describe(canvas, `Spikes of ${message.index < 0 ? "the drawing" : `test sample ${message.index}`} in ${shown.T} time steps. ${spikes}. Largest logits: ${top}.`);
    if (shown.image) describe($("image"), `Input image of ${shown.image.width} × ${shown.image.height} pixels${message.label === null || message.index < 0 ? "" : `, class ${className(app.hello, message.label)}`}.`);
  };

  const setPlaying = (to) => {
    playing = to;
    if (to) began = performance.now() - (at >= (shown?.T ?? 1) ? 0 : at / shown.T * SWEEP_MS);
    say(play, to ? "Pause time" : "Play time");
    play.setAttribute("aria-pressed", to);
    if (!to && next) adopt(next);
    paint.invalidate();
  };
  play.addEventListener("click", () => setPlaying(!playing));
  slider.addEventListener("input", () => {
    if (!shown) return;
    at = Number(slider.value);
    setPlaying(false);
  });
  const move = (by) => app.act({ do: "sample", move: by, wrong: $("sample-wrong").checked });
  $("sample-previous").addEventListener("click", () => move(-1));
  $("sample-next").addEventListener("click", () => move(1));
  // The first press shows a wrong one at once.
  $("sample-wrong").addEventListener("change", () => {
    if (shown) verdict(shown.message);
    if ($("sample-wrong").checked && (shown?.message.position ?? null) === null) move(1);
  });
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect(), y = event.clientY - box.y;
    const k = frames.findIndex((f) => y >= f.top && y <= f.bottom);
    const strip = shown?.strips[k];
    if (strip && k > 0) app.pick(strip.layer, Math.min(strip.neurons - 1, Math.floor((frames[k].bottom - y) / (frames[k].bottom - frames[k].top) * strip.neurons)));
  });
  document.addEventListener("visibilitychange", () => paint.invalidate());
  setPlaying(playing);

  return {
    usable() {
      for (const id of ["sample-previous", "sample-next", "sample-wrong"]) $(id).disabled = !app.can("sample");
    },
    hello() {
      [shown, next, layers, at] = [null, null, null, Infinity];
      [began, rows, frames] = [performance.now(), [], []];
      for (const id of ["bars", "sample-verdict"]) $(id).replaceChildren();
      for (const id of ["decision-h", "bars-more", "image-caption"]) say($(id), id === "decision-h" ? "Decision" : "");
      $("image-box").hidden = !app.hello.data.shape;
      wait(canvas, "Waits for the first sample: it is shown once the network exists.");
    },
    sample(message) {
      // The same sample or drawing again, after more training: shown from the next sweep on, so that it does not change half way.
      const before = shown?.message;
      const same = message.index === before?.index && (message.index >= 0 || message.image?.pixels === before.image?.pixels);
      if (playing && same) next = message;
      else {
        if (playing) began = performance.now();
        if (!playing && shown?.message.index !== message.index) at = Infinity;
        adopt(message);
      }
    },
  };
}
