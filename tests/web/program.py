#!/usr/bin/env python3
"""Tests the page of demo/ in headless Chromium against the program: what `spikegrad train --live` and `watch` serve.

    tests/web/program.py --axe axe.min.js --program PATH [--chromium PATH] [--screenshots DIR] [--only NAME]

Needs Playwright; `scripts/page` installs what is needed, builds the program and runs it.
"""
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

from harness import CANVASES, FOREIGN, ROOT, Pages, main, static, until

SIZES = [(360, 740), (1280, 900), (1920, 1080)]
SMALL = "--hidden 20,20 --limit 200 --batch 50".split()
ENDLESS = [*SMALL, "--epochs", "1000000", "--set", "schedule.kind=constant"]


class Program:
    """A program that serves the page. It is killed at the end of a `with`."""

    def __init__(self, path, *words):
        here = dict(os.environ, SPIKEGRAD_FASHION_MNIST=os.path.join(ROOT, "assets", "fashion-mnist"), XDG_CACHE_HOME=os.path.join(ROOT, "target", "page"))
        self.process = subprocess.Popen([path, *words], env=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if "watch it at " in line:
                break
        assert self.said and "watch it at " in self.said[-1], self.said
        self.url = self.said[-1].split("watch it at ")[1].strip()
        self.base, token = self.url.split("#token=")
        self.port, self.token = int(self.base.split(":")[2].strip("/")), token
        threading.Thread(target=lambda: self.said.extend(self.process.stdout), daemon=True).start()

    def act(self, **command):
        """Acts as another page would."""
        headers = {"Content-Type": "application/json", "X-Spikegrad-Token": self.token}
        with urllib.request.urlopen(urllib.request.Request(self.base + "act", json.dumps(command).encode(), headers)) as answer:
            answer = json.load(answer)
        assert answer["ok"], answer

    def messages(self):
        """The messages to a page that opens now, without end."""
        with urllib.request.urlopen(self.base + "events") as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def interrupt(self):
        """Ctrl-C. Returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Tests(Pages):
    @contextlib.contextmanager
    def train(self, *more, port=0):
        """Training of a small network, in a folder of its own: `program.run`."""
        with tempfile.TemporaryDirectory() as folder:
            run = os.path.join(folder, "run")
            with Program(self.args.program, "train", "fmnist", "--device", "cpu", "--no-tuning", "--live", str(port), "--out", run, *more) as program:
                program.run = run
                yield program

    def state(self, page, state):
        until(f"the page says that the run is {state}", lambda: self.text(page, "pill") == state, 20)

    def number(self, page, id):
        return int("".join(c for c in self.text(page, id).split(" ")[0] if c.isdigit()) or -1)

    def sample(self, page):
        """The number of the sample shown."""
        words = self.text(page, "sample-verdict").split(" ")
        return int(words[1].replace(",", "")) if words[0] == "Sample" else -1

    # Each test_ runs by itself.

    def test_every_panel_shows_something(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            self.state(page, "running")
            assert "784‑20‑20‑10" in self.text(page, "device") and "CPU" in self.text(page, "device"), self.text(page, "device")
            for id in CANVASES:
                label = self.drawn(page, id, 2 if id == "draw-pad" else 5)
                assert len(label) > 25 and ": none yet" not in label and ": no value yet" not in label, f"{id}: {label}"
            # The device is looked into for a small share of the time only.
            until("kernels are timed", lambda: page.locator("#kernels-table tbody tr").count() > 3, 20)
            for id in ("s-epoch", "s-batch", "s-loss", "s-train", "s-test", "s-ms"):
                assert any(c.isdigit() for c in self.text(page, id)), id
            before = self.number(page, "s-epoch")
            until("the run goes on", lambda: self.number(page, "s-epoch") > before)
            assert page.locator(".wait:visible").count() == 0, page.locator(".wait:visible").all_inner_texts()
            self.done(page)

    def test_pauses_and_steps(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            page.click("#pause")
            self.state(page, "paused")
            time.sleep(0.5)
            at = lambda: (self.number(page, "s-epoch"), self.number(page, "s-batch"))
            before = at()
            for _ in range(5):
                page.click("#step")
                until("a step is trained", lambda: at() != before)
                assert at() == ((before[0], before[1] + 1) if before[1] < 4 else (before[0] + 1, 1)), (before, at())
                before = at()
            time.sleep(1)
            assert at() == before, "a paused run goes on"
            page.click("#pause")
            self.state(page, "running")
            until("the run goes on", lambda: at()[0] > before[0] + 1)
            self.done(page)

    def test_learning_rate_and_restart(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            until("an epoch is done", lambda: self.number(page, "s-epoch") > 2)
            page.click("#settings summary")
            page.locator("#lr").fill("-2")
            until("the rate is told", lambda: "0.01" in self.text(page, "message"))
            page.reload()
            self.ready(page)
            page.click("#settings summary")
            until("a page that is reloaded knows the rate", lambda: self.text(page, "lr-out") == "0.010")
            page.fill("#b-th", "")
            page.select_option("#surrogate", "arctan")
            page.fill("#hidden", "30, 10")
            page.fill("#seed", "7")
            page.click("#restart-with")
            page.click("#restart-with")
            until("the new network is shown", lambda: "784‑30‑10‑10" in self.text(page, "device"))
            self.ready(page)
            self.state(page, "running")
            config = open(program.run + "-2/config.toml", encoding="utf-8").read()
            for line in ("seed = 7", "lr = 0.01", "b_th = inf", 'surrogate = "arctan"'):
                assert line in config, f"{line} is not in {config}"
            until("epochs count from 1 again", lambda: self.number(page, "s-epoch") > 1)
            page.click("#settings summary")
            page.fill("#hidden", "9999999")
            page.click("#restart-with")
            page.click("#restart-with")
            until("a refusal is shown", lambda: page.locator("#message").get_attribute("data-level") == "error")
            assert "hidden" in self.text(page, "message") or "neurons" in self.text(page, "message"), self.text(page, "message")
            until("the run goes on", lambda: self.text(page, "pill") == "running")
            self.done(page)

    def test_samples(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            page.click("#sample-next")
            until("the next sample", lambda: self.sample(page) == 1)
            page.click("#sample-previous")
            until("the previous sample", lambda: self.sample(page) == 0)
            page.click("#sample-previous")
            until("the last sample", lambda: self.sample(page) == 999)
            until("an epoch is tested", lambda: self.number(page, "s-epoch") > 1)
            page.click("#pause")
            self.state(page, "paused")
            page.check("#sample-wrong")
            # What a test found wrong; the batches trained since may have changed it.
            until("a wrong one", lambda: "wrong one" in self.text(page, "sample-verdict"))

            def following():
                before = self.sample(page)
                page.click("#sample-next")
                until("the next wrong one", lambda: self.sample(page) != before and "wrong one" in self.text(page, "sample-verdict"))
                return self.sample(page)

            # The sample shown first is one of an earlier test, perhaps: training was faster than the raster is swept.
            following()
            first = following()
            following()
            page.click("#sample-previous")
            until("the wrong one before", lambda: self.sample(page) == first)
            self.done(page)

    def test_weights(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            says = lambda: page.locator("#w-image").get_attribute("aria-label")
            page.locator("#w-image").scroll_into_view_if_needed()
            for layer, inputs, name in (("0", "784", "Hidden layer 1"), ("1", "20", "Hidden layer 2"), ("2", "20", "Readout")):
                page.select_option("#w-layer", layer)
                until(f"weights of {name}", lambda: says().startswith(f"{inputs} incoming weights of neuron 0 of {name}"))
            page.click("#w-previous")
            until("the last neuron", lambda: "of neuron 9 of Readout" in says())
            before = says()
            until("weights change with the training", lambda: says() != before)
            box = page.locator("#raster").bounding_box()
            page.locator("#raster").click(position=dict(x=box["width"] / 2, y=box["height"] * 0.42))
            until("a click on the raster picks a neuron of the first layer", lambda: says().startswith("784 "))
            self.done(page)

    def test_drawing(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            pad = page.locator("#draw-pad")
            pad.scroll_into_view_if_needed()
            box = pad.bounding_box()
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.2)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.8, steps=6)
            page.mouse.up()
            until("a drawing is classified", lambda: self.text(page, "draw-result").startswith("Classified as"))
            other = self.open(program.base)  # Only watches.
            for each in (page, other):
                until("the raster shows the drawing", lambda: "Your drawing" in self.text(each, "sample-verdict"))
            # The training sends it again and again meanwhile.
            until("all time steps of the drawing are shown", lambda: self.text(page, "decision-h").startswith("Decision"), 12)
            assert "Your drawing" in self.text(page, "sample-verdict"), "training replaced the drawing"
            page.click("#sample-next")
            for each in (page, other):
                until("samples again", lambda: self.sample(each) == 1)
            self.done(other)
            page.click("#draw-copy")
            until("a copied sample is classified", lambda: "Your drawing" in self.text(page, "sample-verdict"))
            self.done(page)

    def test_race(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            page.click("#race-on")
            until("the race is judged", lambda: " as fast " in self.text(page, "race-words"), 20)
            page.click("#race-on")
            until("the race ends", lambda: page.locator("#race-on").get_attribute("aria-label") == "Start the race")
            page.click("#pause")
            self.state(page, "paused")
            page.click("#race-on")
            steps = lambda: page.locator("#race-lanes small").first.inner_text()
            before = steps()
            until("the methods race while the run is paused", lambda: steps() != before)
            page.reload()
            self.ready(page)
            self.state(page, "paused")
            self.done(page)

    def test_several_pages(self):
        with self.train(*ENDLESS) as program:
            pages = [self.open(program.url) for _ in range(3)] + [self.open(program.base)]
            for page in pages:
                self.ready(page)
            pages[0].click("#pause")
            for page in pages:
                self.state(page, "paused")
            pages[1].click("#sample-next")
            for page in pages:
                until("every page shows the sample", lambda: self.sample(page) == 1, 20)
            for page in pages:
                self.done(page)
            # In one window, where a browser has few connections to a site.
            context = self.browser.new_context()
            tabs = [context.new_page() for _ in range(5)]
            for tab in tabs[:4]:
                tab.goto(program.url)
                self.state(tab, "paused")
            tabs[4].goto(program.url)
            until("one too many says so", lambda: "close one of them" in self.text(tabs[4], "message"))
            tabs[1].click("#pause")
            self.state(tabs[1], "running")
            tabs[0].close()
            self.state(tabs[4], "running")
            context.close()

    def test_reload(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            until("epochs are done", lambda: self.number(page, "s-epoch") > 3)
            page.click("#pause")
            self.state(page, "paused")
            self.drawn(page, "loss")
            batch = self.text(page, "s-batch"), self.text(page, "s-epoch")
            page.goto(program.base)  # The tab keeps the token.
            self.ready(page)
            self.state(page, "paused")
            until("the numbers are there again", lambda: (self.text(page, "s-batch"), self.text(page, "s-epoch")) == batch)
            self.drawn(page, "loss")
            page.click("#pause")
            self.state(page, "running")
            self.done(page)

    def test_without_a_token(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.base)
            self.ready(page)
            self.state(page, "running")
            for id in ("pause", "step", "restart", "sample-next", "race-on", "w-layer", "draw-clear"):
                assert page.locator(f"#{id}").is_disabled(), id
            assert "only watches" in page.locator("#draw .wait").inner_text()
            self.done(page)
            page = self.open(program.base + "#token=" + "0" * 32)
            self.ready(page)
            until("a wrong token is told", lambda: "whole address" in self.text(page, "message"))
            until("and nothing can be pressed", lambda: page.locator("#pause").is_disabled())
            self.state(page, "running")
            page.context.close()

    def test_ends_and_comes_back(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            until("an epoch is done", lambda: self.number(page, "s-epoch") > 2)
            assert not page.faults, page.faults
            assert program.interrupt() == 1
            until("the end is told", lambda: "The program has ended" in self.text(page, "message") and "continued" in self.text(page, "message"))
            assert page.locator("#pause").is_disabled()
            self.drawn(page, "loss")
            with Program(self.args.program, "watch", program.run, "--port", str(program.port)) as other:
                until("connected again", lambda: "watching a run" in self.text(page, "device"), 30)
                self.ready(page)
                self.drawn(page, "loss")
                # The new program has another token.
                until("the page says how to act again", lambda: "whole address" in self.text(page, "message"), 20)
                assert page.locator("#sample-next").is_disabled()
                page.goto("about:blank")
                page.goto(other.url)
                self.ready(page)
                page.click("#sample-next")
                until("the new address acts", lambda: self.sample(page) == 1)
            page.context.close()

    def test_a_run_ends_with_the_page_open(self):
        with self.train(*SMALL, "--epochs", "40") as program:
            page = self.open(program.url)
            self.ready(page)
            self.state(page, "ended")
            assert "has ended" in self.text(page, "message"), self.text(page, "message")
            self.drawn(page, "loss")
            until("the last epoch is shown", lambda: self.number(page, "s-epoch") == 40)
            assert page.locator("#pause").is_disabled() and page.locator("#race-on").is_disabled()
            page.click("#sample-next")
            until("samples can be chosen", lambda: self.sample(page) == 1)
            page.reload()
            self.ready(page)
            self.state(page, "ended")
            page.click("#restart")
            page.click("#restart")
            self.state(page, "running")
            self.done(page)

    def test_watch(self):
        with tempfile.TemporaryDirectory() as folder:
            run = os.path.join(folder, "run")
            with Program(self.args.program, "train", "fmnist", "--device", "cpu", "--no-tuning", "--live", "0", "--out", run, *SMALL, "--epochs", "3") as program:
                assert program.process.wait(60) == 0, program.said
            with Program(self.args.program, "watch", run, "--port", "0") as program:
                page = self.open(program.url)
                self.ready(page)
                self.state(page, "ended")
                assert "3 of 3 epochs" in self.text(page, "message"), self.text(page, "message")
                assert "watching a run" in self.text(page, "device") and self.number(page, "s-epoch") == 3
                for id in CANVASES:
                    self.drawn(page, id, 2 if id == "draw-pad" else 5)
                for id in ("pause", "step", "restart", "race-on"):
                    assert page.locator(f"#{id}").is_disabled(), id
                page.check("#sample-wrong")
                until("a wrong one", lambda: "taken for" in self.text(page, "sample-verdict"))
                page.click("#draw-copy")
                until("a drawing is classified", lambda: self.text(page, "draw-result").startswith("Classified as"))
                visible = [words for words in page.locator(".wait:visible").all_inner_texts()]
                assert all("watch" in words for words in visible), visible
                assert not page.faults, page.faults
                assert program.interrupt() == 0
                until("the end is told", lambda: "program" in self.text(page, "message") and "ended" in self.text(page, "message"))
                page.context.close()

    def test_foreign_pages(self):
        with self.train(*ENDLESS) as program:
            page = self.open(program.url)
            self.ready(page)
            script = """const base = BASE, token = TOKEN, found = {};
                const body = JSON.stringify({ do: "pause" });
                const tries = {
                  read: () => fetch(base + "events").then((answer) => answer.text()),
                  script: () => import(base + "js/format.js"),
                  act: () => fetch(base + "act", { method: "POST", headers: { "Content-Type": "application/json", "X-Spikegrad-Token": token }, body }),
                  plain: () => fetch(base + "act", { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body }).then((answer) => { if (answer.type !== "opaque" || answer.status) throw 1; throw 0; }),
                  beacon: async () => { navigator.sendBeacon(base + "act", new Blob([body], { type: "text/plain" })); throw 0; },
                  events: () => new Promise((resolve, reject) => { const stream = new EventSource(base + "events"); stream.onmessage = resolve; stream.onerror = reject; }),
                  socket: () => new Promise((resolve, reject) => { const socket = new WebSocket(base.replace("http", "ws") + "events"); socket.onopen = socket.onmessage = resolve; socket.onerror = reject; }),
                  image: () => new Promise((resolve, reject) => { const image = new Image(); [image.onload, image.onerror] = [resolve, reject]; image.src = base + "icon.svg"; }),
                  style: () => new Promise((resolve, reject) => { const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: base + "style.css" }); [link.onload, link.onerror] = [resolve, reject]; document.head.append(link); }),
                  form: () => new Promise((resolve, reject) => {
                    const frame = Object.assign(document.createElement("iframe"), { name: "there", onload: reject });
                    const form = Object.assign(document.createElement("form"), { method: "POST", action: base + "act", target: "there", enctype: "text/plain" });
                    form.append(Object.assign(document.createElement("input"), { name: '{"do":"pause","x":"', value: '"}' }));
                    document.body.append(frame, form);
                    form.submit();
                  }),
                };
                document.body.append(Object.assign(document.createElement("iframe"), { src: base, id: "framed" }));
                Promise.all(Object.entries(tries).map(([name, go]) => go().then(() => { found[name] = "went through"; }, () => { found[name] = "refused"; }))).then(() => { window.found = found; });"""
            script = script.replace("BASE", json.dumps(program.base)).replace("TOKEN", json.dumps(program.token))
            files = {"/foreign.html": "<!doctype html><body><script src='foreign.js'></script>", "/foreign.js": script}
            with static(files) as url:
                for origin in (url, url.replace("127.0.0.1", FOREIGN)):
                    other = self.open(origin + "foreign.html")
                    found = until("the foreign page has tried everything", lambda: other.evaluate("window.found"), 20)
                    assert len(found) == 10 and set(found.values()) == {"refused"}, f"{origin}: {found}"
                    framed = next(frame for frame in other.frames if frame.parent_frame and frame.name != "there")
                    assert not framed.url.startswith(program.base) or framed.locator("#pause").count() == 0, "the page is in a frame"
                    other.context.close()
            # A name of another site that means this machine.
            other = self.open("about:blank")
            assert other.goto(program.base.replace("127.0.0.1", FOREIGN)).status == 421
            assert other.evaluate("fetch('act', { method: 'POST' }).then((answer) => answer.status)") == 421
            other.context.close()
            self.state(page, "running")
            before = self.number(page, "s-epoch")
            until("the run goes on", lambda: self.number(page, "s-epoch") > before)
            self.done(page)

    def test_accessibility(self):
        with self.train(*ENDLESS) as program:
            for size in SIZES[:2]:
                for scheme in ("light", "dark"):
                    page = self.open(program.url, size, scheme)
                    self.ready(page)
                    until("an epoch is done", lambda: self.number(page, "s-epoch") > 1)
                    self.accessible(page, f"{size}, {scheme}")
                    self.done(page)

    def test_fits_every_screen(self):
        # As a user would start it, so that screenshots show a real run.
        with self.train("--epochs", "100") as program:
            for size in SIZES:
                for scheme in ("light", "dark"):
                    page = self.open(program.url, size, scheme)
                    self.ready(page)
                    until("an epoch is done", lambda: self.number(page, "s-epoch") > 1, 60)
                    self.fits(page, "program", size, scheme)
                    self.done(page)


if __name__ == "__main__":
    main(Tests, __doc__, [("--program", "the program, as cargo build makes it")])
