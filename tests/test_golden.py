"""The golden trajectory (tests/golden.py): by npkd and by PyTorch as it is stored, to 1e-12.

Losses and norms are compared relative to the stored figure, an inner product relative to the norm
of the parameter times the norm of its vector.
"""

import json
import math
from contextlib import contextmanager
from itertools import islice

import golden
import numpy as np
import pytest

import npkd
from npkd.engine import threads
from npkd.losses import cross_entropy
from npkd.objectives import from_truth

STORED = json.loads(golden.FIGURES.read_text(encoding="utf-8"))
TOLERANCE = 1e-12


def deviations(got: dict, stored: dict) -> dict[str, float]:
    """How far each figure of one net is off."""
    off = {}
    for t, (a, b) in enumerate(zip(got["losses"], stored["losses"], strict=True)):
        off[f"loss {t}"] = abs(a - b) / b
    assert got["vectors"].keys() == stored["vectors"].keys()
    for name, norm in stored["vectors"].items():
        off[f"vector of {name}"] = abs(got["vectors"][name] - norm) / norm
    assert got["params"].keys() == stored["params"].keys()
    for step, params in stored["params"].items():
        assert got["params"][step].keys() == params.keys() == stored["vectors"].keys()
        for name, b in params.items():
            a, where = got["params"][step][name], f"{name} after {step}"
            off[f"norm of {where}"] = abs(a["norm"] - b["norm"]) / b["norm"]
            scale = b["norm"] * stored["vectors"][name]
            off[f"inner product of {where}"] = abs(a["inner"] - b["inner"]) / scale
    return off


def beyond_tolerance(got: dict, stored: dict) -> dict[str, float]:
    """The figures of one net that are off, and by how much. NaN is off."""
    return {k: error for k, error in deviations(got, stored).items() if not error <= TOLERANCE}


@contextmanager
def so_many_threads(number):
    """npkd with this number of threads meanwhile."""
    before = threads._num_threads
    npkd.set_num_threads(number)
    try:
        yield
    finally:
        npkd.set_num_threads(1)  # closes the pool
        threads._num_threads = before


@pytest.fixture(scope="module")
def made():
    """The large net's figures and outputs, made by one thread."""
    with so_many_threads(1):
        return golden.train_large()


# The formula


@pytest.mark.parametrize(("seed", "count"), [(1, 33_792), (2, 11), (14, 512 * 16384)])
def test_arrays_are_the_formula_in_exact_arithmetic(seed, count):
    array = golden.array(seed, count)
    for i in {0, 1, 10, count // 2, count - 1}:
        power = pow(10**7 * seed + i, 5, 2**31 - 1)
        assert array[i] == (1 + power) / 2**30 - 1
        assert int((array[i] + 1) * 2**30) == 1 + power  # nothing was rounded
        if seed == 2:
            assert golden.labels()[i] == 10 * (1 + power) // 2**31


def test_the_first_numbers_are_those_printed():
    assert list(golden.array(1, 2)) == [-0.45664003025740385, 0.816331741400063]
    assert list(golden.labels()) == [6, 7, 0, 2, 0, 2, 7, 5, 9, 1, 5]


@pytest.mark.parametrize("name", golden.NETS)
def test_weights_fill_pytorchs_bounds(name):
    params = golden.untrained(name).params
    for key, theta in params.items():
        reach = np.max(np.abs(theta)) * np.sqrt(params[key.replace("bias", "weight")][0].size)
        assert 0.5 < reach < 1


# The trajectory


def test_npkd_makes_the_stored_figures(made):
    large, teacher = made
    assert beyond_tolerance(large, STORED["large"]) == {}
    assert beyond_tolerance(golden.train_small(teacher), STORED["small"]) == {}


def test_npkd_makes_the_stored_figures_with_three_threads():
    with so_many_threads(3):
        large, small = golden.trajectory().values()
    assert beyond_tolerance(large, STORED["large"]) == {}
    assert beyond_tolerance(small, STORED["small"]) == {}


@pytest.mark.parametrize("name", golden.NETS)
def test_losses_fall_from_the_first_pass_to_the_last(name):
    losses = STORED[name]["losses"]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_a_weight_decay_one_thousandth_higher_is_seen_in_the_small_net(made):
    changed = golden.train_small(made[1], weight_decay=1.001e-3)
    assert len(beyond_tolerance(changed, STORED["small"])) > 40


def test_a_weight_decay_one_thousandth_higher_is_seen_in_the_large_net_after_an_update(made):
    network, some = golden.untrained("large"), islice(golden.batches(golden.images()), 3)
    changed = golden.trained(
        "large", network, some, from_truth(cross_entropy), weight_decay=1.001e-3
    )
    for t, (a, b) in enumerate(zip(changed["losses"], made[0]["losses"][:3], strict=True)):
        assert (abs(a - b) > TOLERANCE * b) == (t > 0)  # loss 0 is from before any update


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("conv1.weight", 1e-9),
        ("conv1.bias", 1e-9),
        ("conv2.weight", 1e-7),  # one of 4,608, and below one of 262,144, counts for less
        ("conv2.bias", 1e-9),
        ("fc1.weight", 1e-7),
        ("fc1.bias", 1e-9),
        ("fc2.weight", 1e-9),
        ("fc2.bias", 1e-9),
    ],
)
def test_one_weight_that_starts_slightly_off_is_seen(made, name, change):
    network = golden.untrained("small")
    network.params[name].flat[0] *= 1 + change
    changed = golden.train_small(made[1], network)
    assert beyond_tolerance(changed, STORED["small"])


@pytest.fixture
def torch():
    """PyTorch on one thread: more of them wait for each other where the machine is busy."""
    module = pytest.importorskip("torch")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


def test_pytorch_makes_the_stored_figures(torch):
    """By its own modules, autograd, resampling and SGD; the rate by golden.py's docstring."""
    from test_torch_parity import in_pytorch  # that module needs torch as it is imported

    functional = torch.nn.functional

    def trained(name, x, loss):
        start = golden.untrained(name).params
        fixed = golden.vectors(name, start)
        module = in_pytorch(golden.NETS[name]).double()
        module.load_state_dict({key: torch.from_numpy(theta) for key, theta in start.items()})
        alpha = {"large": 0.03, "small": 0.004}[name]
        optimiser = torch.optim.SGD(module.parameters(), alpha, momentum=0.9, weight_decay=1e-3)
        losses, params = [], {}
        for t in range(20):
            cosine = 0.5 * (1 + math.cos(math.pi * (t - 3) / 17))
            optimiser.param_groups[0]["lr"] = alpha * ((t + 1) / 4 if t < 3 else cosine)
            some = [4 * (t % 3) + i for i in range(4 if t % 3 < 2 else 3)]
            optimiser.zero_grad()
            value = loss(module(x[some]), some)
            value.backward()
            optimiser.step()
            losses.append(value.item())
            if t + 1 in (10, 20):
                arrays = {k: theta.detach().numpy() for k, theta in module.named_parameters()}
                params[str(t + 1)] = golden.figures(arrays, fixed)
        norms = {key: float(np.linalg.norm(vector)) for key, vector in fixed.items()}
        return module, {"losses": losses, "vectors": norms, "params": params}

    def cross_entropy(y, some):
        return functional.cross_entropy(y, labels[some])

    def l2(y, some):
        return ((y - teacher[some]) ** 2).sum() / 2 / len(y)

    x_high, labels = torch.from_numpy(golden.images()), torch.from_numpy(golden.labels())
    x_low = functional.avg_pool2d(x_high, 2)
    module, large = trained("large", x_high, cross_entropy)
    with torch.no_grad():
        teacher = module(functional.interpolate(x_low, scale_factor=2, mode="nearest"))
    _, small = trained("small", x_low, l2)
    assert beyond_tolerance(large, STORED["large"]) == {}
    assert beyond_tolerance(small, STORED["small"]) == {}
