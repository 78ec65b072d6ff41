// Learning curves, and activity and spike density per layer: lines over epochs.
import { $, element, layerName, number, percent, tick, ticks } from "./format.js";
import { describe, surface, wait } from "./canvas.js";

const MOST_STEPS = 1500;

/** Draws `series` of `{points: [[x, y]], colour, dash, thick, dot}` with axes; y from 0 if `zero`. */
function lines(context, w, h, c, { series, from, to, zero, most, format }) {
  const all = series.flatMap((s) => s.points.map((p) => p[1])).filter(Number.isFinite);
  context.font = `${c.rem * 0.76}px ${c.font}`;
  let low = zero ? 0 : Math.min(...all), high = Math.max(...all);
  if (!(high > low)) [low, high] = zero ? [0, high > 0 ? high * 1.25 : 1] : [low - 0.5, high + 0.5];
  const space = (high - low) * 0.08;
  high = Math.min(high + space, most ?? Infinity);
  if (!zero) low -= space;
  const marks = ticks(low, high, Math.max(3, Math.floor(h / 42)));
  const left = Math.max(...marks.map((m) => context.measureText(format(m)).width)) + 8, right = w - 8, top = 7, bottom = h - c.rem * 1.35;
  const x = (e) => left + (right - left) * (e - from) / (to - from || 1), y = (v) => bottom - (bottom - top) * (v - low) / (high - low);
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const mark of marks) {
    context.strokeStyle = c.grid;
    context.beginPath();
    context.moveTo(left, Math.round(y(mark)) + 0.5);
    context.lineTo(right, Math.round(y(mark)) + 0.5);
    context.stroke();
    context.fillStyle = c.muted;
    context.fillText(format(mark), left - 6, y(mark));
  }
  context.textBaseline = "alphabetic";
  context.textAlign = "right";
  context.fillText("epoch", right, h - 4);
  const end = right - context.measureText("epoch ").width - 6;
  context.textAlign = "center";
  for (const mark of ticks(from, to, Math.max(2, Math.floor((right - left) / 38)))) if (Number.isInteger(mark) && x(mark) < end) context.fillText(tick(mark), x(mark), h - 4);
  context.lineJoin = context.lineCap = "round";
  for (const { points, colour, dash, thick, dot } of series) {
    const good = points.filter((p) => Number.isFinite(p[1]));
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = thick ?? 2.2;
    context.setLineDash(dash ?? []);
    context.beginPath();
    good.forEach((p, k) => context[k ? "lineTo" : "moveTo"](x(p[0]), y(p[1])));
    context.stroke();
    context.setLineDash([]);
    for (const p of dot === "all" && good.length <= 30 ? good : dot ? good.slice(-1) : []) {
      context.beginPath();
      context.arc(x(p[0]), y(p[1]), 2.8, 0, 7);
      context.fill();
    }
  }
}

const of = (records, pick) => records.map((r) => [r.epoch, pick(r) ?? NaN]);
const some = (points) => points.some((p) => Number.isFinite(p[1]));

/** "Loss: training 0.41 after epoch 3, from 0.9 after epoch 1." */
function summary(what, series, format) {
  const said = series.filter((s) => some(s.points)).map(({ name, points }) => {
    const good = points.filter((p) => Number.isFinite(p[1]));
    const [first, last] = [good[0], good.at(-1)];
    return `${name} ${format(last[1])} after epoch ${last[0]}${good.length > 1 ? `, from ${format(first[1])} after epoch ${first[0]}` : ""}`;
  });
  return said.length ? `${what}: ${said.join("; ")}.` : `${what}: no value yet.`;
}

/** The panel of loss and accuracy. */
export function curvesPanel() {
  let records = [], steps = [], epochs = 1, labels = true;
  const short = (v) => `${Math.round(100 * v * 10) / 10} %`;
  const chart = (canvas, what, part, format, options) => surface(canvas, (context, w, h, c) => {
    const [epoch, live] = part();
    const series = [{ points: live, colour: c.faint, thick: 1.6, dot: true },
      ...epoch.map((s, k) => ({ ...s, colour: c.classes[s.colour ?? k], dash: s.colour ? [6, 4] : null, dot: "all" })).reverse()];
    if (!series.some((s) => some(s.points))) {
      const none = what === "Loss" ? "The loss is not a finite number." : labels ? "Waits for the first steps." : "The data has no labels, so there is no accuracy.";
      return wait(canvas, steps.length || records.length ? none : "Waits for the first steps.");
    }
    wait(canvas, null);
    const last = Math.max(records.at(-1)?.epoch ?? 0, steps.at(-1)?.x ?? 0);
    lines(context, w, h, c, { series, from: records.length || last > 1 ? Math.min(1, ...steps.slice(0, 1).map((s) => s.x)) : 0, to: Math.max(1, Math.min(epochs, Math.max(2, last * 1.25))), format, ...options });
    describe(canvas, summary(what, epoch, what === "Loss" ? number : (v) => percent(v)));
  });
  const loss = chart($("loss"), "Loss", () => [[{ name: "training", points: of(records, (r) => r.loss) }], steps.map((s) => [s.x, s.loss])],
    tick, {});
  const accuracy = chart($("accuracy"), "Accuracy", () => [[{ name: "training", points: of(records, (r) => r.train_accuracy) },
    { name: "test", colour: 1, points: of(records, (r) => r.test_accuracy) }], steps.map((s) => [s.x, s.accuracy])], short, { most: 1.001 });
  const stale = () => {
    loss.invalidate();
    accuracy.invalidate();
  };
  return {
    hello(message) {
      [records, steps, epochs] = [[], [], message.settings?.epochs || 1];
      stale();
    },
    step(message) {
      epochs = Math.max(epochs, message.epochs ?? 1);
      const x = message.epoch - 1 + message.batch / Math.max(1, message.batches);
      // The mean of an epoch begins anew with each epoch; its first batches say little.
      if (steps.length && x < steps.at(-1).x) steps = steps.filter((s) => s.x < x);
      steps.push({ x, loss: message.loss ?? NaN, accuracy: message.accuracy ?? NaN });
      if (steps.length > MOST_STEPS) steps = steps.filter((_, k) => k % 2);
      stale();
    },
    epochs(message) {
      records = message.records;
      steps = steps.filter((s) => s.x > (records.at(-1)?.epoch ?? 0));
      labels = !records.length || records.some((r) => r.train_accuracy !== null || r.test_accuracy !== null);
      stale();
    },
  };
}

/** The panel of activity and spike density. */
export function activityPanel() {
  let records = [], layers = null;
  const chart = (canvas, what, pick, meaning) => surface(canvas, (context, w, h, c) => {
    if (!layers?.length) return wait(canvas, layers ? "This network has no hidden layer." : "Waits for the network.");
    const series = layers.map((layer, l) => ({ name: layerName(layer.name), points: of(records, (r) => r[pick]?.[l]), colour: c.classes[l % 6], dash: l >= 6 ? [2, 3] : null, dot: "all" }));
    if (!series.some((s) => some(s.points))) return wait(canvas, records.length ? `The run did not record ${meaning}.` : "Waits for the end of the first epoch.");
    wait(canvas, null);
    const last = records.at(-1).epoch;
    lines(context, w, h, c, { series: [...series].reverse(), from: 1, to: Math.max(2, last), zero: true, most: 1.001, format: (v) => `${Number((100 * v).toPrecision(3))} %` });
    describe(canvas, summary(what, series, percent));
  });
  const active = chart($("active"), "Active entries", "activity", "the activity"), density = chart($("density"), "Spike density", "spike_density", "the spike density");
  const legend = () => $("layer-legend").replaceChildren(...layers.map((layer, l) => {
    const last = records.at(-1);
    const values = last?.activity?.[l] === undefined && last?.spike_density?.[l] === undefined ? "" : `: ${percent(last.activity?.[l])} active, ${percent(last.spike_density?.[l])} spikes`;
    return element("li", {}, element("i", { class: "line", "data-c": l % 6 }), `${layerName(layer.name).replace("Hidden l", "L")}${values}`);
  }));
  const stale = () => {
    legend();
    active.invalidate();
    density.invalidate();
  };
  return {
    hello(message) {
      [records, layers] = [[], message.network.layers];
      stale();
    },
    epochs(message) {
      records = message.records;
      stale();
    },
  };
}
