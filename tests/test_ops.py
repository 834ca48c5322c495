"""npkd.ops beside their proofs: SciPy, conventions, complex numbers, threads, what is refused.

That values are the definitions', that backward is the transpose of the derivative, and that the
contract holds, npkd.proofs checks; see tests/test_proofs.py.
"""

import inspect
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close, cases, define, image

import npkd
from npkd import definitions, ops
from npkd.engine import memory, threads
from npkd.ops import windows
from npkd.ops.conv import conv2d_relu
from npkd.ops.norm import batch_norm_relu
from npkd.proofs.cases import OPS, Drawn, arrays

NAN, INF = np.nan, np.inf
WITH_PARAMETERS = ["conv2d", "linear", "batch_norm"]
OF_SEVERAL = [*WITH_PARAMETERS, "add"]

examples = settings(max_examples=40, deadline=None)
few_examples = settings(max_examples=15, deadline=None)
every_op = pytest.mark.parametrize("op", OPS)


def apply(case: Drawn, *values: np.ndarray):
    """The op's (y, backward)."""
    return getattr(ops, case.op)(*values, **case.options)[:2]


def gradients(backward, dy: np.ndarray, **options) -> list[np.ndarray]:
    """What backward gives, but for the None of a bias that is not there."""
    given = backward(dy, **options)
    return [g for g in (given if isinstance(given, tuple) else (given,)) if g is not None]


def upstream(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random dy for y."""
    return arrays(Drawn("upstream", {"dy": y.shape}, {}), rng, y.dtype)["dy"]


def bits(given: list[np.ndarray]) -> list[bytes]:
    return [array.tobytes() for array in given]


def refusal(function, *args, **options) -> str:
    """The one line with which a ValueError refuses the arguments."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  what it says is for the caller
        function(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Values


@every_op
def test_arguments_have_the_names_order_and_defaults_of_the_definition(op):
    ours, defined = (
        [
            (p.name, p.kind, p.default)
            for p in inspect.signature(getattr(of, op)).parameters.values()
        ]
        for of in (ops, definitions)
    )
    assert ours == defined


@examples
@given(case=cases("conv2d"), seed=SEEDS)
def test_conv2d_is_the_cross_correlation_of_scipy(case, seed):
    """Kernels dilated by zeros, images padded by zeros, and of all windows every stride-th."""
    values = arrays(case, np.random.default_rng(seed))
    x, w, options = values["x"], values["w"], case.options
    (sh, sw), (dh, dw) = (np.broadcast_to(options[name], 2) for name in ("stride", "dilation"))
    outputs, channels, kh, kw = w.shape
    dilated = np.zeros((outputs, channels, dh * (kh - 1) + 1, dw * (kw - 1) + 1))
    dilated[..., ::dh, ::dw] = w
    before_and_after = {
        "valid": ((0, 0), (0, 0)),
        "same": [(reach // 2, reach - reach // 2) for reach in (dh * (kh - 1), dw * (kw - 1))],
    }
    padding = options["padding"]
    sides = before_and_after.get(padding) or [(p, p) for p in np.broadcast_to(padding, 2)]
    padded = np.pad(x, [(0, 0), (0, 0), *sides])

    y, _ = apply(case, *values.values())
    expected = np.empty_like(y)
    for n, o in np.ndindex(y.shape[:2]):
        first = channels * (o // (outputs // options["groups"]))
        group = padded[n, first : first + channels]
        full = scipy.signal.correlate(group, dilated[o], mode="valid", method="direct")
        expected[n, o] = full[0, ::sh, ::sw] + (values["b"][o] if "b" in values else 0)
    assert_close(y, expected)


def windows_of(case: Drawn) -> tuple[np.ndarray, tuple[slice, slice]]:
    """For SciPy: the footprint of a window, and where windows start in a padded image."""
    options = {"dilation": 1} | case.options
    strides = options["stride"] or options["kernel_size"]
    (kh, kw), (dh, dw), (sh, sw) = (
        np.broadcast_to(size, 2) for size in (options["kernel_size"], options["dilation"], strides)
    )
    footprint = np.zeros((dh * (kh - 1) + 1, dw * (kw - 1) + 1))
    footprint[::dh, ::dw] = 1
    return footprint, (slice(None, None, sh), slice(None, None, sw))


def padded(case: Drawn, image: np.ndarray, padding: float, beyond: float) -> np.ndarray:
    """The image in its padding, and beyond that as much as a window may stick out (ceil_mode)."""
    rows, columns = np.broadcast_to(case.options["padding"], 2)
    image = np.pad(image, [(rows, rows), (columns, columns)], constant_values=padding)
    return np.pad(image, [(0, 4), (0, 4)], constant_values=beyond)  # a stride is at most 4


@examples
@given(case=cases("max_pool2d"), seed=SEEDS)
def test_max_pool2d_is_the_maximum_filter_of_scipy(case, seed):
    x = arrays(case, np.random.default_rng(seed))["x"]
    y, _ = apply(case, x)
    rows, columns = y.shape[2:]
    for n, c in np.ndindex(y.shape[:2]):
        image = padded(case, x[n, c], -INF, -INF)
        footprint, starts = windows_of(case)
        origin = [-(size // 2) for size in footprint.shape]  # a window is named by its first cell
        largest = scipy.ndimage.maximum_filter(
            image, footprint=footprint, mode="constant", cval=-INF, origin=origin
        )
        np.testing.assert_array_equal(y[n, c], largest[starts][:rows, :columns])


@examples
@given(case=cases("avg_pool2d"), seed=SEEDS)
def test_avg_pool2d_is_a_quotient_of_correlations_of_scipy(case, seed):
    x = arrays(case, np.random.default_rng(seed))["x"]
    y, _ = apply(case, x)
    rows, columns = y.shape[2:]

    def sums(image):
        footprint, starts = windows_of(case)
        return scipy.signal.correlate2d(image, footprint, mode="valid")[starts][:rows, :columns]

    counted = padded(case, np.ones(x.shape[2:]), float(case.options["count_include_pad"]), 0)
    divisor = case.options["divisor_override"] or sums(counted)
    for n, c in np.ndindex(y.shape[:2]):
        assert_close(y[n, c], sums(padded(case, x[n, c], 0, 0)) / divisor)


@examples
@given(case=cases("upsample"), seed=SEEDS)
def test_upsample_is_the_interpolation_of_scipy(case, seed):
    """At (u + ½)/f − ½ for row u, and likewise for columns, with the edge's cell beyond an edge."""
    x = arrays(case, np.random.default_rng(seed))["x"]
    y, _ = apply(case, x)
    f, linear = case.options["factor"], case.options["mode"] == "bilinear"
    rows, columns = ((np.arange(size) + 0.5) / f - 0.5 for size in y.shape[2:])
    at = np.meshgrid(rows, columns, indexing="ij")
    if not linear:
        at = np.rint(at)  # never halfway: (u + ½)/f is no integer
    for n, c in np.ndindex(y.shape[:2]):
        expected = scipy.ndimage.map_coordinates(x[n, c], at, order=int(linear), mode="nearest")
        assert_close(y[n, c], expected)


@examples
@given(case=cases("softmax"), scale=st.sampled_from([1, 100]), seed=SEEDS)
def test_softmax_and_its_logarithm_are_those_of_scipy(case, scale, seed):
    x = scale * arrays(case, np.random.default_rng(seed))["x"]
    axis = case.options["axis"]
    log_softmax, _ = ops.log_softmax(x, axis)
    assert_close(ops.softmax(x, axis)[0], scipy.special.softmax(x, axis))
    assert_close(log_softmax, scipy.special.log_softmax(x, axis))
    assert_close(x - log_softmax, 0 * x + scipy.special.logsumexp(x, axis, keepdims=True))


def test_relu6_has_the_slope_0_at_both_kinks():
    y, backward = ops.relu6(np.array([-1.0, 0.0, 3.0, 6.0, 7.0, NAN]))
    np.testing.assert_array_equal(y, [0, 0, 3, 6, 6, NAN])
    np.testing.assert_array_equal(backward(np.full(6, 5.0)), [0, 0, 5, 0, 0, 5])


def test_a_mask_is_rounded_to_the_precision_of_what_it_is_for():
    x, mask = np.full(3, 3.0, np.float32), np.array([0.0, 4 / 3, 4 / 3])
    y, backward = ops.dropout(x, mask)
    assert y.dtype == backward(x).dtype == np.float32
    np.testing.assert_array_equal(y, x * mask.astype(np.float32))
    y, _ = ops.dropout(x.astype(np.complex64), mask.astype(np.complex64))
    np.testing.assert_array_equal(y, x * mask.astype(np.float32))


@every_op
@examples
@given(data=st.data(), seed=SEEDS)
def test_nan_reaches_what_the_entry_bears_on_and_nothing_else(op, data, seed):
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    values = arrays(case, rng)
    x = next(iter(values.values()))
    entry = rng.integers(x.size)
    x.flat[entry] = 5
    y, _ = apply(case, *values.values())
    x.flat[entry] = 10
    borne_on = apply(case, *values.values())[0] != y
    x.flat[entry] = NAN
    reached = np.isnan(apply(case, *values.values())[0])
    assert np.all(borne_on <= reached)
    defined = np.isnan(define(case, *values.values()))
    if case.options.get("mode") == "bilinear":  # products of matrices, in which 0 · NaN is NaN
        defined |= defined.any(axis=(2, 3), keepdims=True)  # of one channel of one image
    assert np.all(reached <= defined)


# Backward passes


@pytest.mark.parametrize("op", ["relu", "max_pool2d"])
@examples
@given(data=st.data(), seed=SEEDS)
def test_what_decides_is_linear_once_its_choices_are_made_for_complex_numbers_too(op, data, seed):
    """⟨A x, v⟩ = ⟨x, Aᵀ v⟩ with ⟨a, b⟩ = Σ a b, never conjugated, A the choices made at x."""
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    x = arrays(case, rng, np.complex128)["x"]
    y, backward = apply(case, x)
    v = upstream(y, rng)
    dx = backward(v)
    scale = np.sum(np.abs(y * v)) + np.sum(np.abs(x * dx))
    assert np.abs(np.sum(y * v) - np.sum(x * dx)) <= 1e-14 * scale


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_backward_of_softmax_is_that_of_its_formula_for_complex_numbers(op, data, seed):
    """The formula is analytic: a small complex step dx changes ⟨dy, y⟩ by ⟨backward(dy), dx⟩."""
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    x = arrays(case, rng, np.complex128)["x"]
    y, backward = apply(case, x)
    dy, step = upstream(y, rng), 1e-6 * upstream(x, rng)
    change = (define(case, x + step) - define(case, x - step)) / 2
    scale = 1e-6 * np.sum(np.abs(dy)) * (1 + np.max(np.abs(y)))
    assert np.abs(np.sum(dy * change) - np.sum(backward(dy) * step)) <= 1e-6 * scale


# Contract


@pytest.mark.parametrize("op", [op for op in OPS if op != "flatten"])  # its y is a view of x
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_backward_depends_on_the_arguments_and_not_on_what_becomes_of_y(op, data, seed):
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    y, backward = apply(case, *arrays(case, rng).values())
    dy = upstream(y, rng)
    first = bits(gradients(backward, dy))
    y[...] = 7
    assert bits(gradients(backward, dy)) == first


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@every_op
@settings(max_examples=8, deadline=None)
@given(data=st.data(), seed=SEEDS)
def test_complex_dtypes_are_kept(op, dtype, data, seed):
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    values = arrays(case, rng, dtype).values()
    y, backward = apply(case, *values)
    assert y.dtype == dtype
    for value, gradient in zip(values, gradients(backward, upstream(y, rng)), strict=True):
        assert (gradient.dtype, gradient.shape) == (dtype, value.shape)


def test_flatten_is_a_view():
    x = np.zeros((2, 3, 4, 5))
    y, backward = ops.flatten(x)
    dy = np.zeros(y.shape)
    assert np.shares_memory(y, x)
    assert np.shares_memory(backward(dy), dy)


@pytest.mark.parametrize("op", WITH_PARAMETERS)
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_without_need_dx_the_other_gradients_have_the_same_bits(op, data, seed):
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    y, backward = apply(case, *arrays(case, rng).values())
    dy = upstream(y, rng)
    assert backward(dy, need_dx=False)[0] is None
    assert bits(gradients(backward, dy, need_dx=False)) == bits(gradients(backward, dy)[1:])


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@examples
@given(data=st.data(), seed=SEEDS)
def test_a_convolution_with_its_relu_has_the_bits_of_the_two_in_turn(dtype, data, seed):
    case = data.draw(cases("conv2d"))
    rng = np.random.default_rng(seed)
    values = list(arrays(case, rng, dtype).values())
    values[0].flat[rng.integers(values[0].size)] = rng.choice([0, NAN, np.inf])
    with np.errstate(invalid="ignore"):
        y, backward = apply(case, *values)
        z, backward_of_relu = ops.relu(y)
        found, backward_of_both = conv2d_relu(*values, **case.options)
        dz = upstream(z, rng)
        assert bits([found]) == bits([z])
        assert bits(gradients(backward_of_both, dz)) == bits(
            gradients(backward, backward_of_relu(dz))
        )


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@examples
@given(case=cases("batch_norm"), seed=SEEDS, last=st.booleans())
def test_batch_norm_with_its_relu_has_the_bits_of_the_two_in_turn(dtype, case, seed, last):
    rng = np.random.default_rng(seed)
    values = list(arrays(case, rng, dtype).values())
    values[0].flat[rng.integers(values[0].size)] = rng.choice([0, NAN, np.inf])
    if last and values[0].ndim == 4:
        values[0] = memory.turned(values[0])
    with np.errstate(invalid="ignore"):
        y, backward = apply(case, *values)
        z, backward_of_relu = ops.relu(y)
        found, backward_of_both = batch_norm_relu(*values, **case.options)[:2]
        dz = upstream(z, rng)
        assert bits([found]) == bits([z])
        assert bits(gradients(backward_of_both, dz)) == bits(
            gradients(backward, backward_of_relu(dz))
        )


CHANNELS = dict.fromkeys(("w", "b", "mean", "variance"), (5,))


@pytest.mark.usefixtures("many_parts")
@pytest.mark.parametrize("size", [(), (1, 1), (7, 6)])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_keeps_the_order_of_axes_in_memory(size, training):
    """Which changes no value of an evaluation, and in training the order of sums."""
    rng = np.random.default_rng(0)
    case = Drawn("batch_norm", {"x": (61, 5, *size)} | CHANNELS, {})
    x, w, b, *given = arrays(case, rng).values()
    given = [] if training else given
    last = memory.turned(x) if size else x
    (y, backward, *_), (y_last, backward_last, *_) = (
        ops.batch_norm(one, w, b, *given) for one in (x, last)
    )
    assert memory.layout_of(y_last) is memory.layout_of(last)
    assert training or bits([np.ascontiguousarray(y_last)]) == bits([y])
    assert_close(y_last, y)
    dy = upstream(y, rng)
    for a, e in zip(gradients(backward_last, dy), gradients(backward, dy), strict=True):
        assert_close(a, e)


@pytest.mark.parametrize("channels", [3, 16, 64])
def test_nan_stays_in_its_channel_in_training(channels):
    x = np.random.default_rng(0).standard_normal((37, channels, 9, 8)).astype(np.float32)
    x[5, 1, 2, 3] = NAN
    y, backward, statistics = ops.batch_norm(memory.turned(x))
    for found in (y, backward(np.ones_like(y))[0]):
        np.testing.assert_array_equal(np.isnan(found).all(axis=(0, 2, 3)), np.arange(channels) == 1)
        np.testing.assert_array_equal(np.isnan(found).any(axis=(0, 2, 3)), np.arange(channels) == 1)
    assert np.isnan(statistics).sum() == 2


def test_batch_norm_of_no_image_divides_by_no_count():
    x, (w, b, mean, variance) = np.ones((0, 2, 3, 3)), np.ones((4, 2))
    with np.errstate(all="raise"):
        y, backward = ops.batch_norm(x, w, b, mean, variance)
        gradients = backward(y)
    assert not any(np.any(gradient) for gradient in gradients)


@examples
@given(case=cases("batch_norm").filter(lambda case: "mean" in case.shapes), seed=SEEDS)
def test_batch_norm_in_evaluation_gives_an_image_alone_the_same_bits(case, seed):
    x, *given = arrays(case, np.random.default_rng(seed), np.float32).values()
    y, _ = apply(case, x, *given)
    alone = [apply(case, x[n : n + 1], *given)[0] for n in range(len(x))]
    assert bits([y]) == bits([np.concatenate(alone)])


@examples
@given(case=cases("batch_norm"), seed=SEEDS)
def test_batch_norm_in_training_is_that_by_its_own_statistics(case, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(case.shapes["x"]).astype(np.float32)
    w, b = rng.standard_normal((2, x.shape[1])).astype(np.float32)
    y, _, statistics = ops.batch_norm(x, w, b, **case.options)
    again, _ = ops.batch_norm(x, w, b, *statistics, **case.options)
    assert bits([y]) == bits([again])


def test_batch_norm_gives_none_where_none_was_given():
    x, of_channels = np.random.default_rng(0).standard_normal((6, 3)), np.ones(3)
    for w, b in ((None, None), (of_channels, None), (None, of_channels)):
        for known in ((), (of_channels, of_channels)):
            y, backward, *_ = ops.batch_norm(x, w, b, *known)
            found = [gradient is None for gradient in backward(y)]
            assert found == [False, w is None, b is None, *(False for _ in known)]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("mean", [0, 100])
def test_batch_norm_keeps_digits_where_the_mean_is_large(mean, last):
    """Statistics of 100,000 float32 are right to within their own rounding, and so are sums."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((100, 3, 40, 25)) + mean).astype(np.float32)
    x = memory.turned(x) if last else x
    y, backward, statistics = ops.batch_norm(x, np.ones(3, np.float32))
    exact = x.astype(np.float64)
    y64, backward64, (mean64, variance64) = ops.batch_norm(exact, np.ones(3))
    np.testing.assert_allclose(statistics[0], mean64, rtol=1.2e-7, atol=1e-8)
    np.testing.assert_allclose(statistics[1], variance64, rtol=2.4e-7)
    of_mean = np.spacing(np.float32(mean))
    assert np.max(np.abs(y - y64)) <= 1e-6 + of_mean
    dy = rng.standard_normal(y.shape).astype(np.float32)
    (dx, dw, _), (dx64, dw64, _) = backward(dy), backward64(dy.astype(np.float64))
    assert np.max(np.abs(dx - dx64)) <= 2e-6
    assert np.max(np.abs(dw - dw64)) <= 2e-4 + of_mean * np.abs(dy.sum(axis=(0, 2, 3))).max()


@examples
@given(data=st.data(), seed=SEEDS)
def test_the_order_of_axes_in_memory_changes_no_value_and_is_kept(data, seed):
    of_entries = ("relu", "relu6", "sigmoid", "tanh", "silu", "gelu")
    kinds = st.sampled_from(["avg_pool2d", "max_pool2d", "flatten", *of_entries])
    case = data.draw(kinds.flatmap(cases))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, 9, 7, 8)) if case.op in of_entries else arrays(case, rng)["x"]
    last = memory.turned(x) if x.ndim == 4 else x
    (y, backward), (y_last, backward_last) = apply(case, x), apply(case, last)
    dy = upstream(y, rng)
    assert bits([np.ascontiguousarray(y_last)]) == bits([y])
    np.testing.assert_array_equal(backward_last(dy), backward(dy))
    if case.op != "flatten":
        assert memory.layout_of(y_last) is memory.layout_of(last) or 1 in y.shape


layouts = st.sampled_from([np.ascontiguousarray, memory.turned, lambda x: x.transpose(1, 0, 3, 2)])


@examples
@given(data=st.data(), shape=st.tuples(*[st.integers(1, 9)] * 4), seed=SEEDS)
def test_arrays_in_any_order_of_memory_are_joined_to_the_bit(data, shape, seed):
    """The channels are last in the result if they are in one of them, as long as there are some."""
    rng = np.random.default_rng(seed)
    xs = [data.draw(layouts)(rng.standard_normal(shape)) for _ in range(3)]
    xs = [x.transpose(np.argsort([1, 0, 3, 2])) if x.shape != shape else x for x in xs]
    axis = data.draw(st.integers(-4, 3))
    for y, expected in (
        (ops.add(*xs[:2])[0], xs[0] + xs[1]),
        (ops.concat(*xs, axis=axis)[0], np.concatenate(xs, axis)),
    ):
        np.testing.assert_array_equal(y, expected)
    y, backward = ops.concat(*xs, axis=axis)
    dy = data.draw(layouts)(rng.standard_normal(y.shape))
    dy = dy if dy.shape == y.shape else dy.transpose(1, 0, 3, 2)
    for x, dx, piece in zip(xs, backward(dy), np.split(dy, 3, axis), strict=True):
        np.testing.assert_array_equal(dx, piece)
        assert memory.layout_of(dx) is memory.layout_of(x)
    kinds = [memory.layout_of(x) for x in xs]
    if memory.channels_last in kinds[:2]:
        assert memory.layout_of(ops.add(*xs[:2])[0]) is memory.channels_last


@examples
@given(shape=st.tuples(*[st.integers(1, 9)] * 4), seed=SEEDS)
def test_the_mean_of_whole_images_is_the_same_with_channels_last(shape, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:2], 1, 1))
    for images in (x, memory.turned(x), x[:, :, ::-1]):
        y, backward = ops.global_avg_pool2d(images)
        assert_close(y, x.mean(axis=(2, 3), keepdims=True))
        assert_close(backward(dy), dy / (shape[2] * shape[3]) * np.ones(shape))
        assert memory.layout_of(backward(dy)) is memory.layout_of(images)


# Scratch memory and threads


@pytest.fixture
def restore_threads():
    before = npkd.get_num_threads()
    yield
    npkd.set_num_threads(before)


def extra_memory(function, *args) -> tuple[int, int, object]:
    """Bytes at the peak of a call and after it, beside the arrays that it returns; its result."""
    tracemalloc.start()
    try:
        result = function(*args)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    returned = sum(array.nbytes for array in result if isinstance(array, np.ndarray))
    return peak - returned, after - returned, result


@pytest.mark.usefixtures("restore_threads")
def test_scratch_memory_of_conv2d_does_not_grow_with_the_batch(monkeypatch):
    """The patches of an image take 0.4 MB here, those of the larger batch 110 MB."""
    monkeypatch.setattr(memory, "LARGE", np.inf)  # what it keeps for later is not the op's
    npkd.set_num_threads(1)
    w, b = np.ones((4, 16, 3, 3)), np.ones(4)
    peaks = []
    for batch in (128, 256):
        x = np.ones((batch, 16, 32, 32))
        windows._of_thread.__dict__.clear()
        forward_peak, kept, (y, backward) = extra_memory(ops.conv2d, x, w, b)
        backward_peak, _, _ = extra_memory(backward, y)
        scratch = sum(patches.nbytes for patches in windows._of_thread.kept.values())
        assert scratch <= windows.KEPT * windows.TILE_BYTES
        assert kept - scratch < 50_000
        peaks.append((forward_peak, backward_peak))
    np.testing.assert_allclose(peaks[1], peaks[0], atol=100_000)


def test_products_for_dw_take_no_more_memory_than_patches_do(monkeypatch):
    """An image of one row: a product for each of its columns would take 12.6 MB."""
    monkeypatch.setattr(memory, "LARGE", np.inf)
    _, backward = ops.conv2d(np.ones((1, 16, 1, 514)), np.ones((64, 16, 1, 3)))
    peak, _, _ = extra_memory(lambda: backward(np.ones((1, 64, 1, 512))))
    assert peak < 2_000_000


def test_batch_norm_keeps_what_has_the_size_of_its_channels():
    x, w = np.ones((8, 8, 64, 64)), np.ones(8)
    _, kept, _ = extra_memory(lambda: ops.batch_norm(x, w, w)[:2])
    assert kept < 20_000


@pytest.mark.parametrize(
    "op", [ops.relu, ops.sigmoid, ops.gelu, lambda x: ops.max_pool2d(x, 2), ops.softmax]
)
def test_a_backward_pass_keeps_no_more_than_the_size_of_the_outputs(op):
    x = np.random.default_rng(0).standard_normal((8, 8, 64, 64)).astype(np.float32)
    _, kept, (y, _) = extra_memory(op, x)
    assert kept < 1.1 * y.nbytes


LARGE = [
    Drawn("conv2d", {"x": (16, 8, 20, 21), "w": (12, 8, 3, 3), "b": (12,)}, {"padding": 1}),
    Drawn(
        "conv2d",
        {"x": (48, 8, 40, 41), "w": (12, 4, 3, 2), "b": (12,)},
        {"stride": 2, "groups": 2},
    ),
    Drawn("conv2d", {"x": (24, 9, 40, 41), "w": (9, 1, 3, 2), "b": (9,)}, {"groups": 9}),
    Drawn("linear", {"x": (64, 300), "w": (200, 300), "b": (200,)}, {}),
    Drawn("avg_pool2d", {"x": (24, 8, 60, 61)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Drawn("max_pool2d", {"x": (24, 8, 60, 61)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Drawn("relu", {"x": (64, 10_000)}, {}),
    Drawn("batch_norm", {"x": (24, 5, 60, 61)} | CHANNELS, {}),
    Drawn("global_avg_pool2d", {"x": (64, 16, 25, 26)}, {}),
    Drawn("sigmoid", {"x": (64, 10_000)}, {}),
]
TRAINED = Drawn("batch_norm", {"x": (24, 5, 60, 61), "w": (5,), "b": (5,)}, {})


JOINS = [
    Drawn("add", {"a": (64, 10_000), "b": (64, 10_000)}, {}),
    Drawn("concat", {"x1": (64, 10_000), "x2": (64, 9_000)}, {"axis": 1}),
    Drawn("dropout", {"x": (64, 10_000)}, {"mask": np.full((64, 10_000), 4 / 3)}),
]


large_cases = pytest.mark.parametrize("case", LARGE, ids=lambda case: case.op)


@pytest.fixture
def many_parts(monkeypatch):
    """Parts so small that the work on these arrays is shared too."""
    monkeypatch.setattr(threads, "WORK_OF_A_PART", 10_000)


@pytest.mark.usefixtures("many_parts")
@large_cases
def test_a_large_batch_gives_what_its_images_give_one_by_one(case):
    """Values and dx image by image; dw and db are sums over the images."""
    rng = np.random.default_rng(0)
    x, *parameters = arrays(case, rng).values()
    y, backward = apply(case, x, *parameters)
    dy = upstream(y, rng)
    singles = [apply(case, x[n : n + 1], *parameters) for n in range(len(x))]
    assert_close(y, np.concatenate([single_y for single_y, _ in singles]))
    dx, *others = gradients(backward, dy)
    single_gradients = [gradients(singles[n][1], dy[n : n + 1]) for n in range(len(x))]
    single_dx, *single_others = zip(*single_gradients, strict=True)
    assert_close(dx, np.concatenate(single_dx))
    for gradient, summands in zip(others, single_others, strict=True):
        assert_close(gradient, np.sum(summands, axis=0))


@pytest.mark.usefixtures("restore_threads", "many_parts")
@pytest.mark.parametrize("case", [*LARGE, TRAINED, *JOINS], ids=lambda case: case.op)
def test_bits_do_not_depend_on_the_number_of_threads(case, monkeypatch):
    numbers_of_parts = []

    def run(work, over):
        numbers_of_parts.append(len(over))
        return run_parts(work, over)

    run_parts = threads.run
    monkeypatch.setattr(threads, "run", run)
    rng = np.random.default_rng(0)
    values = arrays(case, rng, np.float32).values()
    dy = upstream(apply(case, *values)[0], rng)
    results = []
    for number in (1, 2, 3):
        npkd.set_num_threads(number)
        y, backward = apply(case, *values)
        results.append(bits([y, *gradients(backward, dy)]))
    assert results[0] == results[1] == results[2]
    assert min(numbers_of_parts) > 2  # there was work to share, forward and backward


# What is refused


@every_op
@few_examples
@given(data=st.data(), wrong=st.sampled_from([np.int64, np.float16, np.bool_, np.object_]))
def test_other_dtypes_are_refused(op, data, wrong):
    case = data.draw(cases(op))
    values = [np.ones(shape, wrong) for shape in case.shapes.values()]
    name = next(iter(case.shapes))
    assert refusal(apply, case, *values).startswith(f"{op}: {name} is {np.dtype(wrong)}, expected")


@pytest.mark.parametrize("op", OF_SEVERAL)
@few_examples
@given(data=st.data())
def test_mixed_dtypes_are_refused(op, data):
    case = data.draw(cases(op).filter(lambda case: len(case.shapes) > 1))
    for odd in range(len(case.shapes)):
        values = [np.ones(shape) for shape in case.shapes.values()]
        values[odd] = values[odd].astype(np.float32)
        message = refusal(apply, case, *values)
        assert message.startswith(f"{op}: ")
        assert "float32" in message
        assert "float64" in message


@pytest.mark.parametrize("as_given", [np.ndarray.tolist, lambda array: None], ids=["list", "None"])
@every_op
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_what_is_no_array_is_refused(op, as_given, data, seed):
    case = data.draw(cases(op))
    x, *parameters = arrays(case, np.random.default_rng(seed)).values()
    name = next(iter(case.shapes))
    assert refusal(apply, case, as_given(x), *parameters).startswith(f"{op}: {name} ")
    y, backward = apply(case, x, *parameters)
    assert refusal(backward, as_given(y)).startswith(f"backward of {op}: dy ")


AXES = {
    **{
        (op, "x"): "(N, C, H, W)"
        for op in ("conv2d", "avg_pool2d", "max_pool2d", "upsample", "pixel_shuffle")
    },
    ("global_avg_pool2d", "x"): "(N, C, H, W)",
    ("conv2d", "w"): "(O, C/groups, kh, kw)",
    ("conv2d", "b"): "",
    ("linear", "x"): "(N, I)",
    ("linear", "w"): "(O, I)",
    ("linear", "b"): "",
    ("batch_norm", "x"): "(N, C) or (N, C, H, W)",
    **{("batch_norm", name): ",)" for name in ("w", "b", "mean", "variance")},
}


@pytest.mark.parametrize(("op", "name"), AXES)
@few_examples
@given(data=st.data())
def test_wrong_numbers_of_axes_are_refused(op, name, data):
    case = data.draw(cases(op).filter(lambda case: name in case.shapes))
    values = {key: np.ones(shape) for key, shape in case.shapes.items()}
    for wrong in (values[name][np.newaxis], values[name][0]):
        message = refusal(apply, case, *(values | {name: np.asarray(wrong)}).values())
        assert message.startswith(f"{op}: {name} has shape {np.shape(wrong)}, expected ")
        assert AXES[op, name] in message


@pytest.mark.parametrize("op", ["flatten", "softmax", "log_softmax"])
def test_an_array_of_no_axes_is_refused(op):
    assert refusal(getattr(ops, op), np.array(1.0)).startswith(f"{op}: ")


@every_op
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_dy_of_another_shape_or_dtype_is_refused(op, data, seed):
    case = data.draw(cases(op))
    y, backward = apply(case, *arrays(case, np.random.default_rng(seed)).values())
    for dy in (
        y[np.newaxis],
        y[1:],
        np.concatenate([y, y]),
        y.ravel()[:1],
        y.astype(np.float32),
        y.astype(np.int64),
    ):
        assert refusal(backward, dy).startswith(f"backward of {op}: dy is")
    x32 = (array.astype(np.float32) for array in arrays(case, np.random.default_rng(seed)).values())
    assert refusal(apply(case, *x32)[1], y).startswith(f"backward of {op}: dy is float64")


def test_dy_that_was_pickled_is_taken():
    y, backward = ops.relu(np.ones(3))
    dy = pickle.loads(pickle.dumps(y))  # its dtype equals y's, and is another object
    np.testing.assert_array_equal(backward(dy), y)


IMAGES = {"x": (2, 4, 5, 6)}
CONVOLUTION = IMAGES | {"w": (6, 4, 3, 3)}
REFUSED = [
    *(
        Drawn("conv2d", CONVOLUTION, {name: value})
        for name in ("stride", "dilation")
        for value in (0, -1, (1, 0), 1.5, True, "1", None, (1, 1, 1), (0,), ())
    ),
    *(
        Drawn("conv2d", CONVOLUTION, {"padding": p})
        for p in (-1, (0, -1), 0.5, "full", "symmetric", "zeros", None)
    ),
    Drawn("conv2d", CONVOLUTION, {"padding": "same", "stride": 2}),
    Drawn("conv2d", CONVOLUTION, {"padding": "same", "stride": (1, 2)}),
    *(Drawn("conv2d", CONVOLUTION, {"groups": g}) for g in (0, -1, 2, 3, 1.0)),
    Drawn("conv2d", IMAGES | {"w": (3, 2, 1, 1)}, {"groups": 2}),  # 3 outputs in 2 groups
    Drawn("conv2d", CONVOLUTION, {"dilation": (3, 1)}),  # reaches over 7 of 5 rows
    Drawn("conv2d", IMAGES | {"w": (6, 4, 1, 7)}, {}),
    Drawn("conv2d", IMAGES | {"w": (6, 4, 0, 3)}, {}),
    Drawn("conv2d", IMAGES | {"w": (6, 3, 3, 3)}, {}),
    Drawn("conv2d", CONVOLUTION | {"b": (4,)}, {}),
    *(
        Drawn(op, IMAGES, {"kernel_size": 3, **options})
        for op in ("avg_pool2d", "max_pool2d")
        for options in (
            *({"kernel_size": value} for value in (0, -1, 2.0, (2, 0), "2", None)),
            *({"stride": value} for value in (0, -1, 1.5, (1, 0), (1, 1.5))),
            *({"padding": value} for value in (-1, 2, (0, 2), 0.5, "same")),
            {"kernel_size": 6},
            {"kernel_size": (1, 7)},
            {"kernel_size": 0, "stride": 1},
        )
    ),
    *(
        Drawn(op, {"x": shape}, {"kernel_size": 2, "padding": 1})  # windows, but no cells
        for op in ("avg_pool2d", "max_pool2d")
        for shape in ((2, 3, 0, 4), (2, 3, 4, 0))
    ),
    *(Drawn("avg_pool2d", IMAGES, {"kernel_size": 2, "divisor_override": d}) for d in (0, 1.5)),
    *(Drawn("max_pool2d", IMAGES, {"kernel_size": 2, "dilation": d}) for d in (0, -1, (1, 6), 0.5)),
    Drawn("max_pool2d", IMAGES, {"kernel_size": 2, "padding": 1, "dilation": (6, 1)}),  # −1 and 5
    Drawn("max_pool2d", IMAGES, {"kernel_size": 2, "padding": 1, "dilation": (1, 7)}),  # −1 and 6
    Drawn("linear", {"x": (2, 3), "w": (4, 5)}, {}),
    Drawn("linear", {"x": (2, 5), "w": (4, 3)}, {}),
    Drawn("linear", {"x": (2, 3), "w": (4, 3), "b": (3,)}, {}),
    *(Drawn("upsample", IMAGES, {"factor": f}) for f in (0, -1, 2.0, 1.5, True, (2, 2), None)),
    *(Drawn("upsample", IMAGES, {"factor": 2, "mode": m}) for m in ("bicubic", "", None)),
    *(
        Drawn("upsample", {"x": shape}, {"factor": 2, "mode": "bilinear"})
        for shape in ((2, 3, 0, 4), (2, 3, 4, 0))
    ),
    *(Drawn("pixel_shuffle", IMAGES, {"factor": f}) for f in (0, -1, 2.0, 3, (2, 2), None)),
    Drawn("pixel_shuffle", {"x": (2, 6, 5, 6)}, {"factor": 2}),  # 6 channels, even but not 4 n
    *(
        Drawn(op, IMAGES, {"axis": axis})
        for op in ("softmax", "log_softmax")
        for axis in (4, 5, -5, 1.0, None)
    ),
    *(Drawn("batch_norm", IMAGES, {"epsilon": e}) for e in (-1e-5, NAN, INF, None, True, "1e-5")),
    Drawn("batch_norm", IMAGES | CHANNELS, {}),
    *(Drawn("batch_norm", {"x": shape}, {}) for shape in ((1, 4), (0, 4), (1, 4, 1, 1), (2, 0, 0))),
    Drawn("batch_norm", IMAGES | {"w": (4,), "b": (4,), "mean": (4,)}, {}),
    *(Drawn("gelu", IMAGES, {"approximate": a}) for a in ("erf", "", None, 1, ["tanh"])),
    *(Drawn("global_avg_pool2d", {"x": shape}, {}) for shape in ((2, 3, 0, 4), (2, 3, 4, 0))),
    *(
        Drawn("dropout", IMAGES, {"mask": mask})
        for mask in (np.ones((2, 4, 5)), np.ones((2, 4, 5, 6), bool), 2.0, None)
    ),
    *(Drawn("add", {"a": (2, 4), "b": shape}, {}) for shape in ((4,), (1, 4), (2, 4, 1), (4, 2))),
    *(
        Drawn("concat", {"x1": (2, 4), "x2": shape}, {"axis": 1})
        for shape in ((3, 4), (2,), (2, 4, 1))
    ),
    *(Drawn("concat", {"x1": (2, 4), "x2": (2, 4)}, {"axis": a}) for a in (2, -3, 1.0, None)),
    Drawn("concat", {}, {}),
    Drawn("concat", {"x1": ()}, {"axis": 0}),
]


@pytest.mark.parametrize(
    "case", REFUSED, ids=lambda case: f"{case.op} {[*case.shapes.values()][1:]} {case.options}"
)
def test_arguments_out_of_range_are_refused(case):
    values = arrays(case, np.random.default_rng(0)).values()
    assert refusal(apply, case, *values).startswith(f"{case.op}: ")


@pytest.mark.parametrize(
    ("op", "argument"),
    [
        *(("conv2d", argument) for argument in ("stride", "padding", "dilation", "groups")),
        *(("avg_pool2d", argument) for argument in ("kernel_size", "stride", "padding")),
        *(
            ("max_pool2d", argument)
            for argument in ("kernel_size", "stride", "padding", "dilation")
        ),
        ("avg_pool2d", "divisor_override"),
        ("upsample", "factor"),
        ("upsample", "mode"),
        ("pixel_shuffle", "factor"),
        ("softmax", "axis"),
        ("log_softmax", "axis"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(op, argument):
    shapes = CONVOLUTION if op == "conv2d" else IMAGES
    needed = {"kernel_size": 2} if "pool" in op else {"factor": 2} if "upsample" in op else {}
    case = Drawn(op, shapes, needed | {argument: 0.5})
    values = arrays(case, np.random.default_rng(0)).values()
    assert refusal(apply, case, *values).startswith(f"{op}: {argument} is 0.5, expected ")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            Drawn("conv2d", IMAGES | {"w": (6, 3, 2, 2)}, {"groups": 2}),
            "conv2d: x has 4 channels and w is (6, 3, 2, 2) with groups=2, "
            "expected w of (a multiple of 2, 4/2, kh, kw)",
        ),
        (
            Drawn("conv2d", IMAGES | {"w": (6, 4, 9, 2)}, {"padding": (1, 0)}),
            "conv2d: a kernel of (9, 2) with dilation (1, 1) does not fit into images of (5, 6) "
            "padded by (1, 0) and (1, 0)",
        ),
        (
            Drawn("conv2d", CONVOLUTION | {"b": (4,)}, {}),
            "conv2d: b has shape (4,), expected (6,) as w is (6, 4, 3, 3)",
        ),
        (
            Drawn("avg_pool2d", IMAGES, {"kernel_size": 8, "padding": 1}),
            "avg_pool2d: a window of 8 with dilation 1 does not fit into images of (5, 6) "
            "padded by 1",
        ),
        (
            Drawn("max_pool2d", IMAGES, {"kernel_size": 2, "padding": 1, "dilation": (6, 1)}),
            "max_pool2d: a window of 2 with dilation (6, 1) and padding 1 holds no cell of images "
            "of (5, 6)",
        ),
        (
            Drawn("linear", {"x": (2, 5), "w": (4, 3)}, {}),
            "linear: x has 5 features but w is (4, 3) and takes 3",
        ),
        (Drawn("flatten", {"x": ()}, {}), "flatten: x has no axes, expected (N, …)"),
        (
            Drawn("upsample", {"x": (2, 3, 4, 0)}, {"factor": 2, "mode": "bilinear"}),
            "upsample: x of shape (2, 3, 4, 0) has no cells to interpolate",
        ),
        (
            Drawn("pixel_shuffle", {"x": (2, 6, 5, 6)}, {"factor": 2}),
            "pixel_shuffle: x has 6 channels, expected a multiple of 2²",
        ),
        (
            Drawn("batch_norm", IMAGES | {"w": (4,), "b": (4,), "mean": (4,)}, {}),
            "batch_norm: mean is given without variance, expected both or neither",
        ),
        (
            Drawn("batch_norm", {"x": (1, 4, 1, 1)}, {}),
            "batch_norm: x of shape (1, 4, 1, 1) has 1 in a channel, expected 2 numbers or more "
            "(or mean and variance)",
        ),
        (
            Drawn("gelu", IMAGES, {"approximate": "erf"}),
            "gelu: approximate is 'erf', expected 'none' or 'tanh'",
        ),
        (
            Drawn("dropout", {"x": (2, 3)}, {"mask": np.ones((2, 3), bool)}),
            "dropout: mask is bool, expected floats, 0 or 1 / (1 − p)",
        ),
        (
            Drawn("dropout", {"x": (2, 3)}, {"mask": np.ones(3)}),
            "dropout: mask has shape (3,), expected x's (2, 3)",
        ),
        (
            Drawn("add", {"a": (2, 3), "b": (3,)}, {}),
            "add: a has shape (2, 3) and b (3,), expected the same",
        ),
        (
            Drawn("concat", {"x1": (2, 3), "x2": (3, 3)}, {}),
            "concat: x1 has shape (2, 3) and x2 (3, 3), expected the same but for axis 1",
        ),
        (Drawn("concat", {}, {}), "concat: no arrays are given, expected one or more"),
        (
            Drawn("global_avg_pool2d", {"x": (2, 3, 0, 4)}, {}),
            "global_avg_pool2d: x has shape (2, 3, 0, 4), expected images of some cells",
        ),
    ],
    ids=lambda value: value.op if isinstance(value, Drawn) else "",
)
def test_what_was_given_and_what_was_expected_is_said(case, message):
    values = arrays(case, np.random.default_rng(0)).values()
    assert refusal(apply, case, *values) == message


def test_float_dtypes_are_offered_by_name():
    message = "relu: x is int64, expected one of float32, float64, complex64, complex128"
    assert refusal(ops.relu, np.arange(3)) == message


# Errors of floating point


@every_op
@few_examples
@given(data=st.data(), seed=SEEDS, size=st.sampled_from([1e-44, 1e-38, 1e-30, 1e-22, 1.0, 1e3]))
def test_underflow_is_rounding_even_where_it_should_raise(op, data, seed, size):
    """Products of small numbers, and the exponentials of logits that lie far apart."""
    case = data.draw(cases(op))
    rng = np.random.default_rng(seed)
    values = [array * np.float32(size) for array in arrays(case, rng, np.float32).values()]
    dy = upstream(apply(case, *values)[0], rng) * np.float32(min(size, 1))
    results = []
    for under in ("ignore", "raise"):
        with np.errstate(all="raise", under=under):
            y, backward = apply(case, *values)
            results.append(bits([y, *gradients(backward, dy)]))
    assert results[0] == results[1]


# Conventions


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_along_an_axis_of_no_entries_has_none(op):
    for shape, axis in (((0, 3), 0), ((2, 0), 1)):
        x = np.empty(shape)
        with np.errstate(all="raise"):
            y, backward = getattr(ops, op)(x, axis=axis)
        assert y.shape == backward(x).shape == shape


def sizes_in_sequences_of_one(case: Drawn, kind: type) -> Drawn:
    """The same case, with each size that is one int given as a sequence of one."""
    sizes = case.options.keys() & {"kernel_size", "stride", "padding", "dilation"}
    return replace(
        case,
        options={
            name: kind([value]) if name in sizes and isinstance(value, int) else value
            for name, value in case.options.items()
        },
    )


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("op", ["conv2d", "avg_pool2d", "max_pool2d"])
@few_examples
@given(data=st.data(), seed=SEEDS)
def test_a_size_in_a_sequence_of_one_is_that_size(op, kind, data, seed):
    given_plainly = data.draw(cases(op))
    case = sizes_in_sequences_of_one(given_plainly, kind)
    rng = np.random.default_rng(seed)
    values = arrays(case, rng).values()
    (y, backward), (expected, expected_backward) = (
        apply(one, *values) for one in (case, given_plainly)
    )
    assert_close(y, define(case, *values))
    dy = upstream(y, rng)
    assert bits([y, *gradients(backward, dy)]) == bits(
        [expected, *gradients(expected_backward, dy)]
    )


pools = pytest.mark.parametrize("op", [ops.avg_pool2d, ops.max_pool2d])


@pools
@pytest.mark.parametrize("stride", [(), []])
def test_a_pools_stride_of_no_ints_is_its_window(op, stride):
    x, rng = np.random.default_rng(0).standard_normal((2, 3, 7, 8)), np.random.default_rng(1)
    (y, backward), (expected, expected_backward) = (
        op(x, (3, 2), stride=one, padding=1) for one in (stride, None)
    )
    dy = upstream(y, rng)
    assert bits([y, backward(dy)]) == bits([expected, expected_backward(dy)])


@pytest.mark.parametrize("wrong", [(), (1, 1, 1), [1, 1, 1, 1], (True,), (1.0,), (0.5,), (-1,)])
def test_sizes_of_other_numbers_of_ints_or_of_no_ints_are_refused(wrong):
    x, w = np.ones((2, 3, 7, 8)), np.ones((4, 3, 2, 2))
    for name in ("stride", "padding", "dilation"):
        assert f"conv2d: {name} is {wrong}, expected" in refusal(ops.conv2d, x, w, **{name: wrong})
    for op in (ops.avg_pool2d, ops.max_pool2d):
        assert "kernel_size is" in refusal(op, x, wrong)
        assert "padding is" in refusal(op, x, 2, padding=wrong)
        if wrong:
            assert "stride is" in refusal(op, x, 2, stride=wrong)
    assert "dilation is" in refusal(ops.max_pool2d, x, 2, dilation=wrong)


@pools
@pytest.mark.parametrize("kernel_size", range(1, 9))
def test_pool_padding_goes_up_to_half_the_window(op, kernel_size):
    x, half = np.ones((1, 1, 8, 9)), kernel_size // 2
    assert op(x, kernel_size, stride=1, padding=half)[0].shape[2] == 9 + 2 * half - kernel_size
    assert "at most half of the window" in refusal(op, x, kernel_size, padding=half + 1)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (lambda x: ops.avg_pool2d(x, 2), (2, 0, 2, 3)),
        (lambda x: ops.max_pool2d(x, 2), (2, 0, 2, 3)),
        (lambda x: ops.upsample(x, 2, mode="bilinear"), (2, 0, 8, 12)),
    ],
)
def test_images_of_no_channels_give_none(op, shape):
    y, backward = op(np.ones((2, 0, 4, 6)))
    assert y.shape == shape
    assert backward(y).shape == (2, 0, 4, 6)


@pytest.mark.parametrize("known", [(), (np.ones(0), np.ones(0))])
def test_batch_norm_of_no_channels_gives_none(known):
    y, backward, *_ = ops.batch_norm(np.ones((2, 0, 4, 6)), np.ones(0), np.ones(0), *known)
    assert y.shape == (2, 0, 4, 6)
    dx, *others = backward(y)
    assert dx.shape == (2, 0, 4, 6)
    assert [gradient.shape for gradient in others] == [(0,)] * (2 + len(known))


def test_a_negative_divisor_turns_the_sign():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y, backward = ops.avg_pool2d(x, 2, divisor_override=-2)
    of_2, backward_of_2 = ops.avg_pool2d(x, 2, divisor_override=2)
    np.testing.assert_array_equal(y, -of_2)
    np.testing.assert_array_equal(backward(y), backward_of_2(-y))


@pytest.mark.parametrize("options", [{}, {"divisor_override": 9}])
def test_avg_pool2d_divides_in_the_precision_of_its_images(options):
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 8)).astype(np.float32)
    y, backward = ops.avg_pool2d(x, 3, stride=1, **options)
    sums, backward_of_sums = ops.avg_pool2d(x, 3, stride=1, divisor_override=1)
    np.testing.assert_array_equal(y, sums / np.float32(9))
    np.testing.assert_array_equal(backward(y), backward_of_sums(y / np.float32(9)))


def test_relu_has_slope_zero_at_zero():
    y, backward = ops.relu(np.array([-1.0, -0.0, 0.0, 1e-300, 2.0]))
    np.testing.assert_array_equal(y, [0, 0, 0, 1e-300, 2])
    np.testing.assert_array_equal(backward(np.full(5, 3.0)), [0, 0, 0, 3, 3])


def test_relu_decides_by_the_real_part():
    y, backward = ops.relu(np.array([-1 + 2j, 2j, 1 - 2j]))
    np.testing.assert_array_equal(y, [0, 0, 1 - 2j])
    np.testing.assert_array_equal(backward(np.full(3, 1 + 1j)), [0, 0, 1 + 1j])


def test_relu_shows_nan_and_infinity_on_the_way_back():
    _, backward = ops.relu(np.array([NAN, -1.0, -1.0, 1.0]))
    np.testing.assert_array_equal(backward(np.array([3.0, NAN, INF, INF])), [3, NAN, NAN, INF])


def test_max_pool2d_gives_ties_to_the_first_cell_in_row_major_order():
    x = image([[1.0, 3.0, 0.0, 0.0], [3.0, 2.0, 0.0, 0.0]])
    y, backward = ops.max_pool2d(x, 2)
    np.testing.assert_array_equal(y, image([[3.0, 0.0]]))
    dx = backward(image([[5.0, 7.0]]))
    np.testing.assert_array_equal(dx, image([[0.0, 5.0, 7.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))


def test_max_pool2d_decides_by_the_real_part():
    y, backward = ops.max_pool2d(image([[1 + 5j, 2 - 9j], [2 + 7j, 0 + 8j]]), 2)
    assert y == 2 - 9j
    np.testing.assert_array_equal(backward(image([[3 + 1j]])), image([[0, 3 + 1j], [0, 0]]))


def test_max_pool2d_takes_the_first_cell_of_a_window_of_minus_infinity():
    y, backward = ops.max_pool2d(image([[1.0, -INF, -INF]]), (1, 2), stride=1)
    np.testing.assert_array_equal(y, image([[1.0, -INF]]))
    np.testing.assert_array_equal(backward(image([[3.0, 5.0]])), image([[3.0, 5.0, 0.0]]))


def test_max_pool2d_takes_a_cell_and_no_padding_where_all_are_minus_infinity():
    y, backward = ops.max_pool2d(np.full((1, 1, 2, 2), -INF), 3, stride=1, padding=1)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -INF))
    dx = backward(image([[1.0, 2.0], [4.0, 8.0]]))
    np.testing.assert_array_equal(dx, image([[15.0, 0.0], [0.0, 0.0]]))


def test_max_pool2d_never_chooses_padding():
    y, backward = ops.max_pool2d(image([[-1.0, -2.0]]), (1, 2), stride=1, padding=(0, 1))
    np.testing.assert_array_equal(y, image([[-1.0, -1.0, -2.0]]))
    np.testing.assert_array_equal(backward(image([[1.0, 2.0, 4.0]])), image([[3.0, 4.0]]))


def test_max_pool2d_takes_the_last_nan_of_a_window():
    y, backward = ops.max_pool2d(image([[NAN, 1.0], [NAN, INF]]), 2)
    np.testing.assert_array_equal(y, image([[NAN]]))
    np.testing.assert_array_equal(backward(image([[3.0]])), image([[0.0, 0.0], [3.0, 0.0]]))


def test_conv2d_same_puts_the_odd_cell_at_the_bottom_and_right():
    x, w = image([[1.0, 2.0], [3.0, 4.0]]), np.ones((1, 1, 2, 2))
    y, backward = ops.conv2d(x, w, padding="same")
    np.testing.assert_array_equal(y, image([[10.0, 6.0], [7.0, 4.0]]))
    dx, dw, _ = backward(image([[1.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(dx, np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(dw, x)


def test_upsample_of_an_edge_repeats_it():
    y, backward = ops.upsample(image([[0.0, 8.0]]), 2, "bilinear")
    np.testing.assert_array_equal(y, image([[0.0, 2.0, 6.0, 8.0]] * 2))
    dx = backward(image([[1.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(dx, image([[4.0, 1.0]]))
