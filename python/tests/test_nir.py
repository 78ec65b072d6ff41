"""NIR files of the repository's tests, from and to Python. What the numbers must be, tests/nir.rs checks."""

import json

import numpy as np
import pytest
from conftest import REPOSITORY
from safetensors import safe_open

import spikegrad as sg

FILES = REPOSITORY / "tests" / "nir"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_file_of_nir_gives_its_reference_spikes(device):
    with safe_open(FILES / "lif_common.safetensors", "np") as file:
        x, expected, second = (file.get_tensor(name) for name in ("spikes", "s.0", "s.1"))
        config = json.loads(file.metadata()["config"])
    model = sg.Model.from_nir(FILES / "lif_common.nir", dt=config["dt"], time_steps=x.shape[1] + 2, device=device)
    late = np.concatenate([x, np.zeros_like(x[:, :2])], 1)
    seen = model.spikes(sg.Events.from_dense(late))
    for layer, wanted, delay in zip(seen.layers, (expected, second), (1, 2)):
        spikes = np.zeros((*late.shape[:2], wanted.shape[2]), np.uint8)
        spikes[tuple(layer.spikes.T)] = 1
        steps = x.shape[1]
        assert wanted.any() and np.array_equal(spikes[:, delay : steps + delay], wanted)


def test_an_export_comes_back_as_the_same_bits(tmp_path):
    layer = sg.lif(50, reset="to_value", bias=True)
    model = sg.Model(sg.Network(40, 30, [layer], sg.readout(2, "sum")), device="cpu", seed=3)
    notes = model.to_nir(tmp_path / "own.nir")
    assert any("snnTorch" in note for note in notes)
    again = sg.Model.from_nir(tmp_path / "own.nir", device="cpu")
    assert again.network == model.network
    first, second = model.state_dict(), again.state_dict()
    assert first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_what_nir_cannot_hold_is_said(tmp_path):
    model = sg.Model(sg.Network(40, 30, [sg.lif(50)], sg.readout(2, "sum")), device="cpu")
    with pytest.raises(ValueError, match="subtract"):
        model.to_nir(tmp_path / "soft.nir")
    assert not (tmp_path / "soft.nir").exists()
    with pytest.warns(UserWarning, match="reset"):
        model.to_nir(tmp_path / "soft.nir", force=True)
    with pytest.raises(ValueError, match="readout"):
        model.to_nir(tmp_path / "soft.nir", readout="LI")


def test_files_that_are_refused():
    with pytest.raises(ValueError, match="bad_shapes.nir"):
        sg.Model.from_nir(FILES / "bad_shapes.nir", dt=1e-3)
    with pytest.raises(ValueError, match="1e-4"):
        sg.Model.from_nir(FILES / "lif_common.nir")
    with pytest.raises(FileNotFoundError):
        sg.Model.from_nir(FILES / "none.nir", dt=1e-3)
    with pytest.raises(ValueError, match="logits"):
        sg.Model.from_nir(FILES / "lif_common.nir", dt=1e-4, logits="median")
