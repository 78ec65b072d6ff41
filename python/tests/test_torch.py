import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spikegrad as sg  # noqa: E402
from conftest import network, samples  # noqa: E402
from golden import NAMES, Case, assert_close  # noqa: E402
from spikegrad.torch import SparseSNN  # noqa: E402


def loss_of(case, logits):
    """The case's task loss, by PyTorch."""
    labels = torch.from_numpy(case.tensors["labels"].astype(np.int64))
    loss = case.config.get("loss", {"kind": "cross_entropy", "label_smoothing": 0.0})
    if loss["kind"] == "cross_entropy":
        return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=loss["label_smoothing"])
    target = torch.full_like(logits, loss["off"])
    target[torch.arange(len(labels)), labels] = loss["on"]
    return torch.nn.functional.mse_loss(logits, target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_golden_gradients(name, dtype):
    case = Case(name)
    module = SparseSNN(case.network, device="cpu").to(dtype)
    module.load_state_dict({key.replace(".", ""): torch.from_numpy(w) for key, w in case.weights.items()})
    logits = module(torch.from_numpy(case.tensors["spikes"]))
    assert logits.dtype == dtype
    assert_close(logits.detach(), case.tensors["logits"], 1e-5, "logits")
    loss = loss_of(case, logits)
    # Regularisers are part of the gradient, not of the loss.
    assert_close([loss.item()], case.tensors["loss.ce"], 1e-5, "loss")
    loss.backward()
    for key, expected in case.gradient.items():
        assert_close(getattr(module, key.replace(".", "")).grad, expected, 1e-4, key)


def train(module, optimiser, x, labels):
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_any_optimiser_trains(make):
    x, labels = (torch.from_numpy(array) for array in samples())
    module = SparseSNN(network(), device="cpu", seed=1)
    optimiser = make(module.parameters(), lr=0.1 if make is torch.optim.SGD else 0.01)
    losses = train(module, optimiser, x, labels)
    assert losses[-1] < 0.5 * losses[0]
    assert (module(x).argmax(1) == labels).all()
    assert module.to_model().score(x, labels) == 1.0


def test_recurrent_layers_train():
    x, labels = (torch.from_numpy(array) for array in samples())
    layers = [sg.lif(30, recurrent=True, bias=True), sg.cuba_lif(20, 3.0, recurrent=True)]
    module = SparseSNN(sg.Network(40, 30, layers, sg.readout(2, "sum")), device="cpu", seed=1)
    assert [name for name, _ in module.named_parameters()] == ["w0", "r0", "b0", "w1", "r1", "w2"]
    assert module.r0.shape == (30, 30) and module.r1.shape == (20, 20)
    before = module.r0.detach().clone()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = train(module, optimiser, x, labels)
    assert losses[-1] < 0.5 * losses[0] and not torch.equal(module.r0, before)
    # Without recurrent weights the logits are others.
    logits = module(x)
    with torch.no_grad():
        module.r0.zero_()
    assert not torch.allclose(module(x), logits)
    model = module.to_model()
    assert not model.state_dict()["r.0"].any() and model.state_dict()["r.1"].any()


def test_adam_is_the_engines(events):
    """A step of PyTorch's Adam is one of the engine's."""
    module, model = SparseSNN(network(), device="cpu", seed=2), sg.Model(network(), device="cpu", seed=2)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    labels = torch.from_numpy(events.labels)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(events), labels).backward()
        optimiser.step()
        model.step(events, lr=1e-3)
    for name, expected in model.state_dict().items():
        assert_close(getattr(module, name.replace(".", "")).detach(), expected, 1e-5, name)


def test_passes_may_be_mixed(events):
    module = SparseSNN(network(), device="cpu")

    def gradients(order):
        module.zero_grad()
        losses = [module(part).square().sum() for part in (events[:20], events[20:50])]
        module(events)
        with torch.no_grad():
            module(events[:3])
        for k in order:
            losses[k].backward()
        return [parameter.grad.clone() for parameter in module.parameters()]

    for a, b in zip(gradients([0, 1]), gradients([1, 0])):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-8) and a.any()
    module.zero_grad()
    sum(module(part).square().sum() for part in (events[:20], events[20:50])).backward()
    assert torch.allclose(module.w0.grad, gradients([0, 1])[0], rtol=1e-5, atol=1e-8)


def test_parts_of_a_larger_module(events):
    whole = torch.nn.Sequential(SparseSNN(network(), device="cpu"), torch.nn.Linear(2, 2))
    assert [name for name, _ in whole.named_parameters()] == ["0.w0", "0.w1", "1.weight", "1.bias"]
    copied = copy.deepcopy(whole)
    copied.load_state_dict(whole.state_dict())
    assert torch.equal(whole(events), copied(events))
    whole[0].w0.requires_grad_(False)
    whole(events).sum().backward()
    assert whole[0].w0.grad is None and whole[0].w1.grad.any()


def test_what_has_no_gradient_is_refused(events):
    module = SparseSNN(network(), device="cpu")
    with pytest.raises(ValueError, match="requires a gradient"):
        module(torch.zeros(2, 30, 40, requires_grad=True))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        module(torch.full((2, 30, 40), 0.5))
    logits = module(events)
    with pytest.raises(FloatingPointError, match="gradient"):
        (logits * float("nan")).sum().backward()
    (gradient,) = torch.autograd.grad(module(events).sum(), [module.w1], create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()
    with pytest.raises(ValueError, match="method `dense`"):
        SparseSNN(network(), device="cpu", method="dense")(events)


def test_a_data_loader_may_fork(events):
    class Loaded(torch.utils.data.Dataset):
        def __len__(self):
            return len(events)

        def __getitem__(self, k):
            return events[k].dense()[0], int(events.labels[k])

    sg.Model(network(), device="cpu").predict(events)
    loader = torch.utils.data.DataLoader(Loaded(), batch_size=16, num_workers=2)
    module = SparseSNN(network(), device="cpu")
    assert sum(len(module(x)) for x, _ in loader) == 64


def test_torch_compile_leaves_the_engine_alone():
    module = SparseSNN(network(), device="cpu")
    x = torch.from_numpy(samples(4)[0].astype(np.float32))
    compiled = torch.compile(torch.nn.Sequential(module, torch.nn.Identity()), backend="eager")
    assert torch.equal(compiled(x), module(x))
