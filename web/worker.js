// The engine in a Web Worker: starts a run, passes its messages to the page, and the page's commands to it. demo/README.md
// describes both.
import init, { act, firstSteps, run } from "./spikegrad_web.js";

const failed = (text) => postMessage({ type: "state", state: "failed", text });
const wanted = new URLSearchParams(self.location.search);

onmessage = ({ data: { id, ...command } }) => {
  let error;
  try {
    error = act(JSON.stringify(command));
  } catch (reason) {
    error = `The engine does not take commands any more (${reason.message ?? reason}); reload the page.`;
  }
  postMessage({ type: "answer", id, ok: !error, error });
};

async function begin() {
  if (!("Suspending" in WebAssembly)) {
    return failed("This browser cannot run the engine: it lacks JavaScript Promise Integration. Chrome or Edge 137, Firefox 153 and Safari 27 have it.");
  }
  try {
    await init({ module_or_path: new URL("spikegrad_web_bg.wasm", import.meta.url) });
  } catch (reason) {
    return failed(`The engine could not be loaded: ${reason.message ?? reason}. Reload the page to try again.`);
  }
  try {
    if (wanted.has("steps")) { // A test compares them with those of the program.
      const report = await firstSteps(wanted.get("device") ?? "auto", wanted.get("kernels") ?? "", Number(wanted.get("steps")));
      return postMessage({ type: "first_steps", report: JSON.parse(report) });
    }
    await run(wanted.get("device") || "auto", (message) => postMessage(JSON.parse(message)));
  } catch (reason) {
    // WebAssembly stops at an allocation that fails without saying why.
    const why = reason instanceof WebAssembly.RuntimeError ? `${reason.message}; most likely there is too little memory` : reason.message ?? reason;
    failed(`The engine stopped: ${why}. Reload the page to start again.`);
  }
}
begin();
