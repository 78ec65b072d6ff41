#!/usr/bin/env python3
"""Networks exchanged with other programs as NIR files, checked on the Fashion-MNIST images of this repository.

    nir_exchange.py PROGRAM FOLDER

PROGRAM is spikegrad; FOLDER takes the files. Needs peers/nir-requirements.txt. Exit 0: everything agrees.

1. A network trained here is exported; nir reads it, and snnTorch and Norse give its spikes (tests/nir/check_export.py).
2. It has the same accuracy in snnTorch, up to 0.5 %.
3. A network trained in snnTorch is imported: it has the accuracy that it had, and keeps it when it is trained further here.
"""
import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
# Read when torch is imported: more threads only wait for each other in steps of this size.
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMAGES = os.path.join(ROOT, "assets", "fashion-mnist")
STEPS = 25
HIDDEN = 100
CLASSES = 10
# Samples whose spikes are compared one by one.
COMPARED = 4
# Largest difference of accuracies.
TOLERANCE = 0.005


def idx(name, header):
    with gzip.open(os.path.join(IMAGES, name)) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def images(half):
    """Images [samples, 784] and labels of `train` or `t10k`."""
    labels = idx(f"{half}-labels-idx1-ubyte.gz", 8)
    return idx(f"{half}-images-idx3-ubyte.gz", 16).reshape(len(labels), -1), labels.astype(np.int64)


def spikes(pixels):
    """[samples, steps, 784]: each pixel above a quarter of the range spikes once, earlier if it is brighter."""
    dense = np.zeros((len(pixels), STEPS, pixels.shape[1]), np.float32)
    sample, i = np.nonzero(pixels > 64)
    t = ((255 - pixels[sample, i].astype(int)) * (STEPS - 5) // 191).clip(0, STEPS - 1)
    dense[sample, t, i] = 1
    return dense


def write_events(path, halves):
    arrays = {"inputs": 784}
    for name, (dense, labels) in halves.items():
        sample, t, i = np.nonzero(dense)
        starts = np.concatenate([[0], np.bincount(sample, minlength=len(labels)).cumsum()])
        arrays |= {f"{name}.t": t, f"{name}.i": i, f"{name}.starts": starts, f"{name}.labels": labels}
    np.savez(path, **arrays)


def run(*command):
    print("+", " ".join(str(word) for word in command), flush=True)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\nexit code {done.returncode}")
    print("  " + done.stdout.strip().replace("\n", "\n  "), flush=True)
    return done.stdout


def accuracy_here(program, run_folder):
    said = run(program, "eval", run_folder, "--device", "cpu", "--json")
    return json.loads(next(line for line in said.splitlines() if line.startswith("{")))["test_accuracy"]


def train_here(program, folder, data):
    counts = 'network.readout={kind="spike_count", classes=10, tau_ms=10.0, reset="to_value"}'
    out = os.path.join(folder, "ours")
    run(program, "train", "events", "--data", data, "--device", "cpu", "--hidden", HIDDEN, "--epochs", 15, "--out", out,
        "--set", counts, "--set", "network.hidden[0].reset=to_value", "--set", f"network.time_steps={STEPS}", "--quiet")
    return out


def compare_spikes(program, folder, run_folder, exported):
    """check_export.py on some samples."""
    from safetensors.numpy import load_file, save_file

    inputs, outputs = np.zeros((COMPARED, STEPS, 784), np.uint8), np.zeros((COMPARED, STEPS, CLASSES), np.uint8)
    for k in range(COMPARED):
        path = os.path.join(folder, f"sample-{k}.safetensors")
        run(program, "inspect", run_folder, "--sample", k, "--device", "cpu", "--out", path)
        tensors = load_file(path)
        inputs[k][tuple(tensors["input"].T)] = 1
        outputs[k][tuple(tensors["spikes.1"].T)] = 1
    path = os.path.join(folder, "run.safetensors")
    save_file({"spikes": inputs, "output": outputs}, path, {"dt": "1e-4"})
    run(sys.executable, os.path.join(ROOT, "tests", "nir", "check_export.py"), exported, path, "--require", "snntorch,norse")


def accuracy_in_snntorch(exported, dense, labels):
    import nir
    import torch
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        model, state, counts = import_from_nir(nir.read(exported)), None, 0
        for t in range(STEPS):
            out, state = model(torch.from_numpy(dense[:, t]), state)
            counts = counts + out
    return float((counts.argmax(1).numpy() == labels).mean())


def train_in_snntorch(folder, train, test):
    """The accuracy of a network trained in snnTorch, and its NIR file."""
    import nir
    import snntorch
    import torch
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(1)

    def layer(n, **more):
        beta, threshold = torch.full((n,), 0.9), torch.ones(n)
        return snntorch.Leaky(beta=beta, threshold=threshold, reset_mechanism="zero", reset_delay=False, init_hidden=True, **more)

    net = torch.nn.Sequential(torch.nn.Linear(784, HIDDEN), layer(HIDDEN), torch.nn.Linear(HIDDEN, CLASSES), layer(CLASSES))

    def counts(dense):
        for part in net:
            if isinstance(part, snntorch.Leaky):
                part.reset_mem()
        return sum(net(dense[:, t]) for t in range(STEPS))

    dense, labels = (torch.from_numpy(x) for x in train)
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(4):
        for batch in torch.randperm(len(labels)).split(64):
            loss = torch.nn.functional.cross_entropy(counts(dense[batch]), labels[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
    with torch.no_grad():
        found = counts(torch.from_numpy(test[0])).argmax(1).numpy()
    path = os.path.join(folder, "snntorch.nir")
    with contextlib.redirect_stdout(io.StringIO()):
        for part in net:
            if isinstance(part, snntorch.Leaky):
                part.reset_mem()
        nir.write(path, export_to_nir(net, torch.zeros(1, 784), ignore_dims=[0]))
    return float((found == test[1]).mean()), path


def check(what, good):
    print(f"{'ok' if good else 'NO'}  {what}", flush=True)
    return good


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, folder = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    os.makedirs(folder, exist_ok=True)
    halves = {"train": "train", "test": "t10k"}
    halves = {name: (spikes(pixels), labels) for name, (pixels, labels) in ((n, images(h)) for n, h in halves.items())}
    data = os.path.join(folder, "events.npz")
    write_events(data, halves)

    ours = train_here(program, folder, data)
    exported = os.path.join(folder, "ours.nir")
    run(program, "export", ours, "--to", exported, "--dt", "1e-4", "--fold-gain")
    compare_spikes(program, folder, ours, exported)
    here, there = accuracy_here(program, ours), accuracy_in_snntorch(exported, *halves["test"])
    good = check(f"trained here: accuracy {here:.4f}, in snnTorch {there:.4f}", abs(here - there) <= TOLERANCE)

    there, path = train_in_snntorch(folder, halves["train"], halves["test"])
    # Two layers, each of which delays its output by a step.
    imported = os.path.join(folder, "imported")
    run(program, "import", path, "--dt", "1e-4", "--dt-ms", "1", "--time-steps", STEPS + 2, "--data", data, "--out", imported)
    here = accuracy_here(program, imported)
    good &= check(f"trained in snnTorch: accuracy {there:.4f}, here {here:.4f}", abs(here - there) <= TOLERANCE)
    # Small steps: the settings of the preset are those for a network without training.
    config = os.path.join(imported, "config.toml")
    run(program, "train", config, "--lr", "2e-4", "--epochs", 2, "--device", "cpu", "--quiet", "--out", os.path.join(folder, "continued"))
    further = accuracy_here(program, os.path.join(folder, "continued"))
    good &= check(f"trained further here: accuracy {further:.4f}", further >= there - TOLERANCE)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
