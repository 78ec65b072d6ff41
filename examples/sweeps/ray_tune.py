"""Searches settings of fmnist with Ray Tune, several runs at a time, on all machines of a Ray cluster.

    pip install spikegrad 'ray[tune]'
    python examples/sweeps/ray_tune.py runs/ray
    spikegrad runs runs/ray
"""

import os
import sys
from pathlib import Path

from ray import tune

import spikegrad as sg

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/ray").absolute()  # on several machines: a folder that they share

# A fifth of the training samples is held out, on which settings are chosen; the test set is left for `spikegrad eval`.
HELD_OUT = {"validation.kind": "fraction", "validation.fraction": 0.2}


def train(settings: dict) -> None:
    os.environ["RAYON_NUM_THREADS"] = "1"  # as many as the run's "cpu" below
    data = sg.load("fmnist", **HELD_OUT)
    model = sg.Model(sg.preset("fmnist", **HELD_OUT, **settings), device="cpu")
    folder = OUT / tune.get_context().get_trial_id()
    # Ends the run there if the scheduler gives it up. The accuracy is that on the held-out samples.
    callbacks = [lambda record: tune.report({"accuracy": record["test_accuracy"]})]
    model.fit(data, epochs=6, folder=folder, callbacks=callbacks, progress=False)


space = {
    "adam.lr": tune.loguniform(5e-4, 2e-2),
    "network.hidden[0].neurons": tune.choice([100, 200, 400]),
    "seed": 1,
}
tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),  # {"gpu": 0.25} and device="gpu": four runs share a GPU
    param_space=space,
    tune_config=tune.TuneConfig(num_samples=8, metric="accuracy", mode="max", scheduler=tune.schedulers.ASHAScheduler()),
)
best = tuner.fit().get_best_result()
print(f"{best.metrics['accuracy']:.1%} with {best.config}")
