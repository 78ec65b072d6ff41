// Connects the source of the messages with the panels, and the header's controls with the source.
import { $, count, element, ms, number, percent, say } from "./format.js";
import { repaint } from "./canvas.js";
import { connect } from "./source.js";
import { rasterPanel } from "./raster.js";
import { activityPanel, curvesPanel } from "./curves.js";
import { kernelsPanel } from "./kernels.js";
import { racePanel } from "./race.js";
import { weightsPanel } from "./weights.js";
import { drawPanel } from "./draw.js";

const SURE_MS = 4000;
let source = null, state = { state: "starting", text: "" }, linked = false, problem = null, epochsSeen = 0;

const app = {
  hello: null,
  get over() { return ["ended", "failed", "interrupted"].includes(state.state); },
  get running() { return linked && state.state === "running"; },
  get whyNot() {
    return !linked ? "Waits for the connection." : source.mayAct ? "Not available in this run."
      : "This page only watches: open the whole address that the program printed to control the run.";
  },
  can: (name) => Boolean(linked && source?.mayAct && app.hello?.can.includes(name)),
  /** `asked`: by the user, who has then seen what was wrong before. */
  async act(command, asked = true) {
    const before = problem;
    const answer = await source.act(command);
    if (!answer.ok) tell(answer.error, source.mayAct ? "error" : "warning");
    else if (before && problem === before && asked) tell(null);
    if (!source.mayAct) usable();
    return answer;
  },
  pick: (layer, neuron) => weights.pick(layer, neuron),
};

/** A problem stays on the page until the next thing works; otherwise the state's sentence stands there. */
function tell(text, level = "info") {
  problem = text ? { text, level } : null;
  const lost = linked ? null : linkText;
  $("message").dataset.level = problem?.level ?? ((lost && !app.over) || state.state === "failed" ? "warning" : "info");
  say($("message"), problem?.text ?? lost ?? (state.text || stateWords()));
}
let linkText = "Connects to the training run …";
const stateWords = () => ({ starting: "The run starts.", running: "The network trains.", paused: "Training is paused.", ended: "The run is finished.",
  interrupted: "The run was interrupted.", failed: "The run failed." })[state.state] ?? "";

const raster = rasterPanel(app), weights = weightsPanel(app), draw = drawPanel(app), race = racePanel(app);
const panels = [raster, curvesPanel(), activityPanel(), kernelsPanel(), race, weights, draw];

function usable() {
  const { over } = app, paused = state.state === "paused";
  say($("pause"), paused ? "Resume" : "Pause");
  $("pause").disabled = over || !app.can(paused ? "resume" : "pause");
  $("step").disabled = over || !app.can("step");
  $("restart").disabled = $("restart-with").disabled = !app.can("restart");
  $("set-now").disabled = over || !app.can("set");
  $("set-restart").disabled = !app.can("restart");
  say($("pill"), linked ? state.state : app.hello ? "not connected" : "connecting");
  $("pill").dataset.state = linked ? state.state : "lost";
  for (const panel of [raster, weights, draw]) panel.usable();
  race.label();
}

const shell = {
  hello(message) {
    app.hello = message;
    epochsSeen = 0;
    const { device, data, network, settings } = message;
    document.title = `${message.title} · spikegrad`;
    say($("title"), message.title);
    const sizes = [network.inputs, ...network.layers.map((l) => l.neurons), network.readout.classes].join("\u2011"); // does not break
    const name = device.kind === "cpu" ? `CPU, ${device.name}` : device.name;
    const where = device.detail && !device.name.includes(device.detail) ? `${name} (${device.detail})` : name;
    const from = { browser: "in this browser", watch: "watching a run" }[message.source];
    say($("device"), `${[where, from, sizes, message.title.includes(data.name) ? null : data.name].filter(Boolean).join(" · ")}`);
    say($("version"), `Version ${message.version}.`);
    $("surrogate").replaceChildren(...message.surrogates.map((name) => element("option", { value: name }, name.replaceAll("_", " "))));
    Object.assign($("lr"), { min: Math.min(-6, Math.floor(Math.log10(settings.lr))), max: Math.max(0, Math.ceil(Math.log10(settings.lr))), value: Math.log10(settings.lr) });
    rate(settings.lr);
    $("b-th").value = settings.b_th ?? "";
    $("surrogate").value = settings.surrogate;
    $("hidden").value = settings.hidden.join(",");
    $("seed").value = settings.seed;
    for (const id of ["epoch", "batch", "loss", "train", "test", "ms"]) say($(`s-${id}`), "–");
    $("progress").value = 0;
  },
  state(message) {
    state = message;
    // After a restart that failed, the run before goes on, and says so.
    if (!problem || problem.level === "info" || app.over) tell(null);
  },
  step(message) {
    big("s-epoch", count(message.epoch), `of ${count(message.epochs)}`);
    big("s-batch", count(message.batch), `of ${count(message.batches)}`);
    big("s-loss", number(message.loss));
    big("s-train", percent(message.accuracy));
    big("s-ms", ms(message.ms), "ms");
    if (message.lr && message.lr !== ratedAt) rate(message.lr);
    $("progress").value = Math.min(1, (message.epoch - 1 + message.batch / Math.max(1, message.batches)) / Math.max(1, message.epochs));
  },
  epochs({ records }) {
    const last = records.at(-1);
    if (!last) return;
    big("s-test", percent(last.test_accuracy));
    if ($("s-epoch").textContent === "–") { // No step was seen yet.
      const { epochs } = app.hello.settings;
      big("s-epoch", count(last.epoch), `of ${count(Math.max(epochs, last.epoch))}`);
      big("s-loss", number(last.loss));
      big("s-train", percent(last.train_accuracy));
      $("progress").value = Math.min(1, last.epoch / epochs);
    }
    if (records.length !== epochsSeen && epochsSeen) say($("announce"), `Epoch ${last.epoch}: loss ${number(last.loss)}${last.test_accuracy === null ? "" : `, test accuracy ${percent(last.test_accuracy)}`}.`);
    epochsSeen = records.length;
  },
  note: (message) => tell(message.text, message.level),
};

let ratedAt = null;
/** The learning rate of the run, which another page may have changed. */
function rate(lr) {
  ratedAt = lr;
  Object.assign($("lr"), { initial: lr, moved: false, value: Math.log10(lr) });
  say($("lr-out"), number(lr, 2));
}

function big(id, value, unit = "") {
  const text = unit ? `${value} ${unit}` : value;
  if ($(id).textContent !== text) $(id).replaceChildren(value, ...(unit ? [" ", element("small", {}, unit)] : []));
}

/** The second press within four seconds means it: a restart forgets what was learnt. */
function sure(button, act) {
  const label = button.textContent;
  let timer = 0;
  const calm = () => {
    clearTimeout(timer);
    timer = 0;
    say(button, label);
    button.classList.remove("sure");
  };
  return () => {
    if (timer || !epochsSeen) {
      calm();
      return act();
    }
    say(button, "Press again to restart");
    say($("announce"), "Press again to restart: what was learnt is forgotten.");
    button.classList.add("sure");
    timer = setTimeout(calm, SURE_MS);
  };
}

/** The settings of the form that a restart would change. */
function changed() {
  const { settings } = app.hello, given = {};
  const lr = chosenRate();
  const hidden = $("hidden").value.split(",").map((part) => part.trim()).filter(Boolean).map(Number);
  const b_th = $("b-th").value === "" ? null : $("b-th").valueAsNumber;
  if (lr !== settings.lr) given.lr = lr;
  if (b_th !== (settings.b_th ?? null)) given.b_th = b_th;
  if ($("surrogate").value !== settings.surrogate) given.surrogate = $("surrogate").value;
  if (String(hidden) !== String(settings.hidden)) given.hidden = hidden;
  if ($("seed").valueAsNumber >= 0 && $("seed").valueAsNumber !== settings.seed) given.seed = $("seed").valueAsNumber;
  return given;
}
const chosenRate = () => $("lr").moved ? Number((10 ** $("lr").valueAsNumber).toPrecision(2)) : $("lr").initial;

$("pause").addEventListener("click", () => app.act({ do: state.state === "paused" ? "resume" : "pause" }));
$("step").addEventListener("click", () => app.act({ do: "step" }));
$("restart").addEventListener("click", sure($("restart"), () => app.act({ do: "restart", settings: {} })));
const restartWith = sure($("restart-with"), async () => {
  if ((await app.act({ do: "restart", settings: changed() })).ok) $("settings").open = false;
});
$("settings-form").addEventListener("submit", (event) => {
  event.preventDefault();
  restartWith();
});
$("lr").addEventListener("input", () => {
  $("lr").moved = true;
  say($("lr-out"), number(chosenRate(), 2));
});
$("lr").addEventListener("change", () => app.act({ do: "set", lr: chosenRate() }));
$("settings").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  $("settings").open = false;
  $("settings").querySelector("summary").focus();
});
document.addEventListener("pointerdown", (event) => {
  if (!$("settings").contains(event.target)) $("settings").open = false;
});
// The address keeps the token after its #, so the link must not replace it.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});

const themes = ["auto", "light", "dark"];
function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").dataset.now = name;
  say($("theme"), { auto: "◐", light: "☀", dark: "☾" }[name]);
  $("theme").title = `Theme: ${{ auto: "as the system's", light: "light", dark: "dark" }[name]}`;
  $("theme").setAttribute("aria-label", $("theme").title);
  repaint();
  try {
    localStorage.setItem("spikegrad-theme", name);
  } catch { /* Without storage, the choice lasts until the page is closed. */ }
}
let chosen = "auto";
try {
  chosen = localStorage.getItem("spikegrad-theme") ?? "auto";
} catch { /* as above */ }
theme(themes.includes(chosen) ? chosen : "auto");
$("theme").addEventListener("click", () => theme(themes[(themes.indexOf($("theme").dataset.now) + 1) % themes.length]));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

source = connect({
  message(message) {
    if (!app.hello && !["hello", "state", "note"].includes(message.type)) return;
    shell[message.type]?.(message);
    for (const panel of panels) if (app.hello) panel[message.type]?.(message);
    if (message.type === "hello" || message.type === "state") usable();
  },
  link(to, sentence) {
    linked = to === "connected";
    linkText = app.over && to === "lost"
      ? `The program has ended; the page shows its last state. ${state.text}` : sentence;
    tell(null);
    usable();
  },
});
