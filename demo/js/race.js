// Sparse against dense on the same batches: two lanes of training steps.
import { $, count, element, ms, number, plural, reducedMotion, say } from "./format.js";

/** The next of 50, 100, 200, 500, ... that is above `n`. */
function finish(n) {
  for (let unit = 10; ; unit *= 10) for (const k of [1, 2, 5]) if (k * unit >= 50 && k * unit > n) return k * unit;
}

export function racePanel(app) {
  let on = false, last = null, heard = 0, frame = 0;
  const lanes = {};
  const box = $("race-lanes"), button = $("race-on");
  for (const name of ["sparse", "dense"]) {
    const bar = element("i"), small = element("small");
    lanes[name] = { bar, small, rate: 0 };
    box.append(element("div", { class: `lane ${name}` }, element("b", {}, name), element("div", { class: "track" }, bar), small));
  }
  const label = () => {
    say(button, on ? "Stop" : "Start");
    button.setAttribute("aria-label", on ? "Stop the race" : "Start the race");
    const may = app.can("race") && !app.over;
    button.classList.toggle("main", !on && may);
    button.disabled = !may;
    box.hidden = !last && !may;
    if (last || on) return;
    say($("race-words"), may ? "Start the race to see both side by side. Training is slower while they race." : app.can("race") ? "The run is over, and with it the race." : app.whyNot);
    for (const name of ["sparse", "dense"]) say(lanes[name].small, "at the start");
  };
  const paint = () => {
    frame = 0;
    if (!last) return;
    // Between two messages, the lanes go on as fast as between the two before.
    const since = on && app.running && !reducedMotion.matches ? Math.min(performance.now() - heard, 1000) : 0;
    const at = {};
    for (const name of ["sparse", "dense"]) at[name] = last[name].steps + since * lanes[name].rate;
    const end = finish(Math.max(at.sparse, at.dense));
    for (const name of ["sparse", "dense"]) {
      lanes[name].bar.style.transform = `scaleX(${Math.min(1, at[name] / end)})`;
      const done = Math.floor(at[name]);
      say(lanes[name].small, `${plural(done, "step")} of ${count(end)} · ${ms(last[name].ms)} ms per step · loss ${number(last[name].loss)}`);
    }
    if (on && app.running && since < 1000 && !reducedMotion.matches) frame ||= requestAnimationFrame(paint);
  };
  button.addEventListener("click", async () => {
    const to = !on;
    if (!(await app.act({ do: "race", on: to })).ok) return;
    on = to;
    label();
    if (on && !last) say($("race-words"), "Waits for the first steps of both methods.");
  });
  return {
    label,
    hello() {
      [on, last] = [false, null];
      $("race-words").classList.remove("judged");
      for (const { bar } of Object.values(lanes)) bar.style.transform = "scaleX(0)";
      label();
    },
    race(message) {
      const first = !last;
      for (const name of ["sparse", "dense"]) {
        lanes[name].rate = last ? Math.max(0, message[name].steps - last[name].steps) / Math.max(100, performance.now() - heard) : 0;
      }
      [last, heard] = [message, performance.now()];
      if (first) {
        on = true;
        label();
      }
      const ratio = message.dense.ms / message.sparse.ms;
      const words = $("race-words");
      words.classList.toggle("judged", ratio > 0);
      if (!(ratio > 0 && Number.isFinite(ratio))) say(words, "Waits for the first steps of both methods.");
      else say(words, ratio >= 1.05 ? `Sparse is ${number(ratio, 2)}× as fast as dense.` : ratio <= 0.95 ? `Dense is ${number(1 / ratio, 2)}× as fast as sparse here.` : "Both are equally fast here.");
      frame ||= requestAnimationFrame(paint);
    },
  };
}
