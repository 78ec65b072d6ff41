// Numbers, words, colours and base64, shared by the panels.

const MINUS = "−";
const nothing = (x) => x === null || x === undefined || !Number.isFinite(x);

/** A number with `digits` significant digits, or a dash. */
export function number(x, digits = 3) {
  if (nothing(x)) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size >= 1e6 || size < 1e-4 ? x.toExponential(digits - 1).replace("e+", "e")
    : Math.round(size) >= 10 ** digits ? count(Math.round(x)) : x.toPrecision(digits);
  return text.replaceAll("-", MINUS);
}

/** The label of a tick: no digits without need. */
export const tick = (x) => String(Number(x.toPrecision(6))).replace("-", MINUS);

/** A whole number with separators of thousands. */
export const count = (n) => nothing(n) ? "–" : Math.round(n).toLocaleString("en-US");

/** A fraction as a percentage. */
export function percent(x, decimals = 1) {
  if (nothing(x)) return "–";
  const value = 100 * x;
  return `${value !== 0 && Math.abs(value) < 0.995 ? value.toPrecision(2) : value.toFixed(decimals)} %`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** Milliseconds, without more digits than anybody reads. */
export const ms = (x) => nothing(x) ? "–" : x >= 100 ? count(x) : x >= 10 ? x.toFixed(1) : x >= 0.1 ? x.toFixed(2) : number(x, 2);

/** "Hidden layer 1" of "hidden[0]", as the program's figures call it. */
export function layerName(name) {
  const found = /^hidden\[(\d+)\]$/.exec(name);
  return found ? `Hidden layer ${Number(found[1]) + 1}` : name.charAt(0).toUpperCase() + name.slice(1);
}

export const className = (hello, c) => nothing(c) ? "–" : hello?.data.class_names?.[c] ?? `class ${c}`;

/** The numbers of "u8:..", "f32:.." or of a plain array. */
export function numbers(packed) {
  if (!packed) return null;
  if (Array.isArray(packed)) return Float32Array.from(packed, (x) => x ?? NaN);
  const [kind, text] = [packed.slice(0, packed.indexOf(":")), packed.slice(packed.indexOf(":") + 1)];
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  if (kind === "u8") return bytes;
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 2 }, (_, k) => view.getFloat32(4 * k, true));
}

/** "u8:.." of bytes. */
export function pack(bytes) {
  let text = "";
  for (const b of bytes) text += String.fromCharCode(b);
  return `u8:${btoa(text)}`;
}

/** About `most` round numbers between `from` and `to`. */
export function ticks(from, to, most) {
  if (!(to > from)) return [from];
  const rough = (to - from) / Math.max(1, most);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((k) => k * unit >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/** Looks an element up by its id. */
export const $ = (id) => document.getElementById(id);

/** A new element with attributes and children; text is never read as HTML. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets a text only if it changed, so that screen readers are not disturbed. */
export function say(at, text) {
  if (at.textContent !== text) at.textContent = text;
}

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

let palette = null;
/** The colours of the current theme as the browser computes them, for canvases. */
export function colours() {
  if (palette) return palette;
  const probe = document.body.appendChild(element("span"));
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  palette = { classes: [0, 1, 2, 3, 4, 5].map((k) => read(`c${k}`)), font: getComputedStyle(document.body).fontFamily, rem: parseFloat(getComputedStyle(document.documentElement).fontSize) };
  for (const name of ["bg", "card", "ink", "muted", "faint", "grid", "frame", "low", "zero", "high", "fresh", "accent"]) palette[name] = read(name);
  probe.remove();
  return palette;
}
export const forgetColours = () => { palette = null; };

/** Red, green and blue of a computed colour. */
export const rgb = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
