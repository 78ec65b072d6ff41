"""Searches settings with Optuna: four runs, of which bad ones end early.

    pip install spikegrad optuna
    python python/examples/optuna_search.py

Each run reports its accuracy after each epoch; Optuna's pruner ends those that are worse than the others were by then. The
accuracy is that on held-out samples; the test set is used once, at the end.
"""

import numpy as np
import optuna

import spikegrad as sg

CLASSES, NEURONS, STEPS = 4, 40, 60


def recordings(samples: int, seed: int) -> sg.Events:
    """Each class is a random pattern of spike times with jitter."""
    patterns = np.random.default_rng(0).uniform(5, STEPS - 5, (CLASSES, NEURONS))
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % CLASSES
    times = patterns[labels] + rng.normal(0, 3, (samples, NEURONS))
    neurons = np.tile(np.arange(NEURONS), samples)
    owners = np.repeat(np.arange(samples), NEURONS)
    return sg.Events.from_times(
        times.clip(0, STEPS - 1).ravel(), neurons, owners, labels, neurons=NEURONS, time_steps=STEPS
    )


def main() -> None:
    train, validation, test = recordings(400, 1), recordings(100, 2), recordings(200, 3)

    def objective(trial: optuna.Trial) -> float:
        layer = sg.lif(
            trial.suggest_int("neurons", 20, 80),
            tau_ms=trial.suggest_float("tau_ms", 5, 30, log=True),
            b_th=trial.suggest_float("b_th", 0.05, 0.5),
        )
        model = sg.Model(sg.Network(NEURONS, STEPS, [layer], sg.readout(CLASSES, "sum")), device="cpu")

        def prune(record: dict) -> None:
            trial.report(record["test_accuracy"], int(record["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned

        lr = trial.suggest_float("lr", 5e-4, 2e-2, log=True)
        model.fit(train, validation=validation, epochs=6, batch=32, lr=lr, callbacks=[prune], progress=False)
        trial.set_user_attr("weights", {name: array.tolist() for name, array in model.state_dict().items()})
        trial.set_user_attr("network", model.network.to_toml())
        return max(record["test_accuracy"] for record in model.history_)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=4)
    for trial in study.trials:
        print(trial.number, trial.state.name.lower(), trial.value, trial.params)
    best = study.best_trial
    model = sg.Model(sg.Network.from_toml(best.user_attrs["network"]), device="cpu")
    model.load_state_dict(best.user_attrs["weights"])
    print(f"test accuracy of run {best.number}: {model.score(test):.1%}")
    assert model.score(test) > 0.8


if __name__ == "__main__":
    main()
