// Compiles every program (a variant with values of its constants) and every text that must be refused, runs kernels with known results, and posts the results to
// /report. scripts/browser serves this page and decides whether the report is a failure.
import { kernels } from "./kernels.js";
import { refused } from "./refused.js";

// What the compiler says of a text, and whether a pipeline can be made of it.
async function compile(device, code, constants = {}) {
  const module = device.createShaderModule({ code });
  const info = await module.getCompilationInfo();
  const lines = code.split("\n");
  const messages = info.messages.map((message) => ({
    type: message.type,
    text: `line ${message.lineNum}: ${message.message} | ${lines[message.lineNum - 1]?.trim() ?? ""}`,
  }));
  if (!messages.some((message) => message.type === "error")) {
    const compute = { module, entryPoint: "main", constants };
    await device.createComputePipelineAsync({ layout: "auto", compute }).catch((error) => {
      messages.push({ type: "error", text: `pipeline: ${error.message}` });
    });
  }
  return messages;
}

async function compileAll(device, texts) {
  // Errors are judged by the messages, not by the device's error event.
  device.pushErrorScope("validation");
  const result = [];
  for (const { name, wgsl, constants } of texts) result.push({ name, messages: await compile(device, wgsl, constants) });
  await device.popErrorScope();
  return result;
}

const adapter = await navigator.gpu?.requestAdapter();
if (!adapter) throw new Error(navigator.gpu ? "no WebGPU adapter" : "no WebGPU in this browser");
// Every limit is WebGPU's default.
const device = await adapter.requestDevice();
const errors = [];
device.addEventListener("uncapturederror", (event) => errors.push(event.error.message));
device.lost.then((info) => { throw new Error(`the device was lost: ${info.message}`); });

const texts = await (await fetch("shaders.json")).json();
const seconds = {};
const timed = async (name, work) => {
  const began = performance.now();
  const result = await work();
  seconds[name] = (performance.now() - began) / 1000;
  return result;
};
const report = {
  adapter: [adapter.info.vendor, adapter.info.architecture, adapter.info.description].filter(Boolean).join(" "),
  programs: await timed("programs", () => compileAll(device, texts)),
  refused: await timed("refused", () => compileAll(device, refused)),
  kernels: await timed("kernels", () => kernels(device, new Map(texts.map((text) => [text.name, text.wgsl])))),
  seconds,
  errors,
};
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
