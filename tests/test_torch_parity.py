"""Operations, the document's nets and their training against PyTorch, in float64."""

from collections import OrderedDict

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close, cases
from test_definitions import by_pytorch, costly_same

from npkd import SGD, LargeCNN, SmallCNN, losses, ops, optim
from npkd.proofs.cases import OPS, arrays

torch = pytest.importorskip("torch")
functional = torch.nn.functional

random_examples = settings(max_examples=25, deadline=None)
NETS = [LargeCNN, SmallCNN]


def with_gradient(array):
    """The array as a tensor of PyTorch's that gathers a gradient."""
    return torch.tensor(array, requires_grad=True)


# Operations


@costly_same
@pytest.mark.parametrize("op", OPS)
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_value_and_gradients_of_an_op_are_those_of_pytorch(op, data, seed):
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    values = arrays(case, rng).values()
    y, backward = getattr(ops, op)(*values, **case.options)[:2]
    tensors = [with_gradient(value) for value in values]
    expected = by_pytorch(torch, case)(*tensors)
    assert_close(y, expected.detach())
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.from_numpy(dy))
    gradients = backward(dy)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    for gradient, tensor in zip(gradients, tensors, strict=False):  # db is None where b is not
        assert_close(gradient, tensor.grad)


@random_examples
@given(case=cases("batch_norm"), seed=SEEDS, training=st.booleans(), momentum=st.floats(0, 1))
def test_batch_norm_is_that_of_pytorch_and_so_are_its_running_statistics(
    case, seed, training, momentum
):
    rng = np.random.default_rng(seed)
    x, channels = rng.standard_normal(case.shapes["x"]), case.shapes["x"][1]
    w, b, mean = rng.standard_normal((3, channels))
    variance, dy, m = rng.random(channels) + 0.5, rng.standard_normal(x.shape), x.size // channels
    given = () if training else (mean, variance)
    y, backward, *statistics = ops.batch_norm(x, w, b, *given, **case.options)

    tensors, (running_mean, running_variance) = (
        [of(array) for array in arrays]
        for of, arrays in ((with_gradient, (x, w, b)), (torch.tensor, (mean, variance)))
    )
    expected = functional.batch_norm(
        tensors[0],
        running_mean,
        running_variance,
        *tensors[1:],
        training,
        momentum,
        case.options["epsilon"],
    )
    expected.backward(torch.from_numpy(dy))
    assert_close(y, expected.detach())
    for gradient, tensor in zip(backward(dy), tensors, strict=False):
        assert_close(gradient, tensor.grad)
    for of_batch, of_biased in statistics:
        assert_close((1 - momentum) * mean + momentum * of_batch, running_mean)
        unbiased = of_biased * m / (m - 1)
        assert_close((1 - momentum) * variance + momentum * unbiased, running_variance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", ["relu6", "sigmoid", "tanh", "silu", "gelu", "gelu by tanh"])
def test_infinite_and_large_numbers_give_what_they_give_in_pytorch(op, dtype):
    name, *form = op.split(" by ")
    options = {"approximate": form[0]} if form else {}
    x = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 90, -90, 1e4, -1e4, 1e30, -1e30], dtype)
    tensor = with_gradient(x)
    expected = getattr(functional, name)(tensor, **options)
    expected.sum().backward()
    with np.errstate(invalid="ignore"):
        y, backward = getattr(ops, name)(x, **options)
        dx = backward(np.ones_like(x))
    if name == "gelu" and not form and dtype == np.float32:  # PyTorch has NaN for ∞ there
        y[0] = expected[0].item()
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y, expected.detach(), rtol=1e-6, atol=1e-30)
    gradient = tensor.grad.numpy()
    if form:  # PyTorch's x² overflows, and gives NaN for the slopes 0 and 1
        gradient = np.where(np.abs(x) == dtype(1e30), x > 0, gradient)
    if name == "relu6":  # PyTorch has 0 or 1 for the slope at NaN, according to the dtype
        gradient[2] = 1
    np.testing.assert_allclose(dx, gradient, rtol=1e-6, atol=1e-30)


# PyTorch's own samples (torch.testing's), and the like for the other operations with sizes
SIZES = [
    ("avg_pool2d", (2, 3, 9, 9), ((3, 3),), {"stride": (1, 1), "padding": (1,), "ceil_mode": True}),
    ("avg_pool2d", (1, 1, 4, 4), ((2, 2),), {"stride": (), "padding": (0,)}),
    ("avg_pool2d", (1, 2, 6, 6), ((4, 4),), {"stride": (2, 2), "padding": (2,), "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 9, 8), ([3],), {"stride": [2]}),
    ("max_pool2d", (2, 3, 9, 8), ((3,),), {"stride": (2,), "padding": (1,), "dilation": (2,)}),
    ("max_pool2d", (2, 3, 9, 8), ([3],), {"stride": [], "padding": [1]}),
    ("conv2d", (2, 3, 9, 8), (), {"stride": (2,), "padding": (1,), "dilation": (2,)}),
    ("conv2d", (2, 3, 9, 8), (), {"stride": [2], "padding": [1], "dilation": [2]}),
]


@pytest.mark.parametrize(("op", "shape", "sizes", "options"), SIZES)
def test_sizes_in_a_sequence_of_one_or_none_are_pytorchs(op, shape, sizes, options):
    rng = np.random.default_rng(0)
    shapes = [shape, (4, 3, 2, 3)] if op == "conv2d" else [shape]
    values = [rng.standard_normal(one) for one in shapes]
    y, backward = getattr(ops, op)(*values, *sizes, **options)
    tensors = [with_gradient(value) for value in values]
    expected = getattr(functional, op)(*tensors, *sizes, **options)
    assert_close(y, expected.detach())
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.from_numpy(dy))
    dx, *_ = backward(dy) if op == "conv2d" else (backward(dy),)
    assert_close(dx, tensors[0].grad)


@pytest.mark.parametrize("wrong", [(1, 1, 1), (True,), 2.0, ()])
def test_what_pytorch_refuses_as_a_size_is_refused(wrong):
    x, w = np.ones((2, 3, 9, 8)), np.ones((4, 3, 2, 3))
    for op, more, name in (
        ("conv2d", [w], "stride"),
        ("conv2d", [w], "padding"),
        ("conv2d", [w], "dilation"),
        ("avg_pool2d", [], "kernel_size"),
        ("max_pool2d", [2], "dilation"),
    ):
        tensors = [torch.from_numpy(one) if one is w else one for one in more]
        with pytest.raises((RuntimeError, TypeError)):
            getattr(functional, op)(torch.from_numpy(x), *tensors, **{name: wrong})
        with pytest.raises(ValueError, match=f"{op}: {name} is"):
            getattr(ops, op)(x, *more, **{name: wrong})


# The document's nets


def in_pytorch(make):
    """The same net, its layers under the same names."""
    a, b, features, hidden = {
        LargeCNN: (32, 64, 64 * 16 * 16, 512),
        SmallCNN: (16, 32, 32 * 8 * 8, 128),
    }[make]
    layers = OrderedDict(
        conv1=torch.nn.Conv2d(3, a, 3, padding=1),
        relu1=torch.nn.ReLU(),
        conv2=torch.nn.Conv2d(a, b, 3, padding=1),
        relu2=torch.nn.ReLU(),
        pool=torch.nn.AvgPool2d(2),
        flatten=torch.nn.Flatten(),
        fc1=torch.nn.Linear(features, hidden),
        relu3=torch.nn.ReLU(),
        fc2=torch.nn.Linear(hidden, 10),
    )
    return torch.nn.Sequential(layers)


def both(make, seed=0):
    """One net in npkd and in PyTorch with the same weights, in float64."""
    net = make(seed, dtype=np.float64)
    module = in_pytorch(make).double()
    module.load_state_dict({name: torch.tensor(theta) for name, theta in net.params.items()})
    return net, module


@pytest.mark.parametrize("make", NETS)
def test_weights_go_to_a_state_dict_and_back_as_they_are(make):
    net, module = both(make)
    assert list(module.state_dict()) == list(net.params)
    other = make(1, dtype=np.float64)
    other.load({name: tensor.numpy() for name, tensor in module.state_dict().items()})
    for name in net.params:
        np.testing.assert_array_equal(other.params[name], net.params[name])


@pytest.mark.parametrize("make", NETS)
def test_outputs_and_all_gradients_are_those_of_pytorch(make):
    net, module = both(make)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, *net.image_shape))
    outputs, backward = net.features(x, net.layers)
    tensor = expected = with_gradient(x)
    for name, layer in module.named_children():
        expected = layer(expected)
        assert_close(outputs[name], expected.detach())
    dy = rng.standard_normal((3, 10))
    expected.backward(torch.from_numpy(dy))
    dx, grads = backward({"fc2": dy})
    assert_close(dx, tensor.grad)
    for name, theta in module.named_parameters():
        assert_close(grads[name], theta.grad)


@pytest.mark.parametrize("make", NETS)
def test_ten_updates_are_those_of_pytorch(make):
    """Momentum, weight decay, a rate that changes at each step, and a ragged last batch."""
    net, module = both(make)
    rng = np.random.default_rng(1)
    schedule = optim.cosine(0.05, steps=10, warmup=2)
    options = {"momentum": 0.9, "weight_decay": 1e-3}
    sgd = SGD(schedule(0), **options)
    optimiser = torch.optim.SGD(module.parameters(), schedule(0), **options)
    for step in range(10):
        count = 4 if step < 9 else 3
        x, teacher = (
            rng.standard_normal((count, *net.image_shape)),
            rng.standard_normal((count, 10)),
        )

        y, backward = net(x)
        value, dy = losses.l2(y, teacher)
        _, grads = backward(dy, need_dx=False)
        sgd.lr = schedule(step)
        sgd.step(net.params, grads)

        optimiser.zero_grad()
        expected = 10 / 2 * functional.mse_loss(module(torch.tensor(x)), torch.tensor(teacher))
        expected.backward()
        optimiser.param_groups[0]["lr"] = schedule(step)
        optimiser.step()

        assert_close(value, expected.detach())
    for name, theta in module.named_parameters():
        assert_close(net.params[name], theta.detach())
        assert_close(sgd.velocity[name], optimiser.state[theta]["momentum_buffer"])


@random_examples
@given(
    kind=st.sampled_from(["SGD", "Adam", "AdamW"]),
    shares=st.tuples(st.floats(0.01, 0.99), st.floats(0, 0.9999)),
    epsilon=st.floats(1e-10, 1),
    weight_decay=st.floats(0, 0.5),
    nesterov=st.booleans(),
    seed=SEEDS,
)
def test_ten_steps_of_every_optimiser_are_those_of_pytorch(
    kind, shares, epsilon, weight_decay, nesterov, seed
):
    rng = np.random.default_rng(seed)
    shapes = {"weight": (3, 2, 2, 1), "bias": (3,), "scale": ()}
    params = {name: np.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    if kind == "SGD":
        own = theirs_too = {"momentum": shares[0], "nesterov": nesterov}
    else:
        own = {"betas": shares, "epsilon": epsilon}
        theirs_too = {"betas": shares, "eps": epsilon}
    ours = getattr(optim, kind)(0.0, weight_decay=weight_decay, **own)
    optimiser = getattr(torch.optim, kind)(
        theirs.values(), 0.0, weight_decay=weight_decay, **theirs_too
    )
    for _ in range(10):
        ours.lr = optimiser.param_groups[0]["lr"] = rng.uniform(0, 1)
        grads = {name: np.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}
        ours.step(params, grads)
        for name, g in grads.items():
            theirs[name].grad = torch.from_numpy(g)
        optimiser.step()
        for name, tensor in theirs.items():
            assert_close(params[name], tensor.detach())


@pytest.mark.parametrize("make", NETS)
def test_initial_weights_are_drawn_from_pytorchs_distribution(make):
    net = make(0)
    torch.manual_seed(0)
    for name, tensor in in_pytorch(make).named_parameters():
        ours, theirs = net.params[name].ravel(), tensor.detach().numpy().ravel()
        largest, fan_in = np.max(np.abs(theirs)), net.params[name.replace("bias", "weight")][0].size
        assert largest * np.sqrt(fan_in) <= 1 + 1e-6
        assert np.max(np.abs(ours)) == pytest.approx(largest, rel=10 / ours.size)
        some = slice(0, 100_000)
        assert scipy.stats.ks_2samp(ours[some], theirs[some]).pvalue > 1e-3
