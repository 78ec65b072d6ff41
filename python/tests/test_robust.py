"""Threads, signals, forked processes, and exceptions where they hurt."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

import spikegrad as sg
from conftest import network, samples


@pytest.fixture
def long():
    """A model whose `fit` takes some seconds, and its arguments."""
    x, labels = samples(256)
    layers = [sg.lif(400), sg.lif(400)]
    model = sg.Model(sg.Network(40, 30, layers, sg.readout(2, "sum")), device="cpu", batch=16)
    return model, sg.Events.from_dense(x, labels)


class Running:
    """Training in a thread, which has begun and goes on until the end of the block."""

    def __init__(self, model, events, **options):
        self.begun, self.enough, self.errors = threading.Event(), threading.Event(), []

        def run():
            try:
                model.fit(events, callbacks=[self], **options)
            except BaseException as error:
                self.errors.append(error)

        self.thread = threading.Thread(target=run)

    def on_step(self, _):
        self.begun.set()

    def on_epoch(self, _):
        return self.enough.is_set()

    def __enter__(self):
        self.thread.start()
        assert self.begun.wait(20)
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join(20)
        assert not self.thread.is_alive() and not self.errors


def test_a_second_thread_is_told_that_the_model_is_busy(long):
    model, events = long
    calls = [
        lambda: model.predict(events),
        lambda: model.fit(events),
        lambda: model.step(events[:2]),
        model.state_dict,
        lambda: model.load_state_dict(state),
        lambda: model.save("/tmp/never.safetensors"),
        lambda: model.raster(events[:1]),
        lambda: model.reset(),
    ]
    state = model.state_dict()
    with Running(model, events, epochs=10_000):
        for call in calls:
            begin = time.monotonic()
            with pytest.raises(RuntimeError, match="busy"):
                call()
            assert time.monotonic() - begin < 1
        # What needs no engine works.
        assert model.network.classes == 2 and model.device["kind"] == "cpu" and "Model" in repr(model)
        other = sg.Model(network(), device="cpu").fit(events, epochs=1)
        assert other.predict(events).shape == (256,)
    assert model.predict(events).shape == (256,)


def test_other_threads_run_while_a_model_is_trained(long):
    count, end = 0, time.monotonic() + 0.5
    with Running(*long, epochs=10_000):
        while time.monotonic() < end:
            count += 1
    assert count > 10_000


def test_many_threads_with_many_models():
    x, labels = samples(32)
    events = sg.Events.from_dense(x, labels)
    shared = sg.Model(network(), device="cpu", batch=8)
    busy, errors = [], []

    def work(seed):
        try:
            own = sg.Model(network(), device="cpu", seed=seed, batch=8)
            for _ in range(5):
                own.fit(events, epochs=1, callbacks=[lambda record: own.network.classes == 0])
                try:
                    shared.fit(events, epochs=1)
                except RuntimeError as error:
                    busy.append(error)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert not any(thread.is_alive() for thread in threads) and not errors
    assert shared.predict(events).shape == (32,)


@pytest.mark.parametrize("where", ["on_start", "on_step", "on_epoch", "on_warning"])
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_exceptions_in_callbacks_arrive(events, where, error):
    def fail(_):
        raise error

    layers = [sg.lif(5, v_th=1e6)] if where == "on_warning" else [sg.lif(50)]
    model = sg.Model(sg.Network(40, 30, layers, sg.readout(2, "sum")), device="cpu", batch=8, rescue=False)
    callback = type("Callback", (), {where: staticmethod(fail)})()
    warned = pytest.warns() if where == "on_warning" else contextlib.nullcontext()
    with pytest.raises(type(error)), warned:
        model.fit(events, epochs=2, callbacks=[callback])
    assert model.predict(events).shape == (64,)


def test_a_callback_cannot_use_the_model_that_is_trained(events, model):
    with pytest.raises(RuntimeError, match="busy"):
        model.fit(events, callbacks=[lambda record: model.predict(events)])
    other = sg.Model(network(), device="cpu")
    model.fit(events, epochs=1, callbacks=[lambda record: other.predict(events) is None])


def test_a_warning_can_be_an_error(events):
    model = sg.Model(sg.Network(40, 30, [sg.lif(5, v_th=1e6)], sg.readout(2)), device="cpu", rescue=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="hidden"):
            model.fit(events, epochs=1)


SCRIPT = """
    import signal, sys, time
    # A shell's background jobs ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, {tests!r})
    import spikegrad as sg
    from conftest import network, samples
    events = sg.Events.from_dense(*samples({samples}))
    model = sg.Model(network(), device="cpu", batch=8)
    print("ready", flush=True)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted", time.time(), model.predict(events[:3]).shape, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    "call, size",
    [
        ("model.fit(events, epochs=10**6)", 64),
        ("model.fit(events[:8], epochs=10**6, validation=events)", 20_000),
        ("[model.predict(events) for _ in range(10**6)]", 20_000),
    ],
)
def test_ctrl_c_stops_between_steps(call, size):
    script = textwrap.dedent(SCRIPT).format(tests=os.path.dirname(__file__), samples=size, call=call)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    limit = threading.Timer(60, process.kill)
    limit.start()
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        words = process.stdout.readline().split()
        assert words[0] == "interrupted" and float(words[1]) - sent < 3
        assert process.wait(10) == 0
    finally:
        limit.cancel()
        process.kill()


def _use(model, events, answers):
    for call in (lambda: model.predict(events), lambda: sg.Model(network(), device="cpu"), model.state_dict):
        try:
            call()
            answers.put("nothing")
        except BaseException as error:
            answers.put(f"{type(error).__name__}: {error}")
    answers.put(str(events[:2].dense().sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_processes_are_told(events, model):
    model.fit(events, epochs=1)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_use, args=(model, events, answers))
    process.start()
    said = [answers.get(timeout=20) for _ in range(4)]
    process.join(20)
    assert process.exitcode == 0
    assert all("RuntimeError" in word and "forked" in word and "spawn" in word for word in said[:3]), said
    assert said[3] == "40"
    assert model.predict(events).shape == (64,)


def _spawned(model, events):
    return model.predict(events).tolist()


def test_spawned_processes_get_a_copy(events, model):
    model.fit(events, epochs=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_spawned, (model, events[:5])) == model.predict(events[:5]).tolist()


def test_memory_does_not_grow(events, model):
    resource = pytest.importorskip("resource")
    model.fit(events, epochs=20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        model.fit(events, epochs=20)
        model.gradient(events)
        sg.Events.from_dense(events.dense(), events.labels)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def taps():
    return sg.Events.from_dense(*samples())


def model():
    return sg.Model(network(), device="cpu", batch=8)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: sg.lif(3, bias=1), TypeError, "bias = 1: must be True or False"),
        (lambda: sg.lif(-3), ValueError, "neurons = -3"),
        (lambda: sg.lif(3, tau_ms="a"), TypeError, "tau_ms = 'a': must be a number"),
        (lambda: sg.lif(3, init="normal"), TypeError, "init = 'normal'"),
        (lambda: sg.cuba_lif(3, None), TypeError, "tau_syn_ms = None"),
        (lambda: sg.conv(3, (3, 3)), TypeError, "kernel = \\(3, 3\\)"),
        (lambda: sg.conv(3, 3, shape=5), TypeError, "shape = 5: must be channels, height and width"),
        (lambda: sg.readout(3, gain=1), TypeError, "gain"),
        (lambda: sg.spike_count(3), TypeError, "layer = 3"),
        (lambda: sg.Network(4.0, 5, [], sg.readout(2)), TypeError, "inputs = 4.0"),
        (lambda: sg.Network(4, 5.5, [], sg.readout(2)), TypeError, "time_steps = 5.5"),
        (lambda: sg.Network(4, 5, sg.lif(3), sg.readout(2)), TypeError, "layers is of the type Layer"),
        (lambda: sg.Network(4, 5, [], sg.lif(2)), TypeError, "readout is of the type Layer"),
        (lambda: sg.Network(4, 5, [], sg.readout(2), dt_ms="1"), TypeError, "dt_ms = '1'"),
        (lambda: sg.Events([1], [1], [0], neurons=4, time_steps=4, samples=-1), ValueError, "samples = -1"),
        (lambda: sg.Events([1], [1], [2**40], neurons=4, time_steps=4), ValueError, "sample has the value"),
        (lambda: sg.Events.from_times([1], [1], [0], neurons=4, time_steps="a"), TypeError, "time_steps = 'a'"),
        (lambda: sg.Events.from_times([1], [1], [0], neurons=4, time_steps=3, dt_ms=-1), ValueError, "dt_ms = -1"),
        (lambda: sg.Events.rate([[0.5]], rate="x"), TypeError, "rate = 'x'"),
        (lambda: sg.Events.latency([[0.5]], time_steps=-2), ValueError, "time_steps = -2"),
        (lambda: sg.Events.concatenate([3]), TypeError, "sets\\[0\\]"),
        (lambda: sg.Events.from_tonic([], shape=3, time_steps=5), ValueError, "shape = 3"),
        (lambda: next(taps().batches(1, seed=-1)), ValueError, "seed = -1"),
        (lambda: taps().split("a"), TypeError, "fraction = 'a'"),
        (lambda: model().fit(taps(), validation=1), ValueError, "validation = 1"),
        (lambda: model().fit(taps(), callbacks=3), TypeError, "callbacks = 3"),
        (lambda: model().fit(taps(), class_names="ab"), TypeError, "class_names = 'ab'"),
        (lambda: model().load_state_dict(3), TypeError, "the state is of the type int"),
        (lambda: model().step(taps(), lr="x"), TypeError, "lr = 'x'"),
    ],
)
def test_errors_name_the_argument(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_single_callback_and_bfloat16_are_fine():
    seen = []
    model().fit(taps(), epochs=2, callbacks=seen.append)
    assert [record["epoch"] for record in seen] == [1, 2]
    torch = pytest.importorskip("torch")
    assert len(sg.Events.from_dense(torch.zeros(1, 2, 3, dtype=torch.bfloat16))) == 1
