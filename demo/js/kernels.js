// Time per kernel as a table with bars: readable without a picture, too.
import { $, element, ms, percent, plural, say } from "./format.js";

const MOST = 7;

export function kernelsPanel() {
  let device = "the device", live = true;
  return {
    hello(message) {
      [device, live] = [message.device.kind === "cpu" ? "the CPU" : message.device.name, message.source !== "watch"];
      say($("kernels-wait"), live ? "Waits for the first measured step." : "A run that is only watched is not measured.");
      $("kernels-table").hidden = true;
      $("kernels-wait").hidden = false;
    },
    state({ state }) {
      if (live && ["ended", "failed", "interrupted"].includes(state)) say($("kernels-wait"), "The run was over before a step was measured.");
    },
    kernels(message) {
      const sorted = [...message.kernels].filter((k) => k.ms > 0).sort((a, b) => b.ms - a.ms);
      if (!sorted.length) return;
      const few = sorted.length > MOST ? sorted.slice(0, MOST - 1) : sorted, rest = sorted.slice(few.length);
      const total = sorted.reduce((sum, k) => sum + k.ms, 0), whole = Math.max(total, message.step_ms ?? 0);
      const rows = few.map((k) => ({ ...k, kind: "" }));
      if (rest.length) rows.push({ name: plural(rest.length, "other kernel"), ms: rest.reduce((sum, k) => sum + k.ms, 0), kind: "rest" });
      if (whole > total * 1.02) rows.push({ name: "between kernels", ms: whole - total, kind: "rest" });
      const largest = Math.max(...rows.map((row) => row.ms));
      const body = rows.map((row) => {
        const bar = element("div", { class: "meter", title: percent(row.ms / whole) });
        bar.style.width = `${100 * row.ms / largest}%`;
        return element("tr", { class: row.kind }, element("th", { scope: "row" }, row.name.replace(/[_+]/g, "$&\u200b")),
          element("td", { class: "wide" }, bar, element("span", { class: "hidden-text" }, percent(row.ms / whole))), element("td", {}, ms(row.ms)));
      });
      body.push(element("tr", { class: "sum" }, element("th", { scope: "row" }, "one step"), element("td", { class: "wide" }), element("td", {}, ms(whole))));
      $("kernels-table").tBodies[0].replaceChildren(...body);
      $("kernels-table").hidden = false;
      $("kernels-wait").hidden = true;
      say($("kernels-why"), `Where the time of a training step goes on ${device}, measured with ${message.timed_by === "timestamps" ? "the GPU's timestamps" : "the system clock"}.`);
    },
  };
}
