"""What the tests of the page have in common: Chromium by Playwright, servers of other origins, waiting, axe-core."""
import argparse
import contextlib
import http.server
import os
import shutil
import sys
import threading
import time

from fake import Server
from playwright.sync_api import sync_playwright

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DEMO = os.path.join(ROOT, "demo")
CANVASES = ["raster", "image", "loss", "accuracy", "active", "density", "w-image", "draw-pad"]
# A name of another site that means this machine, as after DNS rebinding.
FOREIGN = "evil.example"
# WebGPU without a GPU.
WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
# How many different colours a canvas has.
COLOURS = """id => { const c = document.getElementById(id); if (!c.width || !c.offsetParent) return 0;
    const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", { willReadFrequently: true }); copy.drawImage(c, 0, 0);
    return new Set(new Uint32Array(copy.getImageData(0, 0, c.width, c.height).data.buffer)).size; }"""
# What can be focused with the Tab key, as the page's own markup says.
FOCUSABLE = """() => [...document.querySelectorAll("button, input, select, summary, canvas[tabindex='0']")]
    .filter(e => !e.disabled && !e.matches(":disabled") && e.offsetParent && e.tabIndex >= 0).map(e => e.id || e.tagName)"""



@contextlib.contextmanager
def static(other, folder=DEMO):
    """Serves a folder as a static host does, with `other` files by their paths; None: not found. Gives the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def do_GET(self):
            path = self.path.split("?")[0]
            if path not in other:
                return super().do_GET()
            if other[path] is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if path.endswith(".html") else "text/javascript")
            self.end_headers()
            self.wfile.write(other[path].encode())

        def log_message(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


def until(what, holds, seconds=10):
    """Waits until `holds()` is true."""
    end = time.monotonic() + seconds
    while not (last := holds()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return last


class Pages:
    """Tests, each in a method whose name begins with test_."""

    def __init__(self, browser, args):
        self.browser, self.args = browser, args
        with open(args.axe, encoding="utf-8") as f:
            self.axe = f.read()

    def open(self, url, size=(1280, 800), scheme="light", **options):
        """A page in a context of its own. Its console errors are gathered in `page.faults`."""
        context = self.browser.new_context(viewport=dict(width=size[0], height=size[1]), color_scheme=scheme, **options)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.faults = []
        page.on("console", lambda m: page.faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: page.faults.append(str(e)))
        page.goto(url)
        return page

    def ready(self, page, seconds=10):
        until("a sample is shown", lambda: page.locator("#raster-view .wait").is_hidden(), seconds)

    def text(self, page, id):
        return page.locator(f"#{id}").inner_text()

    def done(self, page):
        assert not page.faults, page.faults
        page.context.close()

    def drawn(self, page, id, least=5):
        """Waits until a canvas shows at least so many colours, and returns what it says to a screen reader."""
        canvas = page.locator(f"#{id}")
        canvas.scroll_into_view_if_needed()
        until(f"{id} has colours", lambda: page.evaluate(COLOURS, id) >= least)
        return canvas.get_attribute("aria-label")

    def accessible(self, page, where):
        """axe-core finds nothing, with the settings closed and open."""
        page.evaluate(self.axe)
        for opened in (False, True):
            if opened:
                page.click("#settings summary")
            found = page.evaluate("options => axe.run(document, options)", dict(resultTypes=["violations"]))["violations"]
            words = [f"{v['id']} ({v['impact']}): {v['help']}: " + "; ".join(n["html"][:120] for n in v["nodes"][:3]) for v in found]
            assert not found, f"{where}, settings {'open' if opened else 'closed'}:\n  " + "\n  ".join(words)

    def fits(self, page, name, size, scheme):
        """Nothing is wider than the screen; takes a screenshot if a folder is given."""
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0], f"{name}: {width} pixels wide on {size[0]}"
        if self.args.screenshots:
            for id in reversed(CANVASES):  # Canvases are drawn while they can be seen.
                page.locator(f"#{id}").scroll_into_view_if_needed()
                time.sleep(0.4)
            page.screenshot(path=os.path.join(self.args.screenshots, f"{name}-{size[0]}x{size[1]}-{scheme}.png"), full_page=True)


def main(tests, description, more=()):
    """Runs the tests of a class; `more` are further arguments of the command line, with their help."""
    ap = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--axe", required=True, help="axe.min.js of the package axe-core")
    ap.add_argument("--chromium", default=next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None))
    ap.add_argument("--screenshots", help="folder for screenshots")
    ap.add_argument("--only", default="", help="tests whose names contain this")
    for name, words in more:
        ap.add_argument(name, required=True, help=words)
    args = ap.parse_args()
    if args.screenshots:
        os.makedirs(args.screenshots, exist_ok=True)
    failed = 0
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=args.chromium, args=["--no-sandbox", *WEBGPU, f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"])
        found = tests(browser, args)
        for name in [name for name in dir(tests) if name.startswith("test_") and args.only in name]:
            began = time.monotonic()
            try:
                getattr(found, name)()
                print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:  # The others still run.
                failed += 1
                print(f"FAILED  {name}: {type(e).__name__}: {e}", flush=True)
        browser.close()
    sys.exit(1 if failed else 0)

