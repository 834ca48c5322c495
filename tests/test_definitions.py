"""The specification against PyTorch on random cases, and against small results worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close, cases, define, image

from npkd import definitions
from npkd.proofs.cases import OPS, Drawn, arrays

NAN, INF = np.nan, np.inf
random_examples = settings(max_examples=40, deadline=None)


# Against PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def by_pytorch(torch, case: Drawn):
    """PyTorch's function of the case's arrays."""
    functional, options = torch.nn.functional, case.options
    if case.op == "flatten":
        return lambda x: torch.flatten(x, 1)
    if case.op in ("softmax", "log_softmax"):
        return lambda x: getattr(torch, case.op)(x, dim=options["axis"])
    if case.op == "upsample":
        corners = {"align_corners": False} if options["mode"] == "bilinear" else {}
        return lambda x: functional.interpolate(
            x, scale_factor=options["factor"], mode=options["mode"], **corners
        )
    if case.op == "pixel_shuffle":
        return lambda x: functional.pixel_shuffle(x, options["factor"])
    if case.op == "batch_norm":
        return lambda *values: batch_norm_of_pytorch(torch, *values, **options)
    if case.op == "global_avg_pool2d":
        return lambda x: functional.adaptive_avg_pool2d(x, 1)
    if case.op == "dropout":
        return lambda x: x * torch.from_numpy(options["mask"]).to(x.dtype)
    if case.op == "add":
        return torch.add
    if case.op == "concat":
        return lambda *xs: torch.cat(xs, options["axis"])
    return lambda *values: getattr(functional, case.op)(*values, **options)


def batch_norm_of_pytorch(torch, x, w=None, b=None, mean=None, variance=None, *, epsilon):
    """Its own in training; its own in evaluation has no gradients by mean and variance."""
    if mean is None:
        return torch.nn.functional.batch_norm(x, None, None, w, b, training=True, eps=epsilon)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    w, b, mean, variance = (one.reshape(shape) for one in (w, b, mean, variance))
    return (x - mean) / torch.sqrt(variance + epsilon) * w + b


# PyTorch says that "same" padding with an even kernel costs it a copy.
costly_same = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@costly_same
@pytest.mark.parametrize("op", OPS)
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_values_are_those_of_pytorch(torch, op, data, seed):
    case = data.draw(cases(op))
    values = arrays(case, np.random.default_rng(seed)).values()
    expected = by_pytorch(torch, case)(*map(torch.from_numpy, values))
    assert_close(define(case, *values), expected.numpy())


@costly_same
@pytest.mark.parametrize("op", OPS)
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_complex_step_gives_the_derivative_of_pytorch(torch, op, data, seed):
    """Im f(x + i h v) / h = J v: holds only if complex numbers go through by the same formula."""
    case, step = data.draw(cases(op)), 1e-30
    rng = np.random.default_rng(seed)
    values = arrays(case, rng).values()
    directions = [rng.standard_normal(value.shape) for value in values]
    y = define(case, *(x + 1j * step * v for x, v in zip(values, directions, strict=True)))
    _, expected = torch.autograd.functional.jvp(
        by_pytorch(torch, case),
        tuple(map(torch.from_numpy, values)),
        tuple(map(torch.from_numpy, directions)),
    )
    assert_close(y.imag / step, expected.numpy())


@costly_same
@pytest.mark.parametrize("op", OPS)
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_nan_reaches_the_same_entries_as_in_pytorch(torch, op, data, seed):
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    values = arrays(case, rng)
    x = next(iter(values.values()))
    x.flat[rng.integers(x.size)] = NAN
    y = define(case, *values.values())
    reached = np.isnan(y)
    expected = by_pytorch(torch, case)(*map(torch.from_numpy, values.values())).isnan().numpy()
    if case.options.get("factor") == 1:
        reached &= expected  # PyTorch copies; the bilinear formula adds 0·NaN from a neighbour
    np.testing.assert_array_equal(reached, expected)


@random_examples
@given(shape=st.tuples(st.integers(2, 4), st.integers(1, 5)), seed=SEEDS)
def test_losses_are_those_of_pytorch(torch, shape, seed):
    rng = np.random.default_rng(seed)
    student, teacher = rng.standard_normal((2, *shape))
    labels = rng.integers(shape[1], size=shape[0])
    s, t, k = map(torch.from_numpy, (student, teacher, labels))
    functional = torch.nn.functional

    half_squares = functional.mse_loss(s, t, reduction="none") / 2
    mean_l2 = functional.mse_loss(s, t) * shape[1] / 2  # (C/2) × the mean over all elements
    assert_close(definitions.l2(student, teacher, reduction="none"), half_squares)
    assert_close(definitions.l2(student, teacher, reduction="sum"), half_squares.sum())
    assert_close(definitions.l2(student, teacher, reduction="elementmean"), half_squares.mean())
    assert_close(definitions.l2(student, teacher), mean_l2)

    for ours, theirs in (("none", "none"), ("sum", "sum"), ("batchmean", "mean")):
        expected = functional.cross_entropy(s, k, reduction=theirs)
        assert_close(definitions.cross_entropy(student, labels, reduction=ours), expected)

    expected = 0.75 * functional.cross_entropy(s, k) + 0.25 * mean_l2
    assert_close(definitions.mix(student, teacher, labels, alpha=0.25), expected)


@random_examples
@given(
    shares=st.tuples(st.floats(0.01, 0.99), st.floats(0, 0.99)),
    weight_decay=st.floats(0, 0.1),
    lr=st.floats(1e-4, 1),
    kind=st.sampled_from(["SGD", "Nesterov", "Adam", "AdamW"]),
    seed=SEEDS,
)
def test_updates_are_those_of_pytorch(torch, shares, weight_decay, lr, kind, seed):
    rng = np.random.default_rng(seed)
    shapes = {"fc.weight": (3, 2), "fc.bias": (3,)}
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    options = {"lr": lr, "weight_decay": weight_decay}
    if kind in ("SGD", "Nesterov"):
        update, kept, theirs_is = definitions.sgd, 1, torch.optim.SGD
        options |= {"momentum": shares[0], "nesterov": kind == "Nesterov"}
    else:
        update, kept, theirs_is = getattr(definitions, kind.lower()), 2, getattr(torch.optim, kind)
        options |= {"betas": shares}
    optimiser = theirs_is(theirs.values(), **options)
    memory = [{name: np.zeros(shape) for name, shape in shapes.items()}] * kept
    for step in range(1, 5):
        grads = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        number = {"step": step} if kept == 2 else {}
        params, *memory = update(params, grads, *memory, **number, **options)
        for name, gradient in grads.items():
            theirs[name].grad = torch.from_numpy(gradient)
        optimiser.step()
        for name in shapes:
            assert_close(params[name], theirs[name].detach())


def test_statistics_of_a_batch_are_those_of_numpy():
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
    mean, variance = definitions.batch_statistics(x)
    assert_close(mean, x.mean(axis=(0, 2, 3)))
    assert_close(variance, x.var(axis=(0, 2, 3)))


# What holds for every op


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("op", OPS)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=SEEDS)
def test_dtype_is_kept_and_arguments_are_unchanged(op, dtype, data, seed):
    case = data.draw(cases(op))
    values = arrays(case, np.random.default_rng(seed), dtype).values()
    before = [value.copy() for value in values]
    assert define(case, *values).dtype == dtype
    for value, copy in zip(values, before, strict=True):
        np.testing.assert_array_equal(value, copy)


@random_examples
@given(case=cases("conv2d"), seed=SEEDS)
def test_convolution_cases_are_small(case, seed):
    y = define(case, *arrays(case, np.random.default_rng(seed)).values())
    assert 0 < y.size * np.prod(case.shapes["w"][1:]) < 5000


@pytest.mark.parametrize(("op", "tie"), [("relu", 0.5), ("max_pool2d", 0.5), ("relu6", 6)])
def test_arrays_plant_zeros_and_ties(op, tie):
    values = arrays(Drawn(op, {"x": (2, 3, 8, 8)}, {}), np.random.default_rng(0))["x"]
    assert np.sum(values == 0) > 1
    assert np.sum(values == tie) > 1


# Worked by hand


def test_conv2d_does_not_flip_the_kernel():
    x, w = image([[1.0, 2.0, 3.0]]), image([[1.0, 10.0]])
    np.testing.assert_array_equal(definitions.conv2d(x, w), image([[21.0, 32.0]]))


def test_conv2d_same_puts_the_odd_cell_at_the_bottom_and_right():
    x, w = image([[1.0, 2.0], [3.0, 4.0]]), np.ones((1, 1, 2, 2))
    y = definitions.conv2d(x, w, padding="same")
    np.testing.assert_array_equal(y, image([[10.0, 6.0], [7.0, 4.0]]))


def test_conv2d_stride_padding_dilation_and_bias():
    x, w = image([[1.0, 2.0, 3.0, 4.0]]), image([[1.0, 10.0]])
    y = definitions.conv2d(x, w, np.array([100.0]), stride=(1, 3), padding=(0, 1), dilation=(1, 2))
    np.testing.assert_array_equal(y, image([[120.0, 103.0]]))  # 0·1 + 2·10, 3·1 + 0·10


def test_conv2d_groups_see_their_own_channels():
    x = np.array([2.0, 3.0]).reshape(1, 2, 1, 1)
    w = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(4, 1, 1, 1)
    y = definitions.conv2d(x, w, groups=2)
    np.testing.assert_array_equal(y.ravel(), [2.0, 20.0, 300.0, 3000.0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1.0, 3.0, 2.0]),  # (0 + 1 + 2)/3, (2 + 3 + 4)/3, (4 + 0)/2 of the padded image
        ({"count_include_pad": False}, [1.5, 3.0, 4.0]),  # 3/2, 9/3, 4/1
        ({"divisor_override": 2}, [1.5, 4.5, 2.0]),
    ],
)
def test_avg_pool2d_divisor_where_the_last_window_sticks_out(options, expected):
    x = image([[1.0, 2.0, 3.0, 4.0]])
    y = definitions.avg_pool2d(x, (1, 3), stride=(1, 2), padding=(0, 1), ceil_mode=True, **options)
    np.testing.assert_array_equal(y, image([expected]))


@pytest.mark.parametrize("pool", [definitions.avg_pool2d, definitions.max_pool2d])
def test_pool_sizes(pool):
    """Seven cells: floor leaves a rest, ceil takes it, unless the window starts outside."""
    x = np.zeros((1, 1, 7, 7))
    assert pool(x, (2, 3)).shape == (1, 1, 3, 2)
    assert pool(x, (2, 3), ceil_mode=True).shape == (1, 1, 4, 3)
    assert pool(x, (1, 2), stride=(4, 7), ceil_mode=True).shape == (1, 1, 2, 1)
    assert pool(x, (8, 9), stride=(2, 3), ceil_mode=True).shape == (1, 1, 1, 1)


def test_max_pool2d_never_chooses_padding():
    x = image([[-1.0, -2.0]])
    y = definitions.max_pool2d(x, (1, 2), stride=1, padding=(0, 1))
    np.testing.assert_array_equal(y, image([[-1.0, -1.0, -2.0]]))


def test_max_pool2d_of_a_window_of_minus_infinity_is_minus_infinity():
    x = image([[-INF, -INF, 5.0, -INF]])
    y = definitions.max_pool2d(x, (1, 2))
    np.testing.assert_array_equal(y, image([[-INF, 5.0]]))


def test_max_pool2d_dilation_skips_cells():
    x = image([[1.0, 9.0, 2.0, 0.0]])
    y = definitions.max_pool2d(x, (1, 2), stride=1, dilation=2)
    np.testing.assert_array_equal(y, image([[2.0, 9.0]]))


@pytest.mark.parametrize("window", [[NAN, 1.0], [1.0, NAN], [INF, NAN], [NAN, NAN]])
def test_max_pool2d_of_a_window_with_nan_is_nan(window):
    assert np.isnan(definitions.max_pool2d(image([window]), (1, 2)))


def test_max_pool2d_decides_by_the_real_part_and_ties_go_to_the_first():
    x = image([[1 + 5j, 2 - 9j], [2 + 7j, 0 + 8j]])
    assert definitions.max_pool2d(x, 2) == 2 - 9j


def test_linear_maps_each_row():
    x, w = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 10.0], [0.0, 1.0], [1.0, 0.0]])
    y = definitions.linear(x, w, np.array([100.0, 200.0, 300.0]))
    np.testing.assert_array_equal(y, [[121.0, 202.0, 301.0], [143.0, 204.0, 303.0]])


def test_relu_at_zero_nan_and_complex_numbers():
    np.testing.assert_array_equal(
        definitions.relu(np.array([-1.0, 0.0, 2.0, NAN, INF])), [0.0, 0.0, 2.0, NAN, INF]
    )
    x = np.array([-1 + 3j, 0 + 3j, 1 - 3j])
    np.testing.assert_array_equal(definitions.relu(x), [0, 0, 1 - 3j])


def test_flatten_is_row_major():
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    np.testing.assert_array_equal(definitions.flatten(x), [np.arange(12.0)])


def test_softmax_of_known_odds():
    x = np.log([[1.0, 3.0], [4.0, 1.0]])
    assert_close(definitions.softmax(x), [[0.25, 0.75], [0.8, 0.2]])
    assert_close(definitions.softmax(x, axis=0), [[0.2, 0.75], [0.8, 0.25]])
    assert_close(definitions.log_softmax(x), np.log([[0.25, 0.75], [0.8, 0.2]]))
    assert_close(definitions.log_softmax(x, axis=0), np.log([[0.2, 0.75], [0.8, 0.25]]))


def test_softmax_of_large_logits_does_not_overflow():
    x = np.array([[1e4, 1e4], [-1e4, 0.0]])
    assert_close(definitions.softmax(x), [[0.5, 0.5], [0.0, 1.0]])
    assert_close(definitions.log_softmax(x), [[-np.log(2), -np.log(2)], [-1e4, 0.0]])


@pytest.mark.parametrize(
    ("factor", "mode", "expected"),
    [
        (2, "nearest", [0.0, 0.0, 6.0, 6.0]),
        (2, "bilinear", [0.0, 1.5, 4.5, 6.0]),  # at −¼ → 0, ¼, ¾, 1¼ → 1
        (3, "bilinear", [0.0, 0.0, 2.0, 4.0, 6.0, 6.0]),  # at −⅓ → 0, 0, ⅓, ⅔, 1, 1⅓ → 1
    ],
)
def test_upsample_holds_the_edge_values(factor, mode, expected):
    x, y = image([[0.0, 6.0]]), image([expected] * factor)
    assert_close(definitions.upsample(x, factor, mode), y)
    assert_close(definitions.upsample(x.swapaxes(2, 3), factor, mode), y.swapaxes(2, 3))


def test_pixel_shuffle_fills_each_block_in_row_major_order():
    x = np.arange(8.0).reshape(1, 8, 1, 1)
    y = definitions.pixel_shuffle(x, 2)
    np.testing.assert_array_equal(y, [[[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]])


def test_l2_reductions():
    student = np.array([[1.0, 2.0, 3.0], [0.0, 4.0, 1.0]])
    teacher = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    halves = definitions.l2(student, teacher, reduction="none")
    np.testing.assert_array_equal(halves, [[0.5, 2.0, 2.0], [0.0, 8.0, 0.5]])
    assert definitions.l2(student, teacher, reduction="sum") == 13.0
    assert definitions.l2(student, teacher) == 13.0 / 2
    assert definitions.l2(student, teacher, reduction="elementmean") == 13.0 / 6


def test_cross_entropy_reductions_and_mix():
    logits, labels = np.log([[1.0, 3.0], [4.0, 1.0]]), np.array([1, 1])
    rows = -np.log([0.75, 0.2])
    assert_close(definitions.cross_entropy(logits, labels, reduction="none"), rows)
    assert_close(definitions.cross_entropy(logits, labels, reduction="sum"), rows.sum())
    assert_close(definitions.cross_entropy(logits, labels), rows.mean())
    value = definitions.mix(logits, logits - 2, labels, alpha=0.25)
    assert_close(value, 0.75 * rows.mean() + 0.25 * 4.0)  # l2: ½ (2² + 2²) a row


def test_sgd_takes_two_steps_with_momentum_and_weight_decay():
    options = {"lr": 0.25, "momentum": 0.5, "weight_decay": 0.5}
    theta, velocity = {"w": np.array([1.0])}, {"w": np.array([0.0])}
    theta, velocity = definitions.sgd(theta, {"w": np.array([2.0])}, velocity, **options)
    assert (theta, velocity) == ({"w": 0.375}, {"w": 2.5})  # 2 + ½·1; 1 − ¼·2.5
    theta, velocity = definitions.sgd(theta, {"w": np.array([-1.0])}, velocity, **options)
    assert (theta, velocity) == ({"w": 0.265625}, {"w": 0.4375})  # ½·2.5 + (−1 + ½·0.375)


def test_nesterov_goes_on_by_the_new_velocity():
    theta, velocity = {"w": np.array([1.0])}, {"w": np.array([4.0])}
    options = {"lr": 0.5, "momentum": 0.5, "nesterov": True}
    theta, velocity = definitions.sgd(theta, {"w": np.array([2.0])}, velocity, **options)
    assert (theta["w"], velocity["w"]) == (-1.0, 4.0)  # 1 − ½ (2 + ½ 4)


def test_adam_takes_two_steps_and_adamw_decays_beside_them():
    zero, options = {"w": np.zeros(1)}, {"lr": 0.5, "betas": (0.5, 0.75), "epsilon": 1.0}
    one = {"w": np.array([4.0])}
    theta, m, v = definitions.adam({"w": np.array([3.0])}, one, zero, zero, step=1, **options)
    assert (theta["w"], m["w"], v["w"]) == (3 - 0.5 * 4 / 5, 2.0, 4.0)  # m̂ = 4, √v̂ = 4
    theta, m, v = definitions.adam(theta, zero, m, v, step=2, **options)
    m_hat, v_hat = 1 / 0.75, 3 / 0.4375
    assert theta["w"] == pytest.approx(2.6 - 0.5 * m_hat / (v_hat**0.5 + 1), rel=1e-14)
    decayed, *_ = definitions.adamw(
        {"w": np.array([3.0])}, one, zero, zero, step=1, weight_decay=0.5, **options
    )
    assert decayed["w"] == pytest.approx(3 - 0.5 * 0.5 * 3 - 0.4, rel=1e-14)
