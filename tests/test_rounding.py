"""float32 is right to within rounding: a bound that is derived, entry by entry, and no tolerance.

A sum of terms computed in float32, in any order, with fused multiply-adds or without, is off by

    at most γ_k · the sum of the terms' absolute values,     γ_k = k u / (1 − k u),  u = 2⁻²⁴,

where no term goes through more than k roundings (Higham 2002, "Accuracy and Stability of Numerical
Algorithms", section 3.1). A sum of n products has k = n: a product and n − 1 additions. Zeros cost
nothing. An op that is linear in each argument gives the sum of absolute values itself, from the
absolute values of its arguments. What is right is the op in float64 on the same numbers: its own
error, k 2⁻⁵³ of the sum, fits between (1 + u)ᵏ − 1, which rounding does not exceed, and γ_k, which
is k (k + 1) u² / 2 more. Nothing underflows: values are near 1.

The bounds hold for whoever computes in float32, so they judge PyTorch as well.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, cases
from test_definitions import by_pytorch, costly_same
from test_losses import L2_REDUCTIONS, LABEL_REDUCTIONS, SHAPES, batch
from test_ops import apply, every_op, gradients, upstream

from npkd import losses
from npkd.cases import Case, arrays

U = 2.0**-24
EXP = LOG = 8  # both are taken to be right to 4 ulp, of up to 2 u each

random_examples = settings(max_examples=25, deadline=None)
few_examples = settings(max_examples=10, deadline=None)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def gamma(k):
    return k * U / (1 - k * U)


def share_of_bound(found, exact, bound) -> float:
    """The largest |float32 − float64| / bound; where the bound is 0, both must be equal."""
    found, exact = np.asarray(found), np.asarray(exact)
    assert (found.dtype, exact.dtype) == (np.float32, np.float64)
    assert found.shape == exact.shape
    error = np.abs(found - exact)
    shares = np.divide(error, bound, out=np.where(error > 0, np.inf, 0), where=bound > 0)
    return np.max(shares, initial=0)


def assert_within(bounds, found, exact):
    shares = [share_of_bound(*one) for one in zip(found, exact, bounds, strict=True)]
    assert max(shares) <= 1, f"value and gradients are off by {shares} of their bounds"


# How many roundings a term goes through, in the value and in each gradient


def conv2d(case, y):
    """Terms of y: taps, and b; of dx: outputs of all windows on a cell; of dw and db: windows."""
    taps = math.prod(case.shapes["w"][1:])
    images, outputs, *windows = y
    n = images * math.prod(windows)
    outputs //= case.options["groups"]
    return taps + ("b" in case.shapes), outputs * windows_on_a_cell(case), n, n - 1


def linear(case, y):
    """Terms of y: inputs, and b; of dx: outputs; of dw and db: rows."""
    rows, outputs = y
    return case.shapes["w"][1] + ("b" in case.shapes), outputs, rows, rows - 1


def avg_pool2d(case, y):
    """Terms of y: taps; of dx: windows on a cell. One addition less than terms; a division."""
    taps = math.prod(np.broadcast_to(case.options["kernel_size"], 2))
    return taps, windows_on_a_cell(case)


def max_pool2d(case, y):
    """y is chosen, from x, so alike in float32 and float64. Terms of dx: windows on a cell."""
    return 0, windows_on_a_cell(case) - 1


def upsample(case, y):
    """Nearest: y is copied; terms of dx: the cells of a block.

    Bilinear: terms are w v x with weights for row and column that are rounded themselves, and there
    is one addition less than terms. A cell of y has 4 terms. A cell of x is the lower of two
    neighbours for at most f cells of y along each axis, and the upper for as many.
    """
    f = case.options["factor"]
    return (0, f**2 - 1) if case.options["mode"] == "nearest" else (4 + 3, (2 * f) ** 2 + 3)


def nothing(case, y):
    """Entries are copied, or set to zero."""
    return 0, 0


ROUNDINGS = {
    "conv2d": conv2d,
    "linear": linear,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "upsample": upsample,
    "relu": nothing,
    "flatten": nothing,
    "pixel_shuffle": nothing,
}


def windows_on_a_cell(case):
    """How many windows one cell may be in.

    Along an axis tap i of window o lies on cell o·stride + i·dilation − padding. The taps that lie
    on one cell are thus stride / gcd(stride, dilation) apart, and each is in another window.
    """
    kernel = case.shapes["w"][2:] if "w" in case.shapes else case.options["kernel_size"]
    stride, dilation = case.options["stride"] or kernel, case.options.get("dilation", 1)
    axes = zip(*(np.broadcast_to(size, 2) for size in (kernel, stride, dilation)), strict=True)
    return math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in axes)


# How far rounding may take the value and each gradient


def bounds_of(case, values, dy):
    """For a linear op γ_k times sums of absolute values; relu and max_pool2d are linear in dy."""
    if case.op in ("softmax", "log_softmax"):
        nonlinear = softmax if case.op == "softmax" else log_softmax
        return nonlinear(*values, dy, **case.options)
    decides = case.op in ("relu", "max_pool2d")
    y, backward = apply(case, *(values if decides else map(np.abs, values)))
    sums = [np.abs(y), *gradients(backward, np.abs(dy))]
    return [
        gamma(k) * total for k, total in zip(ROUNDINGS[case.op](case, y.shape), sums, strict=False)
    ]


def softmax(x, dy, axis):
    """Of y[i] = exp z[i] / S, S = Σ_j exp z[j], z = x − max x, and dx[i] = y[i] (dy[i] − Σ dy y).

    z is rounded, by |z| u, which exp turns into a factor e^{±|z| u}: |z| roundings. With exp's own
    error, and C − 1 additions for C entries, numerator, denominator and division have
        k = (D + EXP) + (D + EXP + C − 1) + 1,  D = max |z|
    In dx, y comes in twice, and there are two products, C − 1 additions and a subtraction.
    """
    z = x - x.max(axis=axis, keepdims=True)
    exp = np.exp(z)
    y = exp / exp.sum(axis=axis, keepdims=True)
    count = x.shape[axis]
    k = 2 * np.abs(z).max(axis=axis, keepdims=True) + 2 * EXP + count
    sums = y * (np.abs(dy) + (np.abs(dy) * y).sum(axis=axis, keepdims=True))
    return gamma(k) * y, gamma(2 * k + count + 2) * sums


def log_softmax(x, dy, axis, dy_roundings=0):
    """Of y[i] = z[i] − log S, S = Σ_j exp z[j], z = x − max x, and dx[i] = dy[i] − exp y[i] Σ dy.

    S has D + EXP + C − 1 roundings as in softmax, and log turns factors (1 + u) into terms of u.
    With z's own rounding, log's own error, and the subtraction's, of at most (|z| + log S) u,
        |error of y| ≤ k u,  k = |z| + (D + EXP + C − 1) + LOG log S + |z| + log S
    exp y has k + EXP roundings. In dx there are C − 1 additions, a product and a subtraction too.
    """
    z = x - x.max(axis=axis, keepdims=True)
    log_s = np.log(np.exp(z).sum(axis=axis, keepdims=True))
    count = x.shape[axis]
    of_s = np.abs(z).max(axis=axis, keepdims=True) + EXP + count - 1
    k = 2 * np.abs(z) + of_s + (LOG + 1) * log_s
    sums = np.abs(dy) + np.exp(z - log_s) * np.abs(dy).sum(axis=axis, keepdims=True)
    return gamma(k), gamma(dy_roundings + k + EXP + count + 1) * sums


def l2(student, teacher, labels, reduction):
    """Of Σ Δ² / 2D and Δ / D, or Δ · (1/D): Δ is rounded itself, and 1/D; halving is exact."""
    value, gradient = losses.l2(student, teacher, reduction=reduction)
    additions = 0 if reduction == "none" else student.size - 1
    return gamma(2 + 1 + additions + 1) * value, gamma(3) * np.abs(gradient)


def cross_entropy(student, teacher, labels, reduction):
    """Of Σ −log_softmax[label] / D, and log_softmax's backward of −1/D, rounded, at the labels.

    The terms of Σ have errors of their own, and go through B − 1 additions and the division.
    """
    size = len(student)
    dy = np.eye(student.shape[1])[labels] / (size if reduction == "batchmean" else 1)
    of_entries, gradient = log_softmax(student, dy, axis=1, dy_roundings=1)
    of_samples, _ = losses.cross_entropy(student, labels, reduction="none")
    value = dy.sum(axis=1) * (of_entries[np.arange(size), labels] + gamma(size) * of_samples)
    return value if reduction == "none" else value.sum(), gradient


def mix(student, teacher, labels, alpha):
    """Of (1 − α) hard + α soft: α and 1 − α are rounded themselves; a product; a sum."""
    hard = (
        losses.cross_entropy(student, labels),
        cross_entropy(student, teacher, labels, "batchmean"),
    )
    soft = losses.l2(student, teacher), l2(student, teacher, labels, "batchmean")
    return [
        (1 - alpha) * (of_h + gamma(3) * np.abs(h)) + alpha * (of_s + gamma(3) * np.abs(s))
        for h, of_h, s, of_s in zip(*hard, *soft, strict=True)
    ]


# Operations


def judged(case, values, dy):
    """The value and gradients of the case in float64, and their bounds."""
    values, dy = [value.astype(np.float64) for value in values], dy.astype(np.float64)
    y, backward = apply(case, *values)
    return [y, *gradients(backward, dy)], bounds_of(case, values, dy)


@every_op
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_value_and_gradients_of_an_op_are_right_to_within_rounding(op, data, seed):
    case, rng = data.draw(cases(op)), np.random.default_rng(seed)
    values = arrays(case, rng, np.float32).values()
    y, backward = apply(case, *values)
    dy = upstream(y, rng)
    exact, bounds = judged(case, values, dy)
    assert_within(bounds, [y, *gradients(backward, dy)], exact)


@costly_same
@every_op
@random_examples
@given(data=st.data(), seed=SEEDS)
def test_pytorchs_value_and_gradients_of_an_op_are_within_the_same_bounds(torch, op, data, seed):
    case, rng = data.draw(cases(op)), np.random.default_rng(seed)
    values = arrays(case, rng, np.float32).values()
    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    y = by_pytorch(torch, case)(*tensors)
    dy = upstream(y.detach().numpy(), rng)
    y.backward(torch.from_numpy(dy))
    exact, bounds = judged(case, values, dy)
    if case.options.get("mode") == "bilinear":
        more = rounded_positions(*values, dy, case.options["factor"])
        bounds = [bound + extra for bound, extra in zip(bounds, more, strict=True)]
    assert_within(bounds, [y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)], exact)


def rounded_positions(x, dy, factor):
    """How far PyTorch's bilinear y and dx may be off besides: it has its weights from float32.

    Row i of y lies at t = (i + ½) · (1/f) − ½ in the rows of x, 0 < t + ½ < H: three roundings of
    up to H u each, and of up to W u for columns, but none if f is a power of two. Weights move as t
    does, those of 0 too, and their products by up to δ = 3 (H + W) u; all those of one y by 2 δ.
    """
    k = 0 if factor & (factor - 1) == 0 else 3 * sum(x.shape[2:])
    of_image = {"axis": (2, 3), "keepdims": True}
    return gamma(2 * k) * np.abs(x).max(**of_image), gamma(k) * np.abs(dy).sum(**of_image)


@pytest.mark.parametrize("bits", [8, 11], ids=["bfloat16", "TF32"])
@pytest.mark.parametrize("op", ["conv2d", "linear"])
@few_examples
@given(seed=SEEDS)
def test_products_of_numbers_of_fewer_bits_are_out_of_bounds(op, bits, seed):
    """So a GPU that computes float32 products with fewer bits does not pass for float32."""
    options = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    case = {
        "conv2d": Case("conv2d", {"x": (2, 3, 8, 7), "w": (4, 3, 3, 3)}, options),
        "linear": Case("linear", {"x": (8, 30), "w": (20, 30)}, {}),
    }[op]
    rng = np.random.default_rng(seed)
    values = arrays(case, rng, np.float32).values()
    y, backward = apply(case, *(of_bits(bits, value) for value in values))
    dy = upstream(y, rng)
    exact, bounds = judged(case, values, dy)
    for one in zip([y, *gradients(backward, of_bits(bits, dy))], exact, bounds, strict=True):
        assert share_of_bound(*one) > 1


def of_bits(bits, x):
    """x rounded to so many significant bits."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2**bits), exponent - bits)


# Losses

LOSSES = [("l2", reduction) for reduction in L2_REDUCTIONS]
LOSSES += [("cross_entropy", reduction) for reduction in LABEL_REDUCTIONS]
LOSSES += [("mix", alpha) for alpha in (0.0, 0.3, 1.0)]
every_loss = pytest.mark.parametrize(("loss", "option"), LOSSES)


def by_npkd(loss, student, teacher, labels, option):
    """The value and gradient of a loss; option is its reduction or its α."""
    if loss == "l2":
        return losses.l2(student, teacher, reduction=option)
    if loss == "cross_entropy":
        return losses.cross_entropy(student, labels, reduction=option)
    return losses.mix(student, teacher, labels, alpha=option)


def loss_by_pytorch(functional, loss, student, teacher, labels, option):
    """The value of a loss."""
    if loss == "l2":
        divisor = {"batchmean": len(student), "elementmean": student.numel()}.get(option, 1)
        reduction = "none" if option == "none" else "sum"
        return functional.mse_loss(student, teacher, reduction=reduction) / (2 * divisor)
    if loss == "cross_entropy":
        reduction = "mean" if option == "batchmean" else option
        return functional.cross_entropy(student, labels, reduction=reduction)
    hard = loss_by_pytorch(functional, "cross_entropy", student, teacher, labels, "batchmean")
    soft = loss_by_pytorch(functional, "l2", student, teacher, labels, "batchmean")
    return (1 - option) * hard + option * soft


def judged_loss(loss, student, teacher, labels, option):
    """The value and gradient of a loss in float64, and their bounds."""
    of_batch = student.astype(np.float64), teacher.astype(np.float64), labels, option
    bounds = {"l2": l2, "cross_entropy": cross_entropy, "mix": mix}[loss](*of_batch)
    return by_npkd(loss, *of_batch), bounds


@every_loss
@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_value_and_gradient_of_a_loss_are_right_to_within_rounding(loss, option, shape, seed):
    of_batch = *batch(shape, seed, np.float32), option
    exact, bounds = judged_loss(loss, *of_batch)
    assert_within(bounds, by_npkd(loss, *of_batch), exact)


@every_loss
@random_examples
@given(shape=SHAPES, seed=SEEDS)
def test_pytorchs_value_and_gradient_of_a_loss_are_within_the_same_bounds(
    torch, loss, option, shape, seed
):
    student, teacher, labels = batch(shape, seed, np.float32)
    tensor = torch.tensor(student, requires_grad=True)
    value = loss_by_pytorch(
        torch.nn.functional, loss, tensor, *map(torch.from_numpy, (teacher, labels)), option
    )
    value.sum().backward()
    exact, bounds = judged_loss(loss, student, teacher, labels, option)
    assert_within(bounds, [value.detach().numpy(), tensor.grad.numpy()], exact)
