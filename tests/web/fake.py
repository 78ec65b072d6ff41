#!/usr/bin/env python3
"""Serves demo/ with invented messages of a training run, for tests of the page; the numbers mean nothing.

    tests/web/fake.py [--port PORT] [--case NAME] [--token TOKEN]

Cases: fmnist; conv (channels and maps); deep (six layers); none (no hidden layer, two classes); many (100 classes);
events (no images, spike counts, unlabelled); broken (no number is finite); watch (no command
allowed). `GET /log` returns the commands received so far.
"""
import argparse
import base64
import gzip
import http.server
import json
import math
import os
import queue
import random
import struct
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ASSETS = os.path.join(ROOT, "assets", "fashion-mnist")
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
SURROGATES = ["fast_sigmoid", "sigmoid", "arctan", "triangular", "rectangular", "gaussian"]
ALL = ["pause", "resume", "step", "set", "restart", "sample", "weights", "draw", "race"]
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CASES = {
    "fmnist": dict(hidden=[200, 200]), "conv": dict(hidden=[784, 200], maps=[[16, 7, 7], None], channels=2), "deep": dict(hidden=[200, 160, 120, 100, 80, 60]),
    "none": dict(hidden=[], classes=2), "many": dict(hidden=[300], classes=100), "events": dict(hidden=[200], inputs=700, steps=250, classes=20, count=True),
    "broken": dict(hidden=[200], broken=True),
    "watch": dict(hidden=[200, 200], can=[]),
}


def u8(values):
    return "u8:" + base64.b64encode(bytes(values)).decode()


def f32(values):
    return "f32:" + base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def spoilt(message):
    """The message with null for every fraction, as JSON has no NaN, and NaN in packed arrays."""
    if isinstance(message, dict):
        return {name: value if name in ("settings", "lr", "dt_ms") else spoilt(value) for name, value in message.items()}
    if isinstance(message, list):
        return [spoilt(value) for value in message]
    if isinstance(message, str) and message.startswith("f32:"):
        return f32([math.nan] * (len(base64.b64decode(message[4:])) // 4))
    return None if isinstance(message, float) else message


def images():
    with gzip.open(os.path.join(ASSETS, "t10k-images-idx3-ubyte.gz")) as f:
        pixels = f.read()[16:]
    with gzip.open(os.path.join(ASSETS, "t10k-labels-idx1-ubyte.gz")) as f:
        labels = list(f.read()[8:])
    return [pixels[784 * k:784 * k + 784] for k in range(len(labels))], labels


class Run:
    """A made-up run: everything that the page may ask for."""

    def __init__(self, name):
        case = CASES[name]
        self.broken = case.get("broken", False)
        self.name, self.hidden, self.classes = name, case["hidden"], case.get("classes", 10)
        self.channels, self.steps_of_time, self.counts = case.get("channels", 1), case.get("steps", 100), case.get("count", False)
        self.image = "inputs" not in case
        self.inputs = case.get("inputs", 784 * self.channels)
        self.maps = case.get("maps", [None] * len(self.hidden))
        self.can = case.get("can", ALL)
        self.pictures, self.labels = images()
        self.settings = dict(lr=0.002, b_th=0.2, surrogate="fast_sigmoid", hidden=self.hidden, batch=256, epochs=12, seed=1)
        self.log, self.readers, self.lock = [], [], threading.Lock()
        self.state, self.racing, self.index, self.drawn = "running", False, 6, None
        self.begin()

    def begin(self):
        self.records, self.batch, self.step, self.races = [], 0, 0, dict(sparse=0.0, dense=0.0)

    # Messages

    def hello(self):
        layers = [dict(name=f"hidden[{l}]", neurons=n, maps=self.maps[l] if l < len(self.maps) else None, cell="lif", v_th=1.0, b_th=self.settings["b_th"],
                       surrogate=self.settings["surrogate"], beta=100.0) for l, n in enumerate(self.hidden)]
        names = NAMES[:self.classes] if self.classes <= 10 else [] if self.counts else [f"kind {c}" for c in range(self.classes)]
        return dict(type="hello", version="0.1.0", source="native", title="Fashion-MNIST" if self.image else "Recordings of my own",
                    device=dict(kind="gpu", name="llvmpipe (LLVM 15.0.6, 256 bits)", detail="Vulkan, software"),
                    data=dict(name="fmnist" if self.image else "events", class_names=names, shape=[self.channels, 28, 28] if self.image else None, train=3000, test=1000),
                    network=dict(inputs=self.inputs, time_steps=self.steps_of_time, dt_ms=1.0, layers=layers,
                                 readout=dict(kind="spike_count" if self.counts else "integrator", logits=None if self.counts else "max", classes=self.classes)),
                    settings=self.settings, surrogates=SURROGATES, can=self.can)

    def state_message(self):
        words = {"running": "Epoch {0} trains.", "paused": "Paused in epoch {0}; resume or take single steps.", "ended": "The run is finished."}
        return dict(type="state", state=self.state, text=words[self.state].format(len(self.records) + 1))

    def at(self, progress):
        """Loss and accuracy after `progress` epochs."""
        return 0.35 + 1.9 * math.exp(-progress / 1.3), 0.9 - 0.78 * math.exp(-progress / 0.8)

    def step_message(self):
        loss, accuracy = self.at(len(self.records) + self.batch / 24)
        wobble = 0.03 * math.sin(self.step * 1.7) / (1 + self.batch / 6)
        return dict(type="step", step=self.step, epoch=len(self.records) + 1, epochs=12, batch=self.batch, batches=12, loss=loss + wobble,
                    accuracy=None if self.counts else accuracy - wobble / 3, ms=4.9 + 0.3 * math.sin(self.step))

    def epochs_message(self):
        return dict(type="epochs", records=self.records)

    def kernels_message(self):
        times = dict(delta=1.31, forward=1.02, weight_gradient=0.83, adam=0.31, compact_spikes=0.22, readout=0.19, loss=0.07, count_active=0.06, clear=0.03, offsets=0.02, gather=0.02)
        return dict(type="kernels", timed_by="timestamps", kernels=[dict(name=k, ms=v * (1 + 0.1 * random.random())) for k, v in times.items()], step_ms=4.9)

    def race_message(self):
        times = dict(sparse=4.9, dense=47.3)
        return dict(type="race", **{k: dict(steps=int(self.races[k]), ms=v, loss=self.at(self.races[k] / 40)[0]) for k, v in times.items()})

    def sample_message(self):
        drawn = self.drawn
        k, T = self.index, self.steps_of_time
        dice = random.Random(k * 7 + len(self.records) if drawn is None else sum(drawn))
        label = None if drawn is not None or self.counts else (self.labels[k] if self.classes == 10 else self.labels[k] % self.classes)
        pixels = bytes(drawn if drawn is not None else self.pictures[k]) * self.channels
        if self.image:
            spikes = [(min(T - 1, int(4 + 22 * math.log(255 / p) / 0.7)), i) for i, p in enumerate(pixels) if p > 40 and dice.random() < 0.8]
        else:
            spikes = [(min(T - 1, max(0, int(dice.gauss(60 + 0.12 * i, 25)))), i) for i in range(self.inputs) for _ in range(2)]
        strips, seen = [], sorted(spikes)
        drive = [sum(1 for t, _ in seen if t == s) for s in range(T)]
        for l, n in enumerate(self.hidden + ([self.classes] if self.counts else [])):
            often, one = [dice.random() ** 3 for _ in range(n)], []
            top = max(drive) or 1
            for t in range(2 + l, T):
                share = 0.5 * min(1.0, drive[t - 1 - l] / top + 0.02 * (seen != []))
                one += [(t, i) for i in range(n) if dice.random() < share * often[i] * 0.35]
            strips.append(one)
        predicted = label if label is not None and k % 5 else (k * 3 + (sum(pixels) >> 8)) % self.classes
        v, now = [], [0.0] * self.classes
        for t in range(T):
            push = min(1.0, drive[max(0, t - 3)] / (max(drive) or 1)) + 0.05
            for c in range(self.classes):
                aim = (0.09 if c == predicted else 0.03 if c == label else -0.04 * ((c * 7 % 5) / 4)) * push
                now[c] = now[c] * 0.95 + aim + dice.gauss(0, 0.012 * push)
            v += now
        logits = [max(v[c::self.classes]) for c in range(self.classes)]
        if self.counts:
            logits = [sum(1 for _, i in strips[-1] if i == c) for c in range(self.classes)]
        predicted = logits.index(max(logits))
        layers = [dict(name=f"hidden[{l}]" if l < len(self.hidden) else "readout", neurons=n, t=[t for t, _ in s], i=[i for _, i in s])
                  for l, (n, s) in enumerate(zip(self.hidden + [self.classes], strips))]
        return dict(type="sample", set="test", index=-1 if drawn is not None else k, of=len(self.labels), label=label, predicted=predicted, logits=logits,
                    position=None if drawn is not None or label is None or k % 5 else k // 5, wrong_count=None if label is None else len(self.labels) // 5,
                    image=dict(channels=self.channels, height=28, width=28, pixels=u8(pixels)) if self.image else None,
                    input=dict(neurons=self.inputs, t=[t for t, _ in seen], i=[i for _, i in seen]), layers=layers, readout=dict(v=None if self.counts else f32(v)))

    def weights_message(self, layer, neuron):
        dice, sizes = random.Random(layer * 1000 + neuron), [self.inputs, *self.hidden]
        shape = [self.channels, 28, 28] if layer == 0 and self.image else [1, 1, sizes[layer]]
        if layer == 1 and self.maps[0]:
            shape = self.maps[0]
        count = shape[0] * shape[1] * shape[2]
        if shape[1] == 1:
            return dict(type="weights", layer=layer, neuron=neuron, shape=shape, values=f32([dice.gauss(0, 0.1) for _ in range(count)]))
        cx, cy, a = dice.uniform(8, 20), dice.uniform(8, 20), dice.uniform(0, 3)
        wave = lambda x, y: math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 60) * math.sin((x * math.cos(a) + y * math.sin(a)) * 0.7)
        values = [0.3 * wave(k % shape[2] * 28 / shape[2], k // shape[2] % shape[1] * 28 / shape[1]) + dice.gauss(0, 0.03) for k in range(count)]
        return dict(type="weights", layer=layer, neuron=neuron, shape=shape, values=f32(values))

    # What happens

    def shown(self, message):
        """A message as it is sent."""
        return json.dumps(spoilt(message) if self.broken else message)

    def send(self, message):
        with self.lock:
            for reader in self.readers:
                reader.put(message)

    def finish_epoch(self):
        done = len(self.records) + 1
        loss, accuracy = self.at(done)
        share = lambda l, x: x * (1 + 0.5 * l) * (0.4 + math.exp(-done / 3))
        self.records.append(dict(epoch=done, loss=loss, train_accuracy=None if self.counts else accuracy, test_accuracy=None if self.counts else accuracy - 0.015 - 0.02 * done / 12,
                                 activity=[share(l, 0.02) for l in range(len(self.hidden))], spike_density=[share(l, 0.012) for l in range(len(self.hidden))]))
        self.batch = 0
        if done == 12:
            self.state = "ended"

    def train(self):
        self.batch, self.step = self.batch + 1, self.step + 1
        if self.batch == 12:
            self.send(self.step_message())
            self.finish_epoch()
            for message in (self.epochs_message(), self.sample_message(), self.kernels_message(), self.state_message()):
                self.send(message)
        else:
            self.send(self.step_message())

    def live(self):
        while True:
            time.sleep(0.12)
            if self.state == "running":
                self.train()
                if self.racing:
                    self.races["sparse"] += 60 / 4.9
                    self.races["dense"] += 60 / 47.3
                    self.send(self.race_message())

    def act(self, command):
        """The answer to a command, or a sentence why it is refused."""
        self.log.append(command)
        do = command.get("do")
        if do not in self.can:
            return f"{do} is not allowed"
        if do in ("pause", "resume"):
            self.state = "paused" if do == "pause" else "running"
            self.send(self.state_message())
        elif do == "step":
            self.state = "paused"
            self.train()
            self.send(self.state_message())
        elif do == "set":
            self.settings = {**self.settings, "lr": command["lr"]}
        elif do == "restart":
            if any(n > 4096 for n in command["settings"].get("hidden", [])):
                return "hidden: a layer has at most 4,096 neurons here; choose smaller layers"
            self.settings = {**self.settings, **command["settings"]}
            self.hidden, self.state, self.racing = self.settings["hidden"], "running", False
            self.begin()
            for message in (self.hello(), self.epochs_message(), self.sample_message(), self.state_message()):
                self.send(message)
        elif do == "sample":
            by, self.drawn = command.get("move", 0), None
            self.index = (command["index"] if "index" in command else (self.index // 5 + by) * 5 if command.get("wrong") else self.index + by) % len(self.labels)
            self.send(self.sample_message())
        elif do == "weights":
            self.send(self.weights_message(command["layer"], command["neuron"]))
        elif do == "draw":
            self.drawn = list(base64.b64decode(command["pixels"][3:]))
            self.send(self.sample_message())
        elif do == "race":
            self.racing = command["on"]
            self.send(self.race_message())
        return None


def handler(run, token):
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, status, kind, body):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            path = self.path.split("?")[0]
            if path == "/events":
                return self.events()
            if path == "/log":
                return self.answer(200, "application/json", json.dumps(run.log).encode())
            file = os.path.normpath(os.path.join(ROOT, "demo", path.lstrip("/") or "index.html"))
            if not file.startswith(os.path.join(ROOT, "demo")) or not os.path.isfile(file):
                return self.answer(404, "text/plain", b"not here")
            with open(file, "rb") as f:
                self.answer(200, TYPES.get(os.path.splitext(file)[1], "application/octet-stream"), f.read())

        def events(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            mine = queue.Queue()
            with run.lock:
                for message in (run.hello(), run.epochs_message(), run.sample_message(), run.kernels_message(), run.state_message()):
                    mine.put(message)
                run.readers.append(mine)
            try:
                while True:
                    self.wfile.write(f"data: {run.shown(mine.get())}\n\n".encode())
                    self.wfile.flush()
            except OSError:
                with run.lock:
                    run.readers.remove(mine)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("X-Spikegrad-Token") != token:
                return self.answer(403, "application/json", json.dumps(dict(ok=False, error="The token is missing or wrong.")).encode())
            error = run.act(json.loads(body))
            self.answer(200, "application/json", json.dumps(dict(ok=True) if error is None else dict(ok=False, error=error)).encode())

        def log_message(self, *_):
            pass

    return Handler


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, address):
        """A page that is closed in the middle of an answer is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, address)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--port", type=int, default=0)
    ap.add_argument("--case", choices=CASES, default="fmnist")
    ap.add_argument("--token", default="fake")
    args = ap.parse_args()
    run = Run(args.case)
    for _ in range(4):
        run.finish_epoch()
    server = Server(("127.0.0.1", args.port), handler(run, args.token))
    threading.Thread(target=run.live, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}/#token={args.token}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
