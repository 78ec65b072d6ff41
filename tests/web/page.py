#!/usr/bin/env python3
"""Tests the page of demo/ in headless Chromium, against tests/web/fake.py.

    tests/web/page.py --axe axe.min.js [--chromium PATH] [--screenshots DIR] [--only NAME]

Needs Playwright; `scripts/page` installs what is needed and runs it.
"""
import json
import os
import subprocess
import sys
import time
import urllib.request

import fake
from harness import CANVASES, COLOURS, DEMO, FOCUSABLE, HERE, Pages, main, static, until

SIZES = [(360, 740), (800, 1000), (1280, 800), (1920, 1080)]
# The most bytes that the page may have: it is embedded in the program.
MOST_BYTES = 100_000


class Fake:
    """A fake server of a case."""

    def __init__(self, case="fmnist", port=0):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "fake.py"), "--case", case, "--port", str(port)], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.base = self.url.split("#")[0]

    def log(self):
        with urllib.request.urlopen(self.base + "log") as answer:
            return json.load(answer)

    def close(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Tests(Pages):
    def sent(self, run, **wanted):
        """Waits for a command with these fields, and returns it."""
        fits = lambda command: all(command.get(name) == value for name, value in wanted.items())
        return until(f"the command {wanted}", lambda: next((c for c in reversed(run.log()) if fits(c)), None))

    # Each test_ runs by itself.

    def test_size(self):
        total = sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(DEMO) for file in files if "engine" not in folder)
        assert total < MOST_BYTES, f"demo/ has {total} bytes"

    def test_every_case_is_drawn(self):
        missing = dict(none={"active", "density"}, events={"image", "accuracy", "draw-pad"}, watch={"w-image", "draw-pad"}, broken={"loss", "accuracy", "active", "density", "w-image"})
        for case in ("fmnist", "broken", "conv", "deep", "none", "many", "events", "watch"):
            with Fake(case) as run:
                page = self.open(run.url)
                self.ready(page)
                for id in CANVASES:
                    canvas = page.locator(f"#{id}")
                    if id in missing.get(case, ()):
                        if id != "image":  # Its place is given to the decision.
                            words = canvas.locator("xpath=following-sibling::p")
                            words.scroll_into_view_if_needed()
                            assert len(words.inner_text()) > 20, f"{case}: {id} is blank and says nothing"
                        continue
                    label = self.drawn(page, id, 2 if id == "draw-pad" else 5)
                    assert len(label) > 25 and ": none yet" not in label and ": no value yet" not in label, f"{case}: {id}: {label}"
                assert (page.locator("#kernels-table tbody tr").count() > 5) == (case != "broken")
                self.done(page)

    def test_moves_in_time(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            first = page.locator("#sample-time").input_value()
            until("time moves", lambda: page.locator("#sample-time").input_value() != first)
            page.click("#sample-play")
            page.locator("#sample-time").fill("40")
            until("the decision at 40 ms", lambda: self.text(page, "decision-h").startswith("After 40 ms"))
            assert "time step 40 of 100" in page.locator("#sample-time").get_attribute("aria-valuetext")
            page.locator("#sample-time").fill("100")
            until("the decision at the end", lambda: self.text(page, "decision-h") == "Decision: Coat")
            self.done(page)

    def test_commands_of_the_header(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            page.click("#pause")
            self.sent(run, do="pause")
            until("the button says Resume", lambda: self.text(page, "pause") == "Resume")
            assert "Paused" in self.text(page, "message") and self.text(page, "pill") == "paused"
            before = self.text(page, "s-batch")
            page.click("#step")
            self.sent(run, do="step")
            until("a step changes the batch", lambda: self.text(page, "s-batch") != before)
            page.click("#restart")
            assert not [c for c in run.log() if c["do"] == "restart"], "one press must not restart"
            page.click("#restart")
            assert self.sent(run, do="restart")["settings"] == {}
            until("curves are forgotten", lambda: self.text(page, "s-epoch").startswith(("–", "1 ")))
            page.click("#pause")
            until("the button says Resume", lambda: self.text(page, "pause") == "Resume")
            page.click("#pause")
            self.sent(run, do="resume")
            self.done(page)

    def test_settings(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            page.click("#settings summary")
            page.locator("#lr").fill("-2")
            assert self.sent(run, do="set")["lr"] == 0.01
            page.fill("#b-th", "")
            page.select_option("#surrogate", "arctan")
            page.fill("#hidden", "100, 50,25")
            page.fill("#seed", "7")
            page.click("#restart-with")
            page.click("#restart-with")
            wanted = dict(lr=0.01, b_th=None, surrogate="arctan", hidden=[100, 50, 25], seed=7)
            assert self.sent(run, do="restart")["settings"] == wanted, run.log()
            until("the new network is shown", lambda: "784‑100‑50‑25‑10" in self.text(page, "device"))
            assert page.locator("#w-layer option").count() == 4
            page.click("#settings summary")
            page.fill("#hidden", "99999")
            page.click("#restart-with")
            if page.locator("#restart-with").inner_text().startswith("Press"):
                page.click("#restart-with")
            until("a refusal is shown", lambda: "choose smaller layers" in self.text(page, "message"))
            page.keyboard.press("Escape")
            assert not page.locator("#settings").evaluate("e => e.open")
            self.done(page)

    def test_samples(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            assert "Sample 6 of 1,000" in self.text(page, "sample-verdict")
            page.click("#sample-next")
            self.sent(run, do="sample", move=1, wrong=False)
            until("the next sample", lambda: "Sample 7 of" in self.text(page, "sample-verdict"))
            page.click("#sample-previous")
            self.sent(run, do="sample", move=-1, wrong=False)
            page.check("#sample-wrong")
            self.sent(run, do="sample", move=1, wrong=True)
            until("a wrong sample", lambda: "taken for" in self.text(page, "sample-verdict"))
            self.done(page)

    def test_weights(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            self.sent(run, do="weights", layer=0, neuron=0)
            page.select_option("#w-layer", "1")
            self.sent(run, do="weights", layer=1, neuron=0)
            page.fill("#w-neuron", "5000")
            page.press("#w-neuron", "Enter")
            self.sent(run, do="weights", layer=1, neuron=199)
            page.click("#w-next")
            self.sent(run, do="weights", layer=1, neuron=0)
            page.click("#w-previous")
            until("back at the last neuron", lambda: run.log()[-1] == dict(do="weights", layer=1, neuron=199))
            box = page.locator("#raster").bounding_box()
            page.locator("#raster").click(position=dict(x=box["width"] / 2, y=box["height"] * 0.42))
            until("a click on the raster picks a neuron of the first layer", lambda: run.log()[-1]["layer"] == 0 and run.log()[-1]["neuron"] > 0)
            self.done(page)

    def test_drawing(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            pad = page.locator("#draw-pad")
            pad.scroll_into_view_if_needed()
            box = pad.bounding_box()
            page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=6)
            page.mouse.up()
            pixels = self.sent(run, do="draw")["pixels"]
            assert pixels.startswith("u8:") and len(pixels) == 3 + 4 * 262, len(pixels)
            until("a drawing is classified", lambda: self.text(page, "draw-result").startswith("Classified as"))
            until("the raster shows the drawing", lambda: "Your drawing" in self.text(page, "sample-verdict"))
            time.sleep(2)
            assert "Your drawing" in self.text(page, "sample-verdict"), "training replaced the drawing"
            page.click("#draw-clear")
            until("cleared", lambda: self.text(page, "draw-result") == "")
            drawn = len([c for c in run.log() if c["do"] == "draw"])
            pad.focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Space")
            page.keyboard.press("Shift+ArrowDown")
            until("the keyboard draws", lambda: len([c for c in run.log() if c["do"] == "draw"]) > drawn)
            page.click("#sample-next")
            until("samples again", lambda: "Sample 7 of" in self.text(page, "sample-verdict"))
            page.click("#draw-copy")
            until("a copied sample is classified", lambda: "Your drawing" in self.text(page, "sample-verdict"))
            self.done(page)

    def test_race(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            page.click("#race-on")
            self.sent(run, do="race", on=True)
            until("the race is judged", lambda: "as fast as dense" in self.text(page, "race-words"))
            page.click("#race-on")
            self.sent(run, do="race", on=False)
            until("the button starts again", lambda: page.locator("#race-on").get_attribute("aria-label") == "Start the race")
            self.done(page)

    def test_reload_and_theme(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            background = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
            light = background()
            page.click("#theme")
            page.click("#theme")
            dark = background()
            assert dark != light
            page.reload()
            self.ready(page)
            assert background() == dark, "the theme is kept"
            page.click("#pause")
            self.sent(run, do="pause")
            page.goto(run.base)  # The tab keeps the token.
            self.ready(page)
            assert page.locator("#pause").is_enabled()
            self.done(page)

    def test_without_a_token(self):
        with Fake() as run:
            page = self.open(run.base)
            self.ready(page)
            for id in ("pause", "step", "restart", "sample-next", "race-on", "w-layer", "draw-clear"):
                assert page.locator(f"#{id}").is_disabled(), id
            assert "only watches" in page.locator("#draw .wait").inner_text()
            self.done(page)
            page = self.open(run.base + "#token=guess")
            self.ready(page)
            until("a wrong token is refused", lambda: "token" in self.text(page, "message"))
            until("and nothing can be pressed", lambda: page.locator("#pause").is_disabled())
            page.context.close()

    def test_a_server_that_vanishes(self):
        run = Fake()
        page = self.open(run.url)
        self.ready(page)
        port = int(run.base.split(":")[2].strip("/"))
        assert not page.faults, page.faults
        run.close()
        until("the loss is told", lambda: "connection to the program is lost" in self.text(page, "message"))
        assert self.text(page, "pill") == "not connected" and page.locator("#pause").is_disabled()
        page.locator("#loss").scroll_into_view_if_needed()
        assert page.evaluate(COLOURS, "loss") > 5, "what was seen stays"
        with Fake("deep", port):
            until("connected again", lambda: "784‑200‑160" in self.text(page, "device"), 20)
            until("and works", lambda: page.locator("#pause").is_enabled())
        page.context.close()

    def test_nobody_serves(self):
        with static({"/engine/worker.js": None}) as url:
            page = self.open(url)
            until("says that there is no source", lambda: "no program serves this page" in self.text(page, "message"))
            assert "Waits" in page.locator("#raster-view .wait").inner_text()
            page.context.close()

    def test_a_worker_as_source(self):
        run = fake.Run("fmnist")
        run.finish_epoch()
        messages = [run.hello(), run.epochs_message(), run.sample_message(), run.state_message()]
        worker = f"""for (const message of {json.dumps(messages)}) postMessage(message);
            onmessage = ({{ data }}) => {{
                postMessage(data.do === "step" ? {{ type: "answer", id: data.id, ok: false, error: "No step today." }} : {{ type: "answer", id: data.id, ok: true }});
                if (data.do === "pause") postMessage({{ type: "state", state: "paused", text: "Paused in the worker." }});
                if (data.do === "race") throw new Error("out of memory");
            }};"""
        with static({"/engine/worker.js": worker}) as url:
            page = self.open(url + "?source=browser")
            self.ready(page)
            page.click("#pause")
            until("the worker pauses", lambda: self.text(page, "message") == "Paused in the worker.")
            page.click("#step")
            until("the worker refuses", lambda: self.text(page, "message") == "No step today.")
            self.done(page)
            page = self.open(url + "?source=browser")
            self.ready(page)
            page.click("#race-on")
            until("an error of the worker is told", lambda: "out of memory" in self.text(page, "message") and self.text(page, "pill") == "failed")
            page.context.close()

    def test_keyboard(self):
        with Fake() as run:
            page = self.open(run.url)
            self.ready(page)
            page.click("#settings summary")
            wanted = set(page.evaluate(FOCUSABLE))
            page.evaluate("document.activeElement.blur()")
            reached = set()
            for _ in range(len(wanted) + 10):
                page.keyboard.press("Tab")
                reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            assert wanted <= reached, f"not reached: {wanted - reached}"
            assert "skip" in reached
            page.locator("#skip").focus()
            page.keyboard.press("Enter")
            assert page.evaluate("document.activeElement.id") == "main" and "#token=" in page.url
            page.locator("#pause").focus()
            page.keyboard.press("Space")
            self.sent(run, do="pause")
            self.done(page)

    def test_reduced_motion(self):
        with Fake() as run:
            page = self.open(run.url, reduced_motion="reduce")
            self.ready(page)
            until("the whole sample", lambda: page.locator("#sample-time").input_value() == "100")
            assert self.text(page, "sample-play") == "Play time"
            self.done(page)

    def test_accessibility(self):
        for case in ("fmnist", "events"):
            with Fake(case) as run:
                for size in (SIZES[0], SIZES[2]):
                    for scheme in ("light", "dark"):
                        page = self.open(run.url, size, scheme)
                        self.ready(page)
                        self.accessible(page, f"{case}, {size}, {scheme}")
                        self.done(page)

    def test_fits_every_screen(self):
        for case in ("fmnist", "deep", "many"):
            with Fake(case) as run:
                for size in SIZES:
                    for scheme in ("light", "dark") if case == "fmnist" else ("light",):
                        page = self.open(run.url, size, scheme)
                        self.ready(page)
                        self.fits(page, case, size, scheme)
                        self.done(page)


if __name__ == "__main__":
    main(Tests, __doc__)
