#!/usr/bin/env python3
"""Trains the same network to the same test accuracy in spikegrad, from Python, and in PyTorch programs.

    epochs.py [--impl spikegrad,dense,snntorch,spikingjelly] [--accuracy 0.75] [--hidden 200] [--batch 256] [--lr 0.001]
              [--most 20]

The data are the Fashion-MNIST images of this repository (3,000 for training, 1,000 for testing), as spike latencies; network,
regularisers and initial weights are those of the preset fmnist with --paper. Needs the Python package,
PyTorch, snnTorch and SpikingJelly. Prints a JSON line per program: epochs until the accuracy is reached, and the seconds of
training until then. Testing is not timed. Each program runs in a process of its own, one after the other.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch
import torch_bench

import spikegrad as sg

IMAGES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "assets", "fashion-mnist")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--impl", default="spikegrad,dense,snntorch,spikingjelly")
    parser.add_argument("--accuracy", type=float, default=0.75)
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--most", type=int, default=20, help="epochs after which a program gives up")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def spikegrad(args, config, data):
    """(seconds of training, test accuracy) of each epoch."""
    model = sg.Model(config, device=args.device)
    epochs = []

    def note(record):
        epochs.append((record["train_seconds"], record["test_accuracy"]))
        return record["test_accuracy"] >= args.accuracy

    model.fit(data.train, validation=data.test, epochs=args.most, progress=False, callbacks=[note])
    return epochs


def peer(args, config, data):
    """The same of a class of torch_bench."""
    cfg = torch_bench.Config(SimpleNamespace(preset="fmnist", steps=None, density=None, b_th=float("inf"), hidden=args.hidden, depth=2, recurrent=False))
    weights = sg.Model(config, device="cpu").state_dict()
    device = torch.device("cuda" if args.device.startswith("gpu") else "cpu")
    ws = [torch.from_numpy(weights[name]).to(device).requires_grad_() for name in sorted(weights)]
    # A bit per spike would be smaller still, but this is what its users would do: [T, B, N].
    train, test = (torch.from_numpy(np.ascontiguousarray(part.dense().swapaxes(0, 1))) for part in (data.train, data.test))
    labels, test_labels = (torch.from_numpy(part.labels).to(device) for part in (data.train, data.test))
    impl = torch_bench.make_impl(args.one, cfg, ws, train[:, : args.batch].float().to(device), "auto")
    step = torch_bench.Step(cfg, impl, labels, args.lr)
    generator, epochs = torch.Generator().manual_seed(0), []
    while len(epochs) < args.most and not (epochs and epochs[-1][1] >= args.accuracy):
        order, begin = torch.randperm(len(labels), generator=generator), time.perf_counter()
        for part in order.split(args.batch):
            impl.x, step.y = train[:, part].to(device).float(), labels[part]
            step()
        torch_bench.sync(device)
        seconds, correct = time.perf_counter() - begin, 0
        with torch.no_grad():
            for part in torch.arange(len(test_labels)).split(args.batch):
                impl.x = test[:, part].to(device).float()
                correct += int((impl()[0].max(0).values.argmax(1) == test_labels[part]).sum())
        epochs.append((seconds, correct / len(test_labels)))
    return epochs


def one(args):
    changes = {"network.hidden[0].neurons": args.hidden, "network.hidden[1].neurons": args.hidden, "schedule.kind": "constant"}
    config = sg.preset("fmnist", paper=True, batch=args.batch, lr=args.lr, method="sparse", seed=1, **changes)
    data = sg.load(config, IMAGES)
    epochs = (spikegrad if args.one == "spikegrad" else peer)(args, config, data)
    reached = epochs[-1][1] >= args.accuracy
    seconds = [seconds for seconds, _ in epochs]
    print(json.dumps({"impl": args.one, "reached": reached, "epochs": len(epochs), "seconds": round(sum(seconds), 3),
                      "median_epoch_s": round(float(np.median(seconds)), 3), "accuracy": [accuracy for _, accuracy in epochs]}))


def main():
    args = parse()
    if args.one:
        return one(args)
    for name in args.impl.split(","):
        subprocess.run([sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--one", name], check=True)


if __name__ == "__main__":
    main()
