#!/usr/bin/env python3
"""Tests the page of demo/ in headless Chromium with the engine for browsers: the folder that `demo/build` makes, as a static host serves it.

    tests/web/browser.py --axe axe.min.js --folder FOLDER --first-steps PATH [--chromium PATH] [--screenshots DIR] [--only NAME]

`--first-steps` names the program of web/examples. Needs Playwright; `scripts/page` installs what is needed, builds both and runs it.
WebGPU is Chromium's SwiftShader, which computes on the CPU: the page takes the cpu device unless it is asked for the GPU.
"""
import json
import os
import subprocess

from harness import CANVASES, Pages, main, static, until

SIZES = [(360, 740), (1280, 900), (1920, 1080)]
# What a test puts before the worker's own text.
NO_WEBGPU = "Object.defineProperty(WorkerNavigator.prototype, 'gpu', { get: () => undefined });"
NO_JSPI = "delete WebAssembly.Suspending;"
HARDWARE = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });"
FEW_BUFFERS = """const all = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'limits').get;
    Object.defineProperty(GPUAdapter.prototype, 'limits', { get() { return new Proxy(all.call(this), { get: (limits, name) =>
        name === 'maxStorageBuffersPerShaderStage' ? 4 : limits[name] }); } });"""
LOSES_ITS_DEVICE = """const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...words) {
        const device = await request.apply(this, words);
        GPUAdapter.prototype.requestDevice = request;
        addEventListener('message', ({ data }) => { if (data.do === 'pause') setTimeout(() => device.destroy(), 100); });
        return device;
    };"""
NO_MEMORY = "WebAssembly.Memory.prototype.grow = () => { throw new RangeError('no memory left'); };"


class Tests(Pages):
    def start(self, query="", before="", **options):
        """The page from a static host; `before` is put into the worker."""
        return self.open(self.args.url + query, put={"/engine/worker.js": before} if before else {}, **options)

    def state(self, page, state, seconds=60):
        until(f"the page says that the run is {state}", lambda: self.text(page, "pill") == state, seconds)

    def settings(self, page, **fields):
        """Restarts with these settings."""
        page.click("#settings summary")
        for id, value in fields.items():
            page.fill(f"#{id}", value)
        page.click("#restart-with")
        page.click("#restart-with")
        page.keyboard.press("Escape")

    def test_trains_to_81_percent(self):
        page = self.start()
        self.ready(page)
        device = self.text(page, "device")
        assert "SIMD" in device and "computes WebGPU in software" in device and "in this browser" in device, device
        percent = lambda: float(self.text(page, "s-test").split(" ")[0].replace("–", "0"))
        until("a test accuracy of 81 %", lambda: percent() >= 81, 180)
        self.state(page, "ended", 180)
        for id in CANVASES:
            label = self.drawn(page, id, 2 if id == "draw-pad" else 5)
            assert len(label) > 25 and ": none yet" not in label and ": no value yet" not in label, f"{id}: {label}"
        assert page.locator("#kernels-table tbody tr").count() > 3
        # The network that was best can still be looked at.
        page.check("#sample-wrong")
        page.click("#sample-next")
        until("a wrong sample", lambda: "taken for" in self.text(page, "sample-verdict"))
        self.done(page)

    def test_pauses_steps_and_draws(self):
        page = self.start("?device=cpu")
        self.ready(page)
        self.state(page, "running")
        page.click("#pause")
        self.state(page, "paused")
        before = self.text(page, "s-batch")
        page.click("#step")
        until("a step is trained", lambda: self.text(page, "s-batch") != before)
        page.click("#draw-copy")
        until("a drawing is classified", lambda: "Your drawing" in self.text(page, "sample-verdict"))
        page.click("#race-on")
        until("the race is judged", lambda: "as fast as dense" in self.text(page, "race-words"), 60)
        page.click("#race-on")
        page.click("#pause")
        self.state(page, "running")
        self.done(page)

    def test_settings_and_reload(self):
        page = self.start()
        self.ready(page)
        self.settings(page, hidden="40, 20", seed="3")
        until("the new network is shown", lambda: "784‑40‑20‑10" in self.text(page, "device"), 60)
        until("it learns", lambda: self.text(page, "s-test") != "–", 60)
        self.settings(page, hidden="60000, 60000")
        until("what does not fit is refused", lambda: "memory" in self.text(page, "message") and "run before" in self.text(page, "message"), 60)
        until("the run before goes on", lambda: "784‑40‑20‑10" in self.text(page, "device"), 60)
        page.reload()
        self.ready(page)
        until("a reload begins anew", lambda: "784‑200‑200‑10" in self.text(page, "device"), 60)
        self.done(page)

    def test_gpu(self):
        page = self.start("?device=gpu")
        self.ready(page)
        assert "webgpu" in self.text(page, "device"), self.text(page, "device")
        self.settings(page, hidden="16")
        until("the new network is shown", lambda: "784‑16‑10" in self.text(page, "device"), 120)
        until("it trains", lambda: self.text(page, "s-ms") not in ("–", "0 ms"), 120)
        until("kernels are timed", lambda: page.locator("#kernels-table tbody tr").count() > 8, 120)
        self.done(page)

    def test_a_lost_device_is_opened_again(self):
        page = self.start("?device=gpu", LOSES_ITS_DEVICE)
        self.ready(page)
        page.click("#pause")
        self.state(page, "paused", 120)
        page.click("#pause")
        until("the loss is told", lambda: "reopened" in self.text(page, "message"), 120)
        page.context.close()

    def test_a_gpu_that_cannot_be_used(self):
        page = self.start("", HARDWARE + FEW_BUFFERS)
        self.ready(page)
        assert "GPU cannot be used" in self.text(page, "device") and "SIMD" in self.text(page, "device"), self.text(page, "device")
        self.state(page, "running")
        self.done(page)
        page = self.start("?device=gpu", HARDWARE + FEW_BUFFERS)
        until("a GPU that was asked for is not replaced", lambda: "failed" == self.text(page, "pill") and "engine stopped" in self.text(page, "message"), 60)
        page.context.close()

    def test_what_a_browser_lacks_is_told(self):
        page = self.start("", NO_WEBGPU)
        self.ready(page)
        assert "no WebGPU" in self.text(page, "device"), self.text(page, "device")
        self.done(page)
        for before, words in ((NO_JSPI, "lacks JavaScript Promise Integration"), (NO_MEMORY, "engine stopped")):
            page = self.start("", before)
            until(words, lambda: words in self.text(page, "message"), 60)
            assert self.text(page, "pill") == "failed" and "Waits" not in self.text(page, "message")
            page.context.close()

    def test_the_first_steps_have_the_bits_of_the_program(self):
        icd = os.path.join(os.path.dirname(os.path.realpath(self.args.swiftshader)), "vk_swiftshader_icd.json")
        for device in ("cpu", "gpu"):
            kernels = "plain" if device == "gpu" else ""
            page = self.open(self.args.url + "icon.svg")
            here = page.evaluate("""words => new Promise((done) => {
                const worker = new Worker("/engine/worker.js" + words, { type: "module" });
                worker.onmessage = ({ data }) => done(data);
                worker.onerror = ({ message }) => done({ text: message });
            })""", f"?steps=3&device={device}&kernels={kernels}")
            page.context.close()
            assert here["type"] == "first_steps", here
            there = json.loads(subprocess.run([self.args.first_steps, device, kernels, "3"], env=dict(os.environ, VK_DRIVER_FILES=icd), stdout=subprocess.PIPE, check=True).stdout)
            assert device == "cpu" or "SwiftShader" in there["device"]["name"], there["device"]
            for what in ("reports", "weights"):
                assert here["report"][what] == there[what], f"{device}: {what} differ: {here['report'][what]} in the browser, {there[what]} in the program"

    def test_fits_every_screen(self):
        for size in SIZES:
            for scheme in ("light", "dark"):
                page = self.start(size=size, scheme=scheme)
                self.ready(page)
                until("an epoch is tested", lambda: self.text(page, "s-test") != "–", 60)
                self.fits(page, "browser", size, scheme)
                if size != SIZES[1]:
                    self.accessible(page, f"{size}, {scheme}")
                self.done(page)
