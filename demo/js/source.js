// Where the messages come from: the native program (server-sent events) or an engine in a worker of this page.
// README.md beside index.html describes the messages; both sources speak the same.

// Browsers open at most six connections to a site, and each page that is open keeps one. Commands need some, too.
const MOST_PAGES = 4;
// How long a tab may be hidden before it is worth a word.
const HIDDEN_MS = 3000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

/** The token that the program printed with its address; kept for this tab, so that a link without it still acts after a reload. */
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (given) sessionStorage.setItem("spikegrad-token", given);
    return given ?? sessionStorage.getItem("spikegrad-token");
  } catch {
    return given;
  }
}

/** Which source: the page's address (?source=), its meta element, or what answers. */
function wanted() {
  const asked = new URLSearchParams(location.search).get("source") ?? document.querySelector("meta[name=spikegrad-source]")?.content;
  return ["native", "browser"].includes(asked) ? asked : "auto";
}

/**
 * Calls `on.message(object)` for each message and `on.link(state, sentence)` with "connected", "lost" or "absent". Returns
 * `{ act(command) -> Promise<{ok, error}>, mayAct, kind }`; `kind` is known with the first message.
 */
export function connect(on) {
  const source = { kind: null, mayAct: false, act: async () => ({ ok: false, error: "There is no training run yet." }) };
  const which = wanted();
  if (which === "browser") worker(source, on);
  else events(source, on, which === "auto" && !token());
  return source;
}

function parsed(text, on) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return on.message({ type: "note", level: "warning", text: "A message could not be read; the page shows what came before it." });
  }
  if (message && typeof message.type === "string") on.message(message);
}

function events(source, on, mayFallBack) {
  let opened = false, tries = 0;
  const key = token();
  source.mayAct = Boolean(key);
  source.act = async (command) => {
    if (!source.mayAct) return { ok: false, error: "This page only watches: open the whole address that the program printed, with its token." };
    try {
      const answer = await fetch("act", {
        method: "POST", headers: { "Content-Type": "application/json", "X-Spikegrad-Token": key }, body: JSON.stringify(command),
      });
      const said = await answer.json().catch(() => ({}));
      if (answer.status === 403) source.mayAct = false; // The token of another start of the program.
      return answer.ok && said.ok !== false ? { ok: true }
        : { ok: false, error: said.error ?? (answer.status === 403 ? "The program does not accept this page's token: open the address that it printed." : `The program answered with status ${answer.status}.`) };
    } catch {
      return { ok: false, error: "The program does not answer." };
    }
  };
  const open = () => {
    const stream = new EventSource("events");
    stream.onopen = () => {
      [opened, tries, source.kind] = [true, 0, "native"];
      on.link("connected", "");
    };
    stream.onmessage = (event) => parsed(event.data, on);
    stream.onerror = () => {
      stream.close(); // The browser's own retries differ and some give up; ours do not.
      if (!opened && mayFallBack) return worker(source, on);
      on.link("lost", opened ? "The connection to the program is lost; the page keeps trying and shows what it saw last."
        : "The program does not answer yet; the page keeps trying.");
      setTimeout(open, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
    };
  };
  turn(() => on.link("lost", `This browser shows the run on ${MOST_PAGES} pages already; close one of them to see it here.`)).then(open);
}

/** Waits until this page may keep a connection, and calls `full` if that is not now. */
async function turn(full) {
  const took = (k) => new Promise((tell) => {
    navigator.locks.request(`spikegrad-page-${k}`, { ifAvailable: true }, (lock) => {
      tell(Boolean(lock));
      return lock && new Promise(() => {}); // kept until the page is closed
    }).catch(() => tell(true));
  });
  // Without locks, as on a page that is not secure, it is not known how many pages there are.
  while (navigator.locks) {
    for (let k = 0; k < MOST_PAGES; k++) if (await took(k)) return;
    full();
    await new Promise((wait) => setTimeout(wait, 1000));
  }
}

function worker(source, on) {
  source.kind = "browser";
  const absent = () => on.link("absent", "Nothing to show: no program serves this page, and the engine for the browser is not part of this folder.");
  let heard = false, engine;
  try {
    engine = new Worker(new URL(`../engine/worker.js${location.search}`, import.meta.url), { type: "module" });
  } catch {
    return absent();
  }
  engine.onmessage = (event) => {
    if (!heard) on.link("connected", "");
    heard = source.mayAct = true;
    if (event.data.type === "answer") return waiting.get(event.data.id)?.(event.data);
    on.message(event.data);
  };
  engine.onerror = (event) => {
    event.preventDefault();
    if (!heard) return absent();
    on.message({ type: "state", state: "failed", text: `The engine stopped: ${event.message || "the browser gave no reason"}. Reload the page to start again.` });
  };
  let hiddenSince = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenSince = performance.now();
    else if (performance.now() - hiddenSince > HIDDEN_MS) {
      on.message({ type: "note", level: "info", text: "This tab was hidden: the browser may have slowed the training down meanwhile." });
    }
  });
  const waiting = new Map();
  let id = 0;
  source.act = (command) => new Promise((resolve) => {
    const mine = ++id;
    const done = (answer) => {
      waiting.delete(mine);
      resolve(answer);
    };
    waiting.set(mine, done);
    setTimeout(() => done({ ok: false, error: "The engine has not answered for a minute." }), 60_000);
    engine.postMessage({ ...command, id: mine });
  });
}
