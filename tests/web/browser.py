#!/usr/bin/env python3
"""Tests the page of demo/ in headless Chromium with the engine for browsers: the folder that `demo/build` makes, as a static host serves it.

    tests/web/browser.py --axe axe.min.js --folder FOLDER --first-steps PATH [--chromium PATH] [--screenshots DIR] [--only NAME]

`--first-steps` names the program of web/examples. Needs Playwright; `scripts/page` installs what is needed, builds both and runs it.
WebGPU is Chromium's SwiftShader, which computes on the CPU: the page takes the cpu device unless it is asked for the GPU.
"""
import contextlib
import glob
import gzip
import json
import os
import subprocess
import time

from harness import CANVASES, Pages, main, static, until

# The most bytes that a visitor may have to load, with gzip.
MOST_BYTES = 3_000_000
WORKER = "/engine/worker.js"
SIZES = [(360, 740), (1280, 900), (1920, 1080)]
# SwiftShader takes a second a step.
PATIENCE = 180
# What a test puts before the worker's own text.
NO_WEBGPU = "Object.defineProperty(WorkerNavigator.prototype, 'gpu', { get: () => undefined });"
NO_JSPI = "delete WebAssembly.Suspending;"
HARDWARE = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });"
FEW_BUFFERS = """const all = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'limits').get;
    Object.defineProperty(GPUAdapter.prototype, 'limits', { get() { return new Proxy(all.call(this), { get: (limits, name) =>
        name === 'maxStorageBuffersPerShaderStage' ? 4 : limits[name] }); } });"""
NO_DEVICE = "GPUAdapter.prototype.requestDevice = () => Promise.reject(new DOMException('no device today'));"
LOSES_ITS_DEVICE = """const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...words) {
        const device = await request.apply(this, words);
        GPUAdapter.prototype.requestDevice = request;
        addEventListener('message', ({ data }) => { if (data.do === 'pause') setTimeout(() => device.destroy(), 100); });
        return device;
    };"""
NO_MEMORY = "WebAssembly.instantiateStreaming = WebAssembly.instantiate = () => { throw new RangeError('out of memory'); };"


class Tests(Pages):
    @contextlib.contextmanager
    def start(self, query="", before="", faultless=True, **options):
        """The page from a static host, with `before` put before the worker's text."""
        with open(os.path.join(self.args.folder, WORKER.strip("/")), encoding="utf-8") as f:
            text = f.read()
        with static({WORKER: before + text, "/favicon.ico": ""}, self.args.folder) as url:
            page = self.open(url + query, **options)
            yield page
            if faultless:
                assert not page.faults, page.faults
            page.context.close()

    def state(self, page, state, seconds=PATIENCE):
        until(f"the page says that the run is {state}", lambda: self.text(page, "pill") == state, seconds)

    def settings(self, page, **fields):
        """Restarts with these settings."""
        page.click("#settings summary")
        for id, value in fields.items():
            page.fill(f"#{id}", value)
        page.click("#restart-with")
        # What was learnt is only forgotten at a second press.
        time.sleep(0.3)
        if self.text(page, "restart-with").startswith("Press"):
            page.click("#restart-with")
        page.keyboard.press("Escape")

    def test_trains_to_81_percent(self):
        with self.start() as page:
            self.ready(page, PATIENCE)
            device = self.text(page, "device")
            assert "SIMD" in device and "WebGPU is software" in device and "in this browser" in device, device
            percent = lambda: float(self.text(page, "s-test").split(" ")[0].replace("–", "0"))
            until("a test accuracy of 81 %", lambda: percent() >= 81, PATIENCE)
            self.state(page, "ended", PATIENCE)
            for id in CANVASES:
                label = self.drawn(page, id, 2 if id == "draw-pad" else 5)
                assert len(label) > 25 and ": none yet" not in label and ": no value yet" not in label, f"{id}: {label}"
            assert page.locator("#kernels-table tbody tr").count() > 3
            # The network that was best can still be looked at.
            page.check("#sample-wrong")
            page.click("#sample-next")
            until("a wrong sample", lambda: all(words in self.text(page, "sample-verdict") for words in ("wrong one", "taken for")))

    def test_pauses_steps_and_draws(self):
        with self.start("?device=cpu") as page:
            self.ready(page, PATIENCE)
            self.state(page, "running")
            page.click("#pause")
            self.state(page, "paused")
            before = self.text(page, "s-batch")
            page.click("#step")
            until("a step is trained", lambda: self.text(page, "s-batch") != before)
            page.click("#draw-copy")
            until("a drawing is classified", lambda: "Your drawing" in self.text(page, "sample-verdict"))
            page.click("#race-on")
            until("the race is judged", lambda: "as fast as dense" in self.text(page, "race-words"), PATIENCE)
            page.click("#race-on")
            page.click("#pause")
            self.state(page, "running")

    def test_a_hidden_tab_is_told(self):
        with self.start("?device=cpu") as page:
            self.ready(page, PATIENCE)
            hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }"
            page.evaluate(hide, True)
            time.sleep(4)
            page.evaluate(hide, False)
            until("the pause is told", lambda: "tab was hidden" in self.text(page, "message"))
            self.state(page, "running")

    def test_settings_and_reload(self):
        with self.start("?device=cpu") as page:
            self.ready(page, PATIENCE)
            self.settings(page, hidden="")
            until("a network without hidden layers is shown", lambda: "784‑10" in self.text(page, "device"), PATIENCE)
            self.settings(page, hidden="40, 20", seed="3")
            until("the new network is shown", lambda: "784‑40‑20‑10" in self.text(page, "device"), PATIENCE)
            until("it learns", lambda: self.text(page, "s-test") != "–", PATIENCE)
            self.settings(page, hidden="20000, 40000")
            until("what does not fit is refused", lambda: "memory" in self.text(page, "message") and "run before" in self.text(page, "message"), PATIENCE)
            until("the run before goes on", lambda: "784‑40‑20‑10" in self.text(page, "device"), PATIENCE)
            page.reload()
            self.ready(page, PATIENCE)
            until("a reload begins anew", lambda: "784‑200‑200‑10" in self.text(page, "device"), PATIENCE)

    def test_gpu(self):
        with self.start("?device=gpu") as page:
            self.ready(page, PATIENCE)
            assert "webgpu" in self.text(page, "device"), self.text(page, "device")
            self.settings(page, hidden="16")
            until("the new network is shown", lambda: "784‑16‑10" in self.text(page, "device"), PATIENCE)
            until("it trains", lambda: self.text(page, "s-ms") not in ("–", "0 ms"), PATIENCE)
            until("kernels are timed", lambda: page.locator("#kernels-table tbody tr").count() > 3, PATIENCE)

    def test_a_lost_device_is_opened_again(self):
        with self.start("?device=gpu", LOSES_ITS_DEVICE, faultless=False) as page:
            self.ready(page, PATIENCE)
            page.click("#pause")
            until("the loss is told", lambda: "reopened" in self.text(page, "message"), PATIENCE)
            self.state(page, "paused")
            page.click("#pause")
            until("it trains", lambda: self.text(page, "s-batch") != "–", PATIENCE)

    def test_a_gpu_that_cannot_be_used(self):
        with self.start(before=FEW_BUFFERS) as page:
            self.ready(page, PATIENCE)
            assert "limits of WebGPU here are too low" in self.text(page, "device"), self.text(page, "device")
        with self.start(before=HARDWARE + NO_DEVICE) as page:
            self.ready(page, PATIENCE)
            assert "GPU cannot be used" in self.text(page, "device") and "SIMD" in self.text(page, "device"), self.text(page, "device")
        with self.start("?device=gpu", FEW_BUFFERS, faultless=False) as page:
            until("a GPU that was asked for is not replaced", lambda: "max_storage_buffers_per_shader_stage" in self.text(page, "message"), PATIENCE)
            assert self.text(page, "pill") == "failed"

    def test_what_a_browser_lacks_is_told(self):
        with self.start(before=NO_WEBGPU) as page:
            self.ready(page, PATIENCE)
            assert "no WebGPU" in self.text(page, "device"), self.text(page, "device")
        for before, words in ((NO_JSPI, "lacks JavaScript Promise Integration"), (NO_MEMORY, "could not be loaded: out of memory")):
            with self.start(before=before, faultless=False) as page:
                until(words, lambda: words in self.text(page, "message"), PATIENCE)
                assert self.text(page, "pill") == "failed"

    def test_the_first_steps_have_the_bits_of_the_program(self):
        folders = [os.path.dirname(os.path.realpath(self.args.chromium)), "/usr/lib/chromium"]
        swiftshader = next(filter(os.path.exists, (os.path.join(folder, "vk_swiftshader_icd.json") for folder in folders)))
        there = subprocess.run([self.args.first_steps, "gpu", "plain", "3"], env=dict(os.environ, VK_DRIVER_FILES=swiftshader), stdout=subprocess.PIPE, check=True)
        there = json.loads(there.stdout)
        assert "SwiftShader" in there["device"]["name"], there["device"]
        with static({"/": "<!doctype html>"}, self.args.folder) as url:
            page = self.open(url)
            here = page.evaluate("""worker => new Promise((done) => {
                const engine = new Worker(worker, { type: "module" });
                engine.onmessage = ({ data }) => done(data);
                engine.onerror = ({ message }) => done({ text: message });
            })""", f"{WORKER}?steps=3&device=gpu&kernels=plain")
            page.context.close()
        assert here["type"] == "first_steps", here
        for what in ("reports", "weights"):
            assert here["report"][what] == there[what], f"{what} differ: {here['report'][what]} in the browser, {there[what]} in the program"

    def test_size(self):
        size = sum(len(gzip.compress(open(path, "rb").read(), 9)) for path in glob.glob(os.path.join(self.args.folder, "**"), recursive=True) if os.path.isfile(path))
        assert size <= MOST_BYTES, f"{size} bytes with gzip"

    def test_fits_every_screen(self):
        for size in SIZES:
            for scheme in ("light", "dark"):
                with self.start(size=size, scheme=scheme) as page:
                    self.ready(page, PATIENCE)
                    until("an epoch is tested", lambda: self.text(page, "s-test") != "–", PATIENCE)
                    self.fits(page, "browser", size, scheme)
                    if size != SIZES[1]:
                        self.accessible(page, f"{size}, {scheme}")


if __name__ == "__main__":
    main(Tests, __doc__, [("--folder", "the folder that demo/build made"), ("--first-steps", "the program of web/examples/first_steps.rs")])
