import copy
import math
import pickle

import pytest

import spikegrad as sg


def test_layers_have_the_librarys_defaults():
    layer = sg.lif(7).to_dict()
    assert (layer["tau_ms"], layer["v_th"], layer["beta"], layer["b_th"]) == (10.0, 1.0, 10.0, 0.2)
    assert layer["cell"] == {"kind": "lif"} and layer["reset"] == "subtract" and not layer["bias"]
    assert sg.readout(3).to_dict()["logits"] == "max"


def test_every_option_arrives():
    layer = sg.cuba_lif(
        5, 4.0, tau_ms=20, v_th=1.5, v_r=0.25, v_rest=0.1, reset="to_value", surrogate="arctan", beta=2,
        surrogate_scale=3, b_th=math.inf, bias=True, recurrent=True, init=("uniform", 2),
    ).to_dict()
    assert layer == {
        "neurons": 5, "cell": {"kind": "cuba_lif", "tau_syn_ms": 4.0}, "tau_ms": 20.0, "v_th": 1.5, "v_r": 0.25,
        "v_rest": 0.1, "reset": "to_value", "surrogate": "arctan", "beta": 2.0, "surrogate_scale": 3.0, "b_th": math.inf,
        "bias": True, "recurrent": True, "init": {"kind": "uniform", "scale": 2.0}, "connection": {"kind": "linear"},
    }  # fmt: skip
    network = sg.Network(
        4, 9, [sg.lif(3)], sg.readout(2, "mean", tau_ms=5, gain="one", bias=True, init=("normal", 1)), dt_ms=0.5,
        loss={"kind": "mse", "on": 1.0, "off": 0.0},
        regulariser={"lambda_up": 0.1, "nu_up": 2.0, "lambda_low": 0.0, "nu_low": 0.0},
    )
    fields = network.to_dict()
    assert fields["readout"]["gain"] == "one" and fields["readout"]["bias"] and fields["dt_ms"] == 0.5
    assert fields["loss"] == {"kind": "mse", "on": 1.0, "off": 0.0} and fields["regulariser"]["nu_up"] == 2.0
    assert network.shapes == [("w.0", [4, 3]), ("w.1", [3, 2]), ("b.1", [2])]


def test_convolutions_take_their_input_from_below():
    layers = [sg.conv(8, 3, padding=1, pool=2), sg.conv(4, 3, stride=2, tau_syn_ms=5, bias=True), sg.lif(10)]
    network = sg.Network((2, 12, 10), 20, layers, sg.spike_count(sg.lif(3)))
    assert network.shapes == [("w.0", [8, 2, 3, 3]), ("w.1", [4, 8, 3, 3]), ("b.1", [4]), ("w.2", [4 * 2 * 2, 10]), ("w.3", [10, 3])]
    same = sg.Network(240, 20, [sg.conv(8, 3, padding=1, pool=2, shape=(2, 12, 10)), *layers[1:]], sg.spike_count(sg.lif(3)))
    assert same == network
    with pytest.raises(ValueError, match="layer 0 is a convolution, but its input has no shape"):
        sg.Network(240, 20, layers, sg.readout(3))
    with pytest.raises(ValueError, match="layer 1 is a convolution"):
        sg.Network(240, 20, [sg.lif(4), sg.conv(2, 3)], sg.readout(3))


def test_networks_survive_text():
    network = sg.Network((1, 4, 4), 9, [sg.conv(2, 3, b_th=math.inf), sg.cuba_lif(3, 2.0)], sg.readout(2))
    assert sg.Network.from_toml(network.to_toml()) == network == pickle.loads(pickle.dumps(network))
    assert copy.deepcopy(network) == network != sg.Network(16, 9, [], sg.readout(2))


def test_files(tmp_path):
    file = tmp_path / "net.toml"
    file.write_text("preset = 'fmnist'\n[network]\ntime_steps = 50")
    assert sg.Network.from_toml(file).time_steps == 50 == sg.Network.from_toml(str(file)).time_steps
    assert sg.preset(str(file)).network == sg.Config.load(file).network
    file.write_text("preset = 'fmnist'\n[network]\ntime_stops = 50")
    with pytest.raises(ValueError, match="time_stops"):
        sg.Network.from_toml(file)
    file.write_text("inputs = 4")
    with pytest.raises(ValueError, match="(?s)net.toml: .*missing field"):
        sg.Network.from_toml(file)
    with pytest.raises(FileNotFoundError, match="gone.toml"):
        sg.Network.from_toml(tmp_path / "gone.toml")


def test_presets():
    config = sg.preset("shd", epochs=3, lr=1e-4, **{"network.hidden[0].b_th": math.inf, "schedule.kind": "constant"})
    fields = config.to_dict()
    assert (fields["epochs"], fields["adam"]["lr"], fields["schedule"]) == (3, 1e-4, {"kind": "constant"})
    assert fields["network"]["hidden"][0]["b_th"] == math.inf
    assert sg.preset("shd", paper=True) != sg.preset("shd")
    assert pickle.loads(pickle.dumps(config)) == config and "shd" in repr(config)


@pytest.mark.parametrize(
    "make, kind, part",
    [
        (lambda: sg.lif(3, reset="soft"), ValueError, "reset: .*soft"),
        (lambda: sg.lif(3, surrogate=7), TypeError, "surrogate"),
        (lambda: sg.lif(3, init=("cauchy", 1)), ValueError, "cauchy"),
        (lambda: sg.lif(3, tau_ms="long"), TypeError, "tau_ms"),
        (lambda: sg.lif(-3), ValueError, "neurons = -3"),
        (lambda: sg.readout(3, "median"), ValueError, "logits: .*median"),
        (lambda: sg.Network(3, 5, [sg.lif(4, tau_ms=0)], sg.readout(2)), ValueError, r"hidden\[0\].tau_ms = 0"),
        (lambda: sg.Network(3, 5, [sg.lif(4, b_th=math.nan)], sg.readout(2)), ValueError, r"hidden\[0\].b_th"),
        (lambda: sg.Network(0, 5, [], sg.readout(2)), ValueError, "inputs = 0"),
        (lambda: sg.Network(3, 5, [], sg.readout(2), loss={"kind": "hinge"}), ValueError, "loss: .*hinge"),
        (lambda: sg.Network(3, 5, [], sg.lif(2)), TypeError, "readout"),
        (lambda: sg.Network(3, 5, [sg.readout(2)], sg.readout(2)), TypeError, "layers"),
        (lambda: sg.Network.from_toml("inputs = ["), ValueError, "text"),
        (lambda: sg.preset("fmnst"), ValueError, "unknown preset `fmnst`"),
        (lambda: sg.preset("fmnist", epoch=3), ValueError, "epoch"),
        (lambda: sg.preset("fmnist", epochs="many"), ValueError, "epochs"),
        (lambda: sg.preset("fmnist", epochs=object()), TypeError, "object"),
        (lambda: sg.preset("fmnist", lr=math.nan), ValueError, "adam.lr"),
    ],
)
def test_what_cannot_work_is_named(make, kind, part):
    with pytest.raises(kind, match=part):
        make()


def test_configurations_keep_any_text():
    for text in ("emo😀/d.npz", 'a"b\\c\x7f\n', "ü"):
        config = sg.Model("shd", device="cpu", **{"data.path": text}).config
        assert config.to_dict()["data"]["path"] == text
    with pytest.raises(ValueError, match="Unicode"):
        sg.Model("shd", device="cpu", **{"data.path": "\ud83d"})
