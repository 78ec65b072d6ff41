import copy
import pickle

import numpy as np
import pytest

import spikegrad as sg
from conftest import REPOSITORY, samples


def test_columns_are_sorted_and_unique():
    events = sg.Events([3, 1, 1, 0], [0, 4, 4, 2], [1, 0, 0, 0], [7, 1], neurons=5, time_steps=4)
    assert [list(column) for column in events.columns()] == [[0, 1, 3], [2, 4, 0], [0, 0, 1]]
    assert list(events.labels) == [7, 1] and events.shape == (2, 4, 5) and events.num_spikes == 3
    assert repr(events) == "Events(2 samples, 4 time steps, 5 neurons, 3 spikes)"


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">u2", ">i4", "u4", "i8", "u8"])
def test_every_integer_and_stride(dtype):
    t, i, sample = (np.array(column, dtype) for column in ([3, 9, 1, 9], [0, 9, 4, 9], [1, 9, 0, 9]))
    for column in (t, i, sample):
        column.setflags(write=False)
    events = sg.Events(t[::2], i[::2], sample[::2], np.array([1, 0], dtype), neurons=5, time_steps=4)
    assert [list(column) for column in events.columns()] == [[1, 3], [4, 0], [0, 1]]
    assert events == sg.Events(t[-2::-2], i[-2::-2], sample[-2::-2], [1, 0], neurons=5, time_steps=4)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dense_arrays_survive(dtype, order):
    x, labels = samples(8)
    given = np.asarray(x.astype(dtype), order=order)
    events = sg.Events.from_dense(given, labels)
    assert np.array_equal(events.dense(), x) and events.dense().dtype == np.uint8
    assert events == sg.Events.from_dense(np.swapaxes(given, 0, 1), labels, order="TBN")
    assert events == sg.Events.from_dense(given.reshape(8, 30, 2, 4, 5), labels)
    assert events != sg.Events.from_dense(given, 1 - labels)
    assert events == sg.Events.from_dense(given[::-1], labels[::-1])[::-1]


@pytest.mark.parametrize(
    "change, kind, part",
    [
        (dict(t=[0, 4]), ValueError, r"t\[1\] = 4: must be 0 to 3"),
        (dict(t=[0, -1]), ValueError, r"t\[1\] = -1"),
        (dict(i=[5, 0]), ValueError, r"i\[0\] = 5: must be 0 to 4"),
        (dict(i=[2**40, 0]), ValueError, r"i\[0\] = 1099511627776"),
        (dict(sample=[0, 2]), ValueError, r"sample\[1\] = 2: must be 0 to 1"),
        (dict(labels=[0, -2]), ValueError, r"labels\[1\] = -2"),
        (dict(labels=[0, 2**32 - 1]), ValueError, r"labels\[1\] = 4294967295"),
        (dict(labels=[[0, 1]]), ValueError, r"labels has the shape \(1, 2\)"),
        (dict(t=[0]), ValueError, "t, i and sample have 1, 2 and 2 elements"),
        (dict(t=[0.0, 1.5]), TypeError, "t has the dtype float64, expected integers"),
        (dict(t=[0.0, np.nan]), ValueError, "t has NaN"),
        (dict(t=np.array([0, 2**64 - 1], "u8")), ValueError, "18446744073709551615"),
        (dict(t=["a", "b"]), TypeError, "t has the dtype <U1"),
        (dict(t=[None, 1]), TypeError, "t has the dtype object"),
        (dict(t=[[1], [2, 3]]), ValueError, "t: "),
        (dict(t=np.ma.array([0, 1], mask=[0, 1])), ValueError, "masked"),
        (dict(t=[1j, 0]), TypeError, "complex"),
        (dict(t=np.array([(0,), (1,)], [("a", "i4")])), TypeError, "t has the dtype"),
        (dict(neurons=0), ValueError, "neurons = 0"),
        (dict(neurons=2**16 + 1), ValueError, "neurons = 65537"),
        (dict(neurons=2.0), TypeError, "neurons = 2.0: must be a whole number"),
        (dict(time_steps=-1), ValueError, "time_steps = -1"),
        (dict(samples=3), ValueError, "2 labels for 3 samples"),
    ],
)
def test_what_cannot_be_is_named(change, kind, part):
    good = dict(t=[0, 3], i=[4, 0], sample=[0, 1], labels=[0, 1], neurons=5, time_steps=4)
    assert len(sg.Events(**good)) == 2
    with pytest.raises(kind, match=part):
        sg.Events(**{**good, **change})


def test_dense_arrays_that_cannot_be():
    for x, part in [
        (np.full((1, 2, 3), 0.5), "other than 0 and 1"),
        (np.full((1, 2, 3), np.nan), "other than 0 and 1"),
        (np.zeros((2, 3)), "expected .samples"),
        (np.zeros((1, 70000, 1)), "time_steps = 70000"),
        (np.zeros((1, 0, 3)), "time_steps"),
    ]:
        with pytest.raises(ValueError, match=part):
            sg.Events.from_dense(x)
    with pytest.raises(ValueError, match="order = 'NTB'"):
        sg.Events.from_dense(np.zeros((1, 2, 3)), order="NTB")
    huge = sg.Events([], [], [], np.zeros(2**20, int), neurons=2**16, time_steps=2**16)
    with pytest.raises(ValueError, match="does not fit into memory"):
        huge.dense()


def test_empty_sets():
    for events in (
        sg.Events([], [], [], neurons=5, time_steps=4),
        sg.Events.from_dense(np.zeros((0, 4, 5))),
        sg.Events.from_tonic([], shape=(5,), time_steps=4),
        sg.Events.rate(np.zeros((0, 5)), time_steps=4),
    ):
        assert events.shape == (0, 4, 5) and events.num_spikes == 0 and list(events) == []
    silent = sg.Events([], [], [], [0, 1], neurons=5, time_steps=4)
    assert silent.shape == (2, 4, 5) and not silent.dense().any()


def test_samples_are_selected(events):
    assert len(events[3]) == 1 and events[-1] == events[63] and len(events[:10:3]) == 4
    assert events[events.labels == 1].labels.tolist() == [1] * 32
    assert events[[5, 5, 2]].labels.tolist() == [1, 1, 0]
    assert sg.Events.concatenate([events[:10], events[10:]]) == events
    for index in (64, [-65], np.zeros(3, bool)):
        with pytest.raises(IndexError):
            events[index]
    for index in (1.5, "a", None):
        with pytest.raises((TypeError, ValueError)):
            events[index]
    with pytest.raises(ValueError, match="different extents"):
        sg.Events.concatenate([events, sg.Events([], [], [], neurons=5, time_steps=4)])
    train, held = events.split(0.25, seed=1)
    assert (len(train), len(held)) == (48, 16) and (train, held) == events.split(0.25, seed=1)
    for fraction in (0, 1, 0.001, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            events.split(fraction)


def test_batches_hold_every_sample_once(events):
    parts = list(events.batches(10, seed=3, epoch=2))
    assert [len(part) for part in parts] == [10] * 6 + [4]
    assert sg.Events.concatenate(parts) == events.shuffled(3, 2) != events
    assert events.shuffled(3, 2) != events.shuffled(3, 3)
    assert sg.Events.concatenate(list(events.batches(7))) == events
    with pytest.raises(ValueError, match="size = 0"):
        next(events.batches(0))


def test_copies(events):
    assert pickle.loads(pickle.dumps(events)) == events == copy.deepcopy(events)
    assert events.with_labels(None).labels.tolist() == [-1] * 64


def test_times():
    with pytest.warns(UserWarning, match="1 of 5 spikes"):
        events = sg.Events.from_times(
            [0.0, 0.9, 2e-3, 2.5, -1e-9], [0, 1, 2, 3, 4], [0] * 5, [1], neurons=5, time_steps=5, dt_ms=0.5
        )
    assert [column.tolist() for column in events.columns()[:2]] == [[0, 0, 0, 2], [0, 2, 4, 1]]
    with pytest.raises(ValueError, match="NaN"):
        sg.Events.from_times([np.nan], [0], [0], neurons=1, time_steps=1)
    with pytest.raises(ValueError, match="unit"):
        sg.Events.from_times([1], [0], [0], neurons=1, time_steps=1, unit="h")
    with pytest.raises(ValueError, match="dt_ms"):
        sg.Events.from_times([1], [0], [0], neurons=1, time_steps=1, dt_ms=0)


def recording(fields, events):
    array = np.zeros(len(events), fields)
    for name in array.dtype.names:
        array[name] = [event.get(name, 0) for event in events]
    return array


EVENTS = [dict(t=1500, x=2, y=0, p=1), dict(t=0, x=0, y=1, p=0)]


@pytest.mark.parametrize(
    "fields",
    [
        [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")],
        [("t", "<i8"), ("x", "<i8"), ("y", "<i8"), ("p", "<i8")],
        [("p", "u1"), ("t", ">u4"), ("y", "u1"), ("x", ">u2")],
        [("t", "f8"), ("p", "i1"), ("x", "u2"), ("y", "u2"), ("extra", "f4")],
    ],
)
def test_tonics_arrays_are_read_by_name(fields):
    data = [(recording(fields, EVENTS), 3), (recording(fields, []), np.int64(1))]
    events = sg.Events.from_tonic(data, shape=(3, 2, 2), time_steps=4)
    assert [column.tolist() for column in events.columns()] == [[0, 2], [3, 6 + 2], [0, 0]]
    assert events.labels.tolist() == [3, 1] and events.neurons == 12
    merged = sg.Events.from_tonic(data, shape=(3, 2, 2), time_steps=4, polarity="merged", limit=1)
    assert [column.tolist() for column in merged.columns()[:2]] == [[0, 2], [3, 2]] and merged.shape == (1, 4, 6)


def test_tonics_own_data_sets_are_read_as_our_files_are(tmp_path, monkeypatch):
    tonic = pytest.importorskip("tonic.datasets")
    rng = np.random.default_rng(0)
    # N-MNIST: folders of ATIS files, 5 bytes an event: x, y, and polarity in the first of 23 bits of microseconds.
    for half in ("Train", "Test"):
        for label in (0, 7):
            folder = tmp_path / "NMNIST" / half / str(label)
            folder.mkdir(parents=True)
            for k in range(3):
                t, (x, y), p = np.sort(rng.integers(0, 290_000, 200)), rng.integers(0, 34, (2, 200)), rng.integers(0, 2, 200)
                columns = [x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]
                (folder / f"{k}.bin").write_bytes(np.stack(columns, 1).astype(np.uint8).tobytes())
    monkeypatch.setattr(tonic.NMNIST, "_check_exists", lambda self: True)
    theirs = tonic.NMNIST(tmp_path, train=False)
    events = sg.Events.from_tonic(theirs, shape=theirs.sensor_size, time_steps=300, dt_ms=1.0, polarity="merged")
    ours = sg.load("nmnist", tmp_path / "NMNIST", cache=False).test
    in_order = [[sample for label in (0, 7) for sample in set[set.labels == label]] for set in (events, ours)]
    assert len(in_order[0]) == 6
    assert {sample.dense().tobytes() for sample in in_order[0]} == {sample.dense().tobytes() for sample in in_order[1]}
    assert sorted(events.labels) == sorted(ours.labels) == [0, 0, 0, 7, 7, 7]

    # SHD: an HDF5 file with a list of times (s) and units for each sample.
    import h5py

    (tmp_path / "SHD").mkdir()
    for name in ("shd_train.h5", "shd_test.h5"):
        with h5py.File(tmp_path / "SHD" / name, "w") as file:
            n = rng.integers(20, 40, 5)
            lists = file.create_group("spikes")
            for column, dtype, draw in (("times", np.float32, lambda k: np.sort(rng.integers(0, 900, k)) / 1000 + 2e-4),
                                        ("units", np.uint16, lambda k: np.append(rng.integers(0, 700, k - 1), 699))):  # fmt: skip
                lists.create_dataset(column, (5,), h5py.vlen_dtype(dtype))
                for k in range(5):
                    lists[column][k] = draw(n[k]).astype(dtype)
            file["labels"] = np.arange(5, dtype=np.uint16)
            file["extra/speaker"] = np.zeros(5, np.uint16)
            file["extra/keys"] = [b"zero", b"one", b"two", b"three", b"four"]
    monkeypatch.setattr(tonic.SHD, "_check_exists", lambda self: True)
    theirs = tonic.SHD(tmp_path, train=False)
    events = sg.Events.from_tonic(theirs, shape=theirs.sensor_size, time_steps=500, dt_ms=2.0)
    assert events == sg.load("events", tmp_path / "SHD", cache=False, time_steps=500, dt_ms=2.0).test


def test_tonics_arrays_that_cannot_be():
    sound = recording([("t", "i8"), ("x", "i8"), ("p", "i8")], [dict(t=0, x=699, p=1)])
    assert sg.Events.from_tonic([(sound, 0)], shape=(700, 1, 1), time_steps=4).neurons == 700
    for given, kind, part in [
        ([(sound, 0)], ValueError, "recording 0: x goes from 699 to 699, but shape allows 0 to 9"),
        ([(np.zeros((3, 4)), 0)], TypeError, "recording 0 has the dtype float64"),
        ([(recording([("t", "i8"), ("q", "i8")], [])), ], TypeError, "fields t, q"),
        ([(recording([("t", "i8"), ("x", "i8")], []), "left")], TypeError, "label 'left'"),
    ]:
        with pytest.raises(kind, match=part):
            sg.Events.from_tonic(given, shape=(10,), time_steps=4)


def test_encoders():
    images = np.array([[[0, 52], [128, 255]]], np.uint8)
    events = sg.Events.latency(images, [1])
    assert [column.tolist() for column in events.columns()[:2]] == [[4, 10, 79], [3, 2, 1]]
    assert events == sg.Events.latency(images / 255, [1])
    spikes = sg.Events.rate(np.ones((2, 100)), time_steps=1000, rate=0.05, seed=1)
    assert abs(spikes.num_spikes / 2e5 - 0.05) < 0.003
    assert spikes == sg.Events.rate(np.ones((2, 100)), time_steps=1000, rate=0.05, seed=1)
    assert sg.Events.rate(np.zeros((2, 100))).num_spikes == 0
    for bad in (images.astype(int) * 2, images / 100, np.full((1, 4), np.nan), np.zeros(3)):
        with pytest.raises(ValueError, match="images"):
            sg.Events.latency(bad)
    with pytest.raises(ValueError, match="rate = 2"):
        sg.Events.rate(images, rate=2)


def test_files_are_read_as_by_the_command_line(tmp_path):
    data = sg.load("events", REPOSITORY / "tests/data/taps.npz")
    assert data.class_names == ["left", "right"] and data.config.network.inputs == data.train.neurons
    assert len(data.train) + len(data.test) == 200
    held = sg.load("events", REPOSITORY / "tests/data/taps.npz", validation={"kind": "fraction", "fraction": 0.25})
    assert len(held.validation) == 40 and len(held.train) == 120
    with pytest.warns(UserWarning, match="outside of the 10 steps"):
        short = sg.load("events", REPOSITORY / "tests/data/taps.npz", time_steps=10)
    assert short.train.time_steps == 10
    with pytest.raises(FileNotFoundError, match="nothing.npz"):
        sg.load("events", tmp_path / "nothing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(ValueError, match="broken.npz"):
        sg.load("events", tmp_path / "broken.npz")
    with pytest.raises(ValueError, match="preset"):
        sg.load("evnts", tmp_path)


def test_images_are_encoded_as_by_the_preset():
    data = sg.load("fmnist", REPOSITORY / "assets/fashion-mnist")
    assert data.train.shape[1:] == (100, 784) and data.class_names[9] == "Ankle boot" and data.shape == (1, 28, 28)


def test_times_fall_into_the_steps_that_files_give(tmp_path):
    ms = np.arange(100) * 0.1 + np.random.default_rng(0).uniform(-0.04, 0.04, 100)
    ms[0] = 0
    zeros, samples, labels = np.zeros(100, int), np.arange(100) // 10, np.arange(10) % 2
    np.savez(tmp_path / "d.npz", t=ms, i=zeros, starts=np.arange(0, 101, 10), labels=labels, inputs=1)
    read = sg.load("events", tmp_path / "d.npz", time_steps=120, dt_ms=0.1, cache=False)
    ours = sg.Events.from_times(ms, zeros, samples, labels, neurons=1, time_steps=120, dt_ms=0.1)

    def times(events):
        t, _, sample = events.columns()
        return sorted(tuple(t[sample == k]) for k in range(len(events)))

    assert times(sg.Events.concatenate([read.train, read.test])) == times(ours) and ours.num_spikes == 100
    assert sg.Events.from_times(np.arange(0, 10000, 100), [0] * 100, [0] * 100, neurons=1, time_steps=100, dt_ms=0.1,
                                unit="us").num_spikes == 100


def test_options_of_from_tonic_are_checked():
    events = np.zeros(1, [("t", int), ("x", int), ("y", int), ("p", int)])
    for wrong in ({"polarity": "seperate"}, {"shape": (2, 2, 2, 9)}, {"limit": -1}):
        with pytest.raises(ValueError):
            sg.Events.from_tonic([(events, 0)], **{"shape": (2, 2, 2), "time_steps": 5, **wrong})
