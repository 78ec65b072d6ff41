import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import spikegrad as sg
from conftest import REPOSITORY, network, samples
from golden import NAMES, Case, assert_close


CASES = [("cpu", name) for name in NAMES] + [("gpu", "golden/medium_sum"), ("gpu", "golden_cells/cuba_hard")]


@pytest.mark.parametrize("device, name", CASES)
def test_golden_cases(device, name):
    case = Case(name)
    config = case.config
    model = sg.Model(case.network, device=device, method="sparse", lr=config["lr"])
    assert model.device["kind"] == device
    model.load_state_dict(case.weights)
    for key, weights in model.state_dict().items():
        assert np.array_equal(weights, case.weights[key])

    seen = model.spikes(case.events)
    for l, layer in enumerate(seen.layers):
        dense = np.zeros(layer.v.shape, np.uint8)
        dense[tuple(layer.spikes.T)] = 1
        assert np.array_equal(dense, case.tensors[f"s.{l}"])
        dense[:] = 0
        dense[tuple(layer.active.T)] = 1
        assert np.array_equal(dense, case.tensors[f"active.{l}"])
        assert_close(layer.v, case.tensors[f"v.{l}"], 1e-5, f"v.{l}")
    assert_close(seen.logits, case.tensors["logits"], 1e-5, "logits")
    assert_close(model.decision_function(case.events), case.tensors["logits"], 1e-5, "logits")

    loss, gradient = model.gradient(case.events)
    assert_close([loss], case.tensors["loss.total"], 1e-5, "loss")
    for key, expected in case.gradient.items():
        assert_close(gradient[key], expected, 1e-4, key)

    losses = [model.step(case.events)["loss"] for _ in range(config["adam_steps"])]
    assert_close(losses, case.tensors["adam.loss"], 1e-5, "losses")
    for key, expected in case.after_adam.items():
        assert_close(model.state_dict()[key], expected, 1e-5, key)


def test_a_gpu_trains(tmp_path, events):
    assert any(adapter["usable"] for adapter in sg.adapters()), "no adapter; install mesa-vulkan-drivers"
    model = sg.Model(network(), device="gpu", batch=8)
    model.fit(events, epochs=3, folder=tmp_path / "run")
    assert model.score(events) > 0.9
    assert sg.Model.load(tmp_path / "run", device="cpu", last=True).score(events) > 0.9
    with pytest.raises((ValueError, RuntimeError), match="99"):
        sg.Model(network(), device="gpu:99")


def test_training_learns_and_reports(events, model):
    held = sg.Events.from_dense(*samples(20, seed=1))
    seen, steps, started = [], [], []

    class Callback:
        def on_start(self, start):
            started.append(start)

        def on_step(self, step):
            steps.append(step)

    assert model.fit(events, validation=held, epochs=5, callbacks=[seen.append, Callback()]) is model
    assert model.score(held) == 1.0 and model.history_ == seen and len(seen) == 5
    assert seen[-1]["loss"] < seen[0]["loss"] and seen[-1]["test_accuracy"] == 1.0
    assert started[0]["device"]["kind"] == "cpu" and started[0]["validation_samples"] == 20
    assert steps[-1]["batch"] == steps[-1]["batches"] == 8 and steps[-1]["epoch"] == 5
    assert model.best_epoch_ == min(r["epoch"] for r in seen if r["test_accuracy"] == 1.0)
    assert model.classes_.tolist() == [0, 1]


def test_predictions_agree(events, model):
    model.fit(events, epochs=5)
    logits, chances, classes = model.decision_function(events), model.predict_proba(events), model.predict(events)
    assert logits.dtype == np.float32 and logits.shape == (64, 2)
    assert np.array_equal(classes, logits.argmax(1)) and np.array_equal(classes, chances.argmax(1))
    assert np.allclose(chances.sum(1), 1) and np.allclose(np.diff(np.log(chances)), np.diff(logits), atol=1e-4)
    unlabelled = events.with_labels(None)
    assert np.array_equal(model.predict(unlabelled, batch=7), classes)
    assert np.array_equal(model.spikes(unlabelled[:3]).logits, model.spikes(events[:3]).logits)
    result = model.evaluate(events)
    assert abs(result.loss - model.gradient(events)[0]) < 1e-5
    assert result.accuracy == np.mean(classes == events.labels) == model.score(*samples())
    assert result.confusion.sum() == result.samples == 64 and result.correct == np.trace(result.confusion)
    density = len(model.spikes(events).layers[0].spikes) / (64 * 30 * 50)
    assert result.spike_density == [pytest.approx(density)]


def test_the_same_seed_gives_the_same_bits(events):
    def run(seed):
        return sg.Model(network(), device="cpu", seed=seed).fit(events, epochs=2, batch=10).state_dict()

    first, second, other = run(3), run(3), run(4)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["w.0"], other["w.0"])


def test_training_continues_from_the_models_weights(events, model):
    model.fit(events, epochs=3)
    once = model.score(events), model.history_[-1]["loss"]
    model.fit(events, epochs=1, lr=1e-5)
    assert model.history_[0]["loss"] < 1.5 * once[1]
    trained = model.state_dict()
    model.load_state_dict({name: 0 * array for name, array in trained.items()})
    assert not model.spikes(events[0]).layers[0].spikes.size
    model.reset(seed=0)
    assert np.array_equal(model.state_dict()["w.0"], sg.Model(network(), device="cpu", seed=0).state_dict()["w.0"])
    model.fit(events, epochs=3)
    assert all(np.array_equal(model.state_dict()[name], trained[name]) is False for name in trained)


def test_training_stops_early(events, model):
    model.fit(events, epochs=50, callbacks=[lambda record: np.equal(record["epoch"], 2)])
    assert len(model.history_) == 2
    model.fit(events, epochs=50, patience=2, restore_best=True)
    assert len(model.history_) == model.best_epoch_ + 2


def test_the_best_weights_are_restored(events, model):
    best = {}

    def keep(record):
        accuracies.append(record["test_accuracy"])

    accuracies = []
    held = sg.Events.from_dense(*samples(20, seed=1))
    flipped = held.with_labels(1 - held.labels)
    model.fit(events, validation=flipped, epochs=4, restore_best=True, callbacks=[keep])
    assert model.score(flipped) == max(accuracies) and best == {}


def test_validation_is_held_out(events, model):
    model.fit(events, epochs=1, validation=0.25)
    x, labels = samples(8, 1)
    model.fit(*samples(), epochs=1, validation=(x, labels))
    for validation in (0.0, 1.5):
        with pytest.raises(ValueError, match="fraction"):
            model.fit(events, validation=validation)


def test_a_run_in_a_folder_is_read_by_the_command_line_and_back(tmp_path, events, model):
    held = sg.Events.from_dense(*samples(20, seed=1))
    folder = tmp_path / "run"
    model.fit(events, validation=held, folder=folder, class_names=["low", "high"])
    files = {path.name for path in folder.iterdir()}
    assert {"config.toml", "metrics.jsonl", "checkpoint.safetensors", "best.safetensors", "data.safetensors"} <= files
    best, last = sg.Model.load(folder), sg.Model.load(folder, last=True, device="cpu")
    assert np.array_equal(last.decision_function(held), model.decision_function(held))
    assert best.config.to_dict()["preset"] == "own" and best.network == model.network
    with pytest.raises(ValueError, match="already contains a run"):
        model.fit(events, folder=folder)
    assert best.raster(held[:1]).samples()[0]["class_names"] == ["low", "high"]
    data = sg.load(best.config)
    assert data.test == held and data.class_names == ["low", "high"]
    program = REPOSITORY / "target/debug/spikegrad"
    if program.exists():
        run = subprocess.run([program, "eval", folder, "--json"], capture_output=True, text=True)
        assert f'"correct":{best.evaluate(held).correct}' in run.stdout.replace(" ", ""), run.stderr
    # A model that comes from a run has other data from then on.
    other = sg.Events.from_dense(*samples(12, seed=2))
    best.fit(events, epochs=1, validation=other, folder=tmp_path / "second")
    assert sg.load(sg.Model.load(tmp_path / "second").config).test == other
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"epoch": 99, "lo')
    assert sg.Model.load(folder).history_ == last.history_
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="metrics.jsonl: .*remove it"):
        sg.Model.load(folder)


def test_a_path_may_have_an_equals_sign(tmp_path, model):
    path = tmp_path / "lr=0.01.toml"
    path.write_text('preset = "fmnist"\nbatch = 7\n')
    assert sg.preset(str(path)).to_dict()["batch"] == 7


def test_an_interrupted_run_continues_to_the_same_bits(tmp_path, events):
    def run(folder, interrupt):
        model = sg.Model(network(), device="cpu", batch=8)

        def step(fields):
            if interrupt and fields["epoch"] == 2:
                raise KeyboardInterrupt

        callback = type("Callback", (), {"on_step": staticmethod(step)})()
        if interrupt:
            with pytest.raises(KeyboardInterrupt):
                model.fit(events, epochs=4, folder=folder, callbacks=[callback])
            assert model.predict(events).shape == (64,)
            model.fit(events, epochs=4, folder=folder, resume=True)
        else:
            model.fit(events, epochs=4, folder=folder)
        return model.state_dict()

    whole = run(None, False)
    for folder in (None, tmp_path / "run"):
        resumed = run(folder, True)
        assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="nothing to resume"):
        sg.Model(network(), device="cpu").fit(events, folder=tmp_path / "none", resume=True)


def test_weights_survive_files_and_copies(tmp_path, events, model):
    model.fit(events, epochs=2)
    model.save(tmp_path / "net.safetensors")
    logits = model.decision_function(events)
    loaded = sg.Model.load(tmp_path / "net.safetensors", device="cpu")
    given = sg.Model.load(tmp_path / "net.safetensors", network=model.network, device="cpu")
    for other in (loaded, given, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.decision_function(events), logits) and other.network == model.network
    assert copy.deepcopy(model).history_ == model.history_
    fresh = sg.Model("shd", device="cpu")
    assert copy.deepcopy(fresh)._engine.fresh
    with pytest.raises(ValueError, match="w.0"):
        sg.Model.load(tmp_path / "net.safetensors", network=sg.Network(41, 30, [sg.lif(50)], sg.readout(2)))
    with pytest.raises(FileNotFoundError, match="gone"):
        sg.Model.load(tmp_path / "gone.safetensors")
    with pytest.raises(ValueError, match="not the folder of a run"):
        sg.Model.load(tmp_path)
    with pytest.raises(OSError, match="nowhere"):
        model.save(tmp_path / "nowhere/net.safetensors")
    (tmp_path / "net.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ValueError, match="net.safetensors"):
        sg.Model.load(tmp_path / "net.safetensors")


def test_state_dicts_that_cannot_be(model):
    state = model.state_dict()
    model.load_state_dict({name: np.asfortranarray(array.astype(">f8")) for name, array in state.items()})
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in state.items())
    for change, kind, part in [
        ({"w.0": None}, TypeError, "w.0 has the dtype object"),
        ({"w.0": state["w.0"].T}, ValueError, r"w.0 has the shape \[50, 40\]"),
        ({"w.2": state["w.0"]}, ValueError, "w.2 is given twice or belongs to no layer"),
        ({"w.0": np.full((40, 50), np.nan)}, FloatingPointError, "NaN"),
        ({"w.0": np.full((40, 50), 1e300)}, FloatingPointError, "inf"),
    ]:
        with pytest.raises(kind, match=part):
            model.load_state_dict({**state, **change})
    with pytest.raises(ValueError, match="w.1 is missing"):
        model.load_state_dict({"w.0": state["w.0"]})
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in state.items())


def test_what_does_not_fit_is_named(events, model):
    narrow = sg.Events.from_dense(np.zeros((2, 30, 39)), [0, 1])
    for call in (model.predict, model.evaluate, model.spikes, model.gradient, model.step, model.fit, model.raster):
        with pytest.raises(ValueError, match="39 neurons"):
            call(narrow)
    with pytest.raises(ValueError, match="label 2"):
        model.fit(events.with_labels(np.arange(64) % 3))
    for call in (model.evaluate, model.gradient, model.step, model.fit, model.raster):
        with pytest.raises(ValueError, match="label"):
            call(events.with_labels(None)[:2])
    for call in (model.predict, model.evaluate, model.spikes, model.gradient, model.step, model.fit, model.raster):
        with pytest.raises(ValueError, match="samples"):
            call(events[:0])
    with pytest.raises(ValueError, match="device `tpu`|device = tpu"):
        sg.Model(network(), device="tpu")
    with pytest.raises(ValueError, match="batch = 0"):
        model.fit(events, batch=0)
    with pytest.raises(ValueError, match="batch = 0"):
        model.predict(events, batch=0)
    with pytest.raises(ValueError, match="epoch"):
        model.fit(events, epoch=3)
    with pytest.raises(ValueError, match="adam.lr"):
        model.step(events, lr=-1.0)
    with pytest.raises(TypeError, match="callback 7"):
        model.fit(events, callbacks=[7])
    with pytest.raises(ValueError, match="method cannot be changed"):
        model.fit(events, method="dense")
    with pytest.raises(TypeError, match="several sets"):
        model.predict(sg.Data(events, events))


def test_numbers_that_explode_leave_the_last_good_weights(events, model):
    model.fit(events, epochs=1)
    with pytest.raises(FloatingPointError, match="layer|weight|tensor"):
        model.fit(events, lr=1e38, epochs=3)
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


def test_warnings_are_pythons(events):
    silent = sg.Model(sg.Network(40, 30, [sg.lif(5, v_th=1e6)], sg.readout(2)), device="cpu", rescue=False)
    with pytest.warns(UserWarning, match=r"hidden\[0\]"):
        silent.fit(events, epochs=1)


def test_rasters(tmp_path, events, model):
    raster = model.raster(events[:2], title="Two samples")
    assert len(raster) == 2 and raster._repr_png_().startswith(b"\x89PNG") and "<svg" in raster.svg()
    raster.save(tmp_path / "two.png")
    assert (tmp_path / "two.png").read_bytes() == raster.png()
    with pytest.raises(ValueError, match="png"):
        raster.save(tmp_path / "two.gif")
    seen = raster.samples()[1]
    assert [layer["name"] for layer in seen["layers"]] == ["Input", "Hidden layer 1"]
    assert np.array_equal(seen["layers"][0]["t"], events[1].columns()[0])
    assert seen["readout_v"].shape == (2, 30) and seen["label"] == 1
    with pytest.raises(ValueError, match="13 samples"):
        model.raster(events[:13])


def test_matplotlib_draws_the_same(events, model):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    model.fit(events, epochs=2)
    raster = model.raster(events[:1])
    axes = sg.plot_raster(raster)
    assert len(axes) == 3 and len(axes[0].collections[0].get_offsets()) == events[0].num_spikes
    _, ax = plt.subplots()
    assert sg.plot_raster(raster, ax) is ax and [label.get_text() for label in ax.get_yticklabels()][0] == "Input"
    assert len(sg.plot_curves(model, plt.subplots()[1]).lines) == 2
    assert len(events.plot(plt.subplots()[1], sample=3).collections[0].get_offsets()) == events[3].num_spikes
    with pytest.raises(ValueError, match="2 axes"):
        sg.plot_raster(raster, plt.subplots(2)[1])
    plt.close("all")


def test_presets_train_on_loaded_data(tmp_path):
    data = sg.load("fmnist", REPOSITORY / "assets/fashion-mnist")
    model = sg.Model("fmnist", device="cpu", limit=512)
    model.fit(data, epochs=1, folder=tmp_path / "run")
    assert model.score(data.test) > 0.3
    assert sg.Model.load(tmp_path / "run").config.to_dict()["preset"] == "fmnist"
    assert model.raster(data.test[0]).samples()[0]["class_names"][9] == "Ankle boot"


def test_importing_is_quick_and_needs_only_numpy():
    code = "import sys, spikegrad; print([m for m in ('torch', 'matplotlib', 'tqdm') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_refused_fit_leaves_the_model_alone(events, tmp_path):
    sg.Model(network(), device="cpu", seed=5).fit(events, epochs=1, folder=tmp_path / "other")
    model = sg.Model(network(), device="cpu", seed=1).fit(events, epochs=2)
    weights, history = model.state_dict(), model.history_
    for wrong in ({}, {"resume": True, "lr": 0.5}):
        with pytest.raises(ValueError):
            model.fit(events, folder=tmp_path / "other", **wrong)
        assert all(np.array_equal(weights[name], now) for name, now in model.state_dict().items())
        assert model.history_ == history and len(history) == 2 and model.best_epoch_ in (1, 2)


def test_only_what_has_run_resumes(events, tmp_path):
    model = sg.Model(network(), device="cpu", seed=1)
    with pytest.raises(ValueError, match="nothing to resume"):
        model.fit(events, epochs=1, resume=True)
    model.fit(events, epochs=1)
    model.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="nothing to resume"):
        model.fit(events, epochs=1, resume=True)


def test_a_run_that_is_read_has_its_history(events, tmp_path):
    model = sg.Model(network(), device="cpu", seed=1).fit(events, epochs=3, folder=tmp_path / "run")
    again = sg.Model.load(tmp_path / "run", device="cpu")
    assert [record["loss"] for record in again.history_] == [record["loss"] for record in model.history_]
    assert again.best_epoch_ == model.best_epoch_ and len(again.history_) == 3
