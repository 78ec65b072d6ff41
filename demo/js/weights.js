// The incoming weights of one neuron as an image.
import { $, className, count, element, layerName, number, numbers, rgb } from "./format.js";
import { describe, drawPixels, surface, wait } from "./canvas.js";

const REFRESH_MS = 2000;

/** How many columns show `n` values that are not an image. */
const columns = (n) => n <= 24 ? n : Math.ceil(Math.sqrt(n * 1.6));

export function weightsPanel(app) {
  const layer = $("w-layer"), neuron = $("w-neuron"), canvas = $("w-image");
  let shown = null, asked = null, neurons = [], names = [];
  const tiles = () => {
    let [channels, height, width] = shown.shape;
    const values = shown.values;
    if (height === 1 && channels === 1) {
      width = columns(values.length);
      height = Math.ceil(values.length / width);
    }
    const across = Math.ceil(Math.sqrt(channels * height / width)) || 1, down = Math.ceil(channels / across);
    const gap = channels > 1 ? 1 : 0;
    const full = { w: across * (width + gap) - gap, h: down * (height + gap) - gap };
    const at = (k) => {
      const [px, py] = [k % full.w, Math.floor(k / full.w)];
      const [cx, x, cy, y] = [Math.floor(px / (width + gap)), px % (width + gap), Math.floor(py / (height + gap)), py % (height + gap)];
      const value = x < width && y < height ? values[((cy * across + cx) * height + y) * width + x] : undefined;
      return cy * across + cx < channels ? value : undefined;
    };
    return { full, at };
  };
  const image = surface(canvas, (context, w, h, c) => {
    if (!shown?.good.length) return;
    const { full, at } = tiles(), { good } = shown;
    const least = good.reduce((a, b) => Math.min(a, b), Infinity), greatest = good.reduce((a, b) => Math.max(a, b), -Infinity);
    const most = Math.max(-least, greatest) || 1;
    const [low, zero, high, none] = [c.low, c.zero, c.high, c.card].map(rgb);
    const place = drawPixels(context, full.w, full.h, { x: 1, y: 1, w: w - 2, h: h - 2 }, (k) => {
      const value = at(k);
      if (value === undefined || !Number.isFinite(value)) return none;
      const end = value < 0 ? low : high, share = Math.abs(value) / most;
      return zero.map((z, i) => z + (end[i] - z) * share);
    });
    context.strokeStyle = c.frame;
    context.strokeRect(place.x - 0.5, place.y - 0.5, place.w + 1, place.h + 1);
    $("w-low").textContent = number(-most, 2);
    $("w-high").textContent = `+${number(most, 2)}`;
    const mean = good.reduce((sum, v) => sum + v, 0) / good.length;
    describe(canvas, `${count(shown.values.length)} incoming weights of neuron ${shown.neuron} of ${names[shown.layer] ?? "the network"}, from ${number(least)} to ${number(greatest)}, mean ${number(mean)}.`);
  });
  const usable = () => {
    const may = app.can("weights") && neurons.length > 0;
    for (const id of ["w-layer", "w-neuron", "w-previous", "w-next"]) $(id).disabled = !may;
    if (!may && !shown) wait(canvas, app.hello && !app.can("weights") ? app.whyNot : "Waits for the network.");
    return may;
  };
  const ask = async (byUser = true) => {
    if (!usable()) return;
    const l = Number(layer.value), n = Math.min(Math.max(0, Math.floor(neuron.valueAsNumber || 0)), neurons[l] - 1);
    neuron.value = n;
    asked = { layer: l, neuron: n, when: performance.now() };
    const { ok } = await app.act({ do: "weights", layer: l, neuron: n }, byUser);
    if (!ok && !shown) wait(canvas, "The weights are not available now.");
  };
  const limit = () => { neuron.max = neurons[layer.value] - 1; };
  const move = (by) => {
    const most = neurons[layer.value];
    neuron.value = ((neuron.valueAsNumber || 0) + by + most) % most;
    ask();
  };
  layer.addEventListener("change", () => {
    limit();
    ask();
  });
  neuron.addEventListener("change", () => ask());
  $("w-previous").addEventListener("click", () => move(-1));
  $("w-next").addEventListener("click", () => move(1));
  const again = () => {
    if (asked && image.visible && app.can("weights") && performance.now() - asked.when > REFRESH_MS) ask(false);
  };
  return {
    usable,
    hello({ network, data }) {
      neurons = [...network.layers.map((l) => l.neurons), network.readout.classes];
      names = [...network.layers.map((l) => layerName(l.name)), "Readout"];
      const before = layer.value || 0;
      layer.replaceChildren(...names.map((name, l) => element("option", { value: l }, name)));
      layer.value = Math.min(before, names.length - 1);
      limit();
      neuron.title = network.layers.length ? "" : className({ data }, 0);
      shown = null;
      ask(false);
    },
    /** Another panel picks a neuron. */
    pick(l, n) {
      if (!(l < neurons.length) || !app.can("weights")) return;
      layer.value = l;
      neuron.value = n;
      limit();
      ask();
    },
    weights(message) {
      if (asked && (message.layer !== asked.layer || message.neuron !== asked.neuron)) return;
      const values = numbers(message.values);
      shown = { ...message, values, good: values.filter(Number.isFinite) };
      wait(canvas, shown.good.length ? null : "These weights are not finite numbers.");
      image.invalidate();
    },
    step: again,
    epochs: again,
  };
}
