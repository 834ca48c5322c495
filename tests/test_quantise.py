"""Nets in eight bits: integer operations are their definitions and ONNX Runtime's to the bit."""

import json
import shutil

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from npkd import (
    Predictor,
    SmallCNN,
    cli,
    definitions,
    gradcheck,
    losses,
    nets,
    objectives,
    optim,
    quantise,
    training,
    zoo,
)
from npkd import ops as textbook
from npkd.distill import command as distill_command
from npkd.distill.report import contents, eight_bits, finished, page
from npkd.export import speed
from npkd.quantise import files, ops
from npkd.quantise.loop import InTheLoop, departure
from npkd.quantise.network import Quantised, steps_of
from npkd.quantise.ops import Scale


def scales(least=1e-3, most=1e3):
    return st.floats(np.float32(least), np.float32(most), width=32).map(np.float32)


@st.composite
def convolutions(draw):
    """Arguments of a convolution: images and kernels of any integers, and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = draw(st.sampled_from([1, 1, 2]))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    image = [draw(st.integers(k, 5)) for k in kernel]
    x = rng.integers(0, 256, (2, inputs, *image), np.uint8)
    w = rng.integers(-127, 128, (outputs, inputs // groups, *kernel)).astype(np.int8)
    b = rng.integers(-(2**17), 2**17, outputs).astype(np.int32) if draw(st.booleans()) else None
    options = {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, 1))}
    zero_point = draw(st.sampled_from([0, 128, 255, 7]))
    x_of = Scale(draw(scales(0.01, 1)), zero_point)
    w_scale = rng.uniform(0.001, 0.1, outputs).astype(np.float32)
    y_of = Scale(draw(scales(0.01, 100)), draw(st.sampled_from([0, 128, 3])))
    return (x, x_of, w, w_scale, y_of, b), options | {"groups": groups}


def defined(x, x_of, w, w_scale, y_of, b, **options):
    return definitions.qlinear_conv(x, *x_of, w, w_scale, *y_of, b, **options)


@settings(deadline=None)
@given(convolutions())
def test_a_convolution_of_integers_is_its_definition_to_the_bit(case):
    arguments, options = case
    found = ops.qlinear_conv(*arguments, **options)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, defined(*arguments, **options))


@settings(deadline=None)
@given(st.integers(0, 2**32), scales(), st.integers(0, 255))
def test_numbers_become_integers_and_numbers_again(seed, scale, zero_point):
    rng, of = np.random.default_rng(seed), Scale(scale, zero_point)
    x = (scale * rng.integers(-300, 300, 20) / 2).astype(np.float32)  # many of them between two
    q = ops.quantize_linear(x, of)
    np.testing.assert_array_equal(q, definitions.quantize_linear(x, *of))
    again = ops.dequantize_linear(q, of)
    np.testing.assert_array_equal(again, definitions.dequantize_linear(q, *of))
    held = (q > 0) & (q < 255)
    assert np.all(abs(again - x)[held] <= scale / 2 * (1 + 1e-4))


@pytest.mark.parametrize("inputs", [518, 519, 1037, 4000])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_any_length_are_exact(inputs, sign, monkeypatch):
    """Of the largest numbers, and with one that a float32 beside them would lose."""
    x = np.full((1, inputs, 1, 1), 255, np.uint8)
    w = np.full((2, inputs, 1, 1), 127, np.int8)
    w[1], x[0, -1] = -127, 1
    total = 127 * (255 * (inputs - 1) + 1)
    y_of = Scale(np.float32(max(1, total // 100)), 128)
    b = np.array([sign, -sign], np.int32)
    one = Scale(np.float32(1))
    arguments = (x, one, w, np.float32([1, 1]), y_of, b)
    np.testing.assert_array_equal(ops.qlinear_conv(*arguments), defined(*arguments))
    product = ops.Product(one, w, np.float32([1, 1]), one, b, stride=1, padding=0, groups=1)
    monkeypatch.setattr(ops, "_hold", lambda a, zero_point: a)  # sums as they are
    np.testing.assert_array_equal(product(x).ravel(), np.float32([total + sign, -total - sign]))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1)])
def test_a_large_bias_is_rounded_with_its_sum_and_not_before(monkeypatch, shape):
    """2²⁵ + 3 is 2²⁵ + 4 in float32, and 2²⁵ + 2 is 2²⁵."""
    x, w, b = np.ones(shape, np.uint8), np.full(shape, -1, np.int8), np.array([2**25 + 3], np.int32)
    one = Scale(np.float32(1))
    product = ops.Product(one, w, np.float32([1]), one, b)
    monkeypatch.setattr(ops, "_hold", lambda a, zero_point: a)
    assert product(x).ravel().tolist() == [2**25]


def test_a_linear_layer_is_a_convolution_of_single_cells():
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (5, 700), np.uint8), rng.integers(-127, 128, (3, 700))
    w, b = w.astype(np.int8), np.array([5, -5, 0], np.int32)
    of = Scale(np.float32(0.02), 9), w, np.float32([0.01, 0.02, 0.03]), Scale(np.float32(3.0), 100)
    images = x[:, :, None, None], of[0], w[:, :, None, None], *of[2:]
    np.testing.assert_array_equal(ops.qlinear(x, *of, b), defined(*images, b)[:, :, 0, 0])


def test_halves_go_to_the_even_neighbour_and_what_is_too_large_is_held():
    half = Scale(np.float32(2.0))
    x = np.arange(8, dtype=np.float32)
    assert ops.quantize_linear(x, half).tolist() == [0, 0, 1, 2, 2, 2, 3, 4]
    assert ops.quantize_linear(np.float32([-1, 600]), half).tolist() == [0, 255]


@settings(deadline=None)
@given(scales(1e-20, 1e20), st.integers(1, 8), st.integers(0, 2**32))
def test_sums_of_numbers_of_a_rounded_scale_are_the_same_in_any_order(scale, bits, seed):
    wider = Scale(scale).rounded_up(bits)
    assert scale <= wider.scale <= scale * np.float32(1 + 2.0 ** (1 - bits))
    q = np.random.default_rng(seed).integers(0, 256, 2 ** (16 - bits), np.uint8)
    x = ops.dequantize_linear(q, wider)
    forwards, backwards = (
        np.cumsum(x, dtype=np.float32)[-1],
        np.cumsum(x[::-1], dtype=np.float32)[-1],
    )
    assert forwards == backwards == wider.scale.astype(float) * q.sum(dtype=int)


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (0, 5.1, (0.02, 0)),
        (-1.27, 1, (0.01, 128)),
        (-1, 2.54, (0.02, 128)),
        (0, 0, (1e-30 / 255, 0)),
    ],
)
def test_a_scale_covers_its_range(least, most, expected):
    assert Scale.of(least, most) == (np.float32(expected[0]), expected[1])


def test_other_dtypes_and_sums_that_leave_int32_are_refused():
    x, w, one = (
        np.ones((1, 1, 1, 1), np.uint8),
        np.ones((1, 1, 1, 1), np.int8),
        Scale(np.float32(1)),
    )
    with pytest.raises(ValueError, match="x is float32, expected uint8"):
        ops.qlinear_conv(x.astype(np.float32), one, w, np.ones(1), one)
    with pytest.raises(ValueError, match="b is int64, expected int32"):
        ops.qlinear_conv(x, one, w, np.ones(1), one, np.ones(1, np.int64))
    b = np.array([2**31 - 1], np.int32)
    with pytest.raises(ValueError, match="may leave the range of int32"):
        ops.qlinear_conv(x, one, w, np.ones(1), one, b)


def onnx_of(arguments, options):
    """The same convolution as a graph of ONNX, and what ONNX Runtime makes of it."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    x, x_of, w, w_scale, y_of, b = arguments
    (s, p), make = (options["stride"], options["padding"]), onnx.helper
    constants = {
        **{"xs": x_of.scale, "xz": np.uint8(x_of.zero_point), "w": w, "ws": w_scale},
        **{"wz": np.zeros(len(w), np.int8), "ys": y_of.scale, "yz": np.uint8(y_of.zero_point)},
        **({} if b is None else {"b": b}),
    }
    node = make.make_node(
        "QLinearConv",
        ["x", *constants],
        ["y"],
        strides=[s, s],
        pads=[p] * 4,
        group=options["groups"],
    )
    kind = onnx.TensorProto.UINT8
    graph = make.make_graph(
        [node],
        "one",
        [make.make_tensor_value_info("x", kind, x.shape)],
        [make.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    opsets = [make.make_opsetid("", 13)]
    model = make.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@settings(deadline=None, max_examples=30)
@given(convolutions())
def test_onnx_runtime_gives_the_same_bits(case):
    """With weights up to ± 63: on some processors products of larger ones are held at 16 bits."""
    (x, x_of, w, *others), options = case
    arguments = (x, x_of, (w // 2).astype(np.int8), *others)
    np.testing.assert_array_equal(
        ops.qlinear_conv(*arguments, **options), onnx_of(arguments, options)
    )


# Whole nets


@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_a_net_in_eight_bits_is_near_the_net_and_its_steps_are_their_definitions(name):
    rng = np.random.default_rng(0)
    size = 32 if name == "vgg8" else 16
    net = zoo.make(name, rng, num_classes=5, image_size=size)
    for key, theta in net.state_dict().items():
        if "running_var" in key:
            theta[...] = rng.uniform(0.5, 1.5, theta.shape)
    x = rng.normal(size=(6, 3, size, size)).astype(np.float32)
    quantised = Quantised.of(net, x)
    y, _ = net(x)
    found = quantised(x)
    assert found.dtype == y.dtype
    assert found.shape == y.shape
    error = np.sqrt(np.mean((found - y) ** 2)) / np.std(y)
    assert error < 0.2, error
    layers = [name for step in quantised.steps for name in step.layers]
    assert layers == list(net.layers) or sorted(layers) == sorted(net.layers)


def test_the_documents_net_is_seven_steps():
    net = SmallCNN(0)
    steps = steps_of(net)
    assert [(step.kind, step.layers) for step in steps] == [
        ("conv", ("conv1", "relu1")),
        ("conv", ("conv2", "relu2")),
        ("float", ("pool",)),
        ("same", ("flatten",)),
        ("linear", ("fc1", "relu3")),
        ("linear", ("fc2",)),
    ]


def test_a_shared_output_is_not_taken_into_what_follows():
    steps = {step.name: step for step in steps_of(zoo.resnet8(0))}
    assert steps["relu"].layers == ("conv1", "bn1", "relu")
    assert steps["layer1.0"].layers == ("layer1.0.add", "layer1.0")
    assert steps["layer1.0.bn2"].kind == "conv"
    assert steps["layer1.0"].takes == ("layer1.0.bn2", "relu")


def test_calibration_refuses_what_it_cannot_use():
    net, x = SmallCNN(0), np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(ValueError, match="there are no images"):
        Quantised.of(net, x[:0])
    with pytest.raises(ValueError, match="most_weight is 128, expected 1 to 127"):
        Quantised.of(net, x, 128)
    net.params["fc2.bias"][0] = np.nan
    with pytest.raises(ValueError, match="the outputs of 'fc2' are not finite"):
        Quantised.of(net, x)


def test_what_may_have_either_sign_keeps_it_though_calibration_saw_one():
    net = SmallCNN(0)
    x = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    net.params["fc2.bias"][...] += 5
    quantised = Quantised.of(net, x)
    assert (net(x)[0] > 0).all()
    assert quantised.scales["fc2"].zero_point == 128
    assert quantised.scales["pool"].zero_point == quantised.scales["relu3"].zero_point == 0
    net.params["fc2.bias"][...] = 0
    zeros = Quantised.of(net, np.zeros_like(x))
    assert zeros.scales["fc2"].zero_point == 128


def test_numbers_that_are_all_0_stay_so():
    net = SmallCNN(0)
    for theta in net.params.values():
        theta[...] = 0
    net.params["fc2.bias"][...] = 3
    x = np.zeros((2, 3, 16, 16), np.float32)
    np.testing.assert_allclose(Quantised.of(net, x)(x), 3, rtol=1e-2)


# What it costs


@pytest.mark.parametrize("name", ["small", "resnet8", "wrn_16_1"])
def test_the_cost_is_estimated_to_first_order(name):
    """Exactly so for a net whose errors are small: with the same errors made a thousandth."""
    rng = np.random.default_rng(0)
    net = zoo.make(name, rng, num_classes=4, image_size=16)
    x = rng.normal(size=(40, 3, 16, 16)).astype(np.float32)
    quantised = Quantised.of(net, x)
    found = quantise.cost(quantised, x)
    np.testing.assert_array_equal(found.found, quantised(x))
    np.testing.assert_array_equal(found.changed, net(x)[0].argmax(1) != quantised(x).argmax(1))
    names = {step.name for step in quantised.steps} | {"x"}
    assert found.shares.keys() == names
    moved = found.found - found.y
    apart = np.sqrt(np.mean((moved - found.estimate) ** 2) / np.mean(moved**2))
    assert apart < 0.5, apart
    flat = [step.name for step in quantised.steps if step.kind == "same"]
    assert all(not found.shares[one].any() for one in flat)


def test_the_estimate_is_exact_where_nothing_is_bent():
    """Without a kink, and with exact weights, outputs are the sum of what each step does."""
    layers = {
        "conv": nets.Conv2d(2, 3, 3, padding=1),
        "flatten": nets.Function(textbook.flatten),
        "fc": nets.Linear(48, 3),
    }
    net = nets.Network(layers, (2, 4, 4), 0)
    for name, theta in net.params.items():
        theta[...] = np.rint(8 * theta / abs(theta).max()) / 8 if "weight" in name else 0
        if "weight" in name:
            theta.reshape(len(theta), -1)[:, 0] = 127 / 128
            theta[...] = np.rint(theta * 128) / 128
    x = np.random.default_rng(1).normal(size=(9, 2, 4, 4)).astype(np.float32)
    found = quantise.cost(Quantised.of(net, x), x)
    np.testing.assert_allclose(found.estimate, found.found - found.y, rtol=0, atol=2e-5)


def steps_by_name(layers, shape, rng=0):
    net = nets.Network(layers, shape, rng)
    x = np.random.default_rng(1).normal(size=(6, *shape)).astype(np.float32)
    quantised = Quantised.of(net, x)
    return {step.name: step for step in quantised.steps}, quantised, x


def test_a_dropout_does_nothing_and_is_no_step():
    layers = {
        "conv": nets.Conv2d(1, 2, 3),
        "drop": nets.Dropout(0.5),
        "relu": nets.Function(textbook.relu),
        "again": nets.Dropout(0.5),
        "mean": nets.Function(textbook.global_avg_pool2d),
        "flat": nets.Function(textbook.flatten),
        "fc": nets.Linear(2, 3),
    }
    steps, quantised, _ = steps_by_name(layers, (1, 6, 6))
    assert list(steps) == ["again", "mean", "flat", "fc"]
    assert steps["again"].kind == "conv"
    assert quantised.scales["again"].zero_point == 0


@pytest.mark.parametrize("ndim", [4, 2])
def test_a_batch_norm_is_integers_wherever_it_stands(ndim):
    layers = {"bn": nets.BatchNorm(2), "relu": nets.Function(textbook.relu)}
    layers |= {"flat": nets.Function(textbook.flatten), "fc": nets.Linear(50, 3)}
    layers["norm"] = nets.BatchNorm(3)
    if ndim == 2:
        layers.pop("bn")
    steps, quantised, x = steps_by_name(layers, (2, 5, 5))
    assert steps["norm"].layers == ("fc", "norm")
    assert all(step.kind != "float" for step in steps.values() if step.layers[0] != "relu")
    net = quantised.network
    np.testing.assert_allclose(quantised(x), net(x)[0], atol=0.06 * abs(net(x)[0]).max())


def test_what_only_moves_numbers_has_one_scale():
    layers = {
        "a": nets.Conv2d(1, 2, 1, takes="x"),
        "relu": nets.Function(textbook.relu),
        "b": nets.Conv2d(1, 2, 1, takes="x"),
        "both": nets.Concat("relu", "b"),
        "pool": nets.Function(textbook.max_pool2d, 2),
    }
    _, quantised, _ = steps_by_name(layers, (1, 4, 4))
    assert len({quantised.scales[name] for name in ("relu", "b", "both", "pool")}) == 1


def test_scales_of_sums_are_powers_of_two_and_what_is_never_negative_begins_at_0():
    layers = {
        "a": nets.Conv2d(1, 2, 1, takes="x"),
        "relu": nets.Function(textbook.relu),
        "b": nets.Conv2d(1, 2, 1, takes="x"),
        "other": nets.Function(textbook.relu),
        "sum": nets.Add("relu", "other"),
        "mean": nets.Function(textbook.avg_pool2d, 2),
        "sigmoid": nets.Function(textbook.sigmoid),
    }
    _, quantised, _ = steps_by_name(layers, (1, 4, 4))
    for name in ("relu", "other", "sum"):
        assert np.frexp(quantised.scales[name].scale)[0] == 0.5
    for name in ("relu", "other", "sum", "mean", "sigmoid"):
        assert quantised.scales[name].zero_point == 0


def test_a_net_of_doubles_and_one_that_changes_later_are_taken_as_they_were():
    x = np.random.default_rng(0).normal(size=(3, 3, 16, 16))
    doubles = zoo.make("small", 0, dtype=np.float64)
    quantised = Quantised.of(doubles, x)
    assert quantised(x.astype(np.float32)).dtype == np.float32
    quantise.cost(quantised, x.astype(np.float32))
    layers = {"tanh": Own(), "flat": nets.Function(textbook.flatten), "fc": nets.Linear(4, 2)}
    net = nets.Network(layers, (1, 2, 2), 0)
    quantised, x = Quantised.of(net, x[:, :1, :2, :2]), x[:, :1, :2, :2].astype(np.float32)
    before = quantised(x)
    net.params["tanh.factor"] *= 3
    np.testing.assert_array_equal(quantised(x), before)


class Own:
    """A layer of one's own: tanh(factor · x)."""

    shapes = {"factor": (1,)}  # noqa: RUF012

    def start(self, rng):
        return {"factor": np.array([0.5])}

    def __call__(self, x, params):
        y, backward = textbook.tanh(params["factor"] * x)

        def named(dy, need_dx=True):
            d = backward(dy)
            return params["factor"] * d, {"factor": np.array([np.sum(d * x)], x.dtype)}

        return y, named

    def macs(self, y_shape):
        return 0


class Twice(nets.Conv2d):
    """A convolution of one's own that is another one."""

    def __call__(self, x, params, relu=False):
        y, backward = super().__call__(2 * x, params, relu)
        return y, lambda dy, need_dx=True: backward(dy, need_dx)


class Less(nets.Function):
    """One that does otherwise than its op."""

    def __call__(self, x, params):
        y, backward = super().__call__(x, params)
        return y - 0.5, backward


@pytest.mark.parametrize(
    "own",
    [
        lambda: Twice(2, 1, 1),
        lambda: Less(textbook.relu),
        lambda: Less(textbook.max_pool2d, 2),
        lambda: Less(textbook.avg_pool2d, 2),
    ],
)
def test_a_layer_of_ones_own_is_asked_itself(own):
    layers = {
        "conv": nets.Conv2d(1, 2, 1),
        "relu": nets.Function(textbook.relu),
        "own": own(),
        "flat": nets.Function(textbook.flatten),
    }
    steps, quantised, x = steps_by_name(layers, (1, 4, 4))
    assert steps["own"].kind == "float"
    y = quantised.network(x)[0]
    np.testing.assert_allclose(quantised(x), y, atol=0.02 * abs(y).max())


def test_other_images_and_names_and_no_images_are_refused():
    quantised = Quantised.of(SmallCNN(0), np.ones((1, 3, 16, 16), np.float32))
    with pytest.raises(ValueError, match="SmallCNN expects images of 3×16×16"):
        quantised(np.ones((1, 3, 32, 32), np.float32))
    with pytest.raises(ValueError, match="expected some of the steps"):
        quantised.features(np.ones((1, 3, 16, 16), np.float32), ["conv1"])
    with pytest.raises(ValueError, match=r"outputs are .* for 0 images"):
        quantise.cost(quantised, np.ones((0, 3, 16, 16), np.float32))
    for most in ("63", 63.5, 0):
        with pytest.raises(ValueError, match="most_weight is"):
            Quantised.of(SmallCNN(0), np.ones((1, 3, 16, 16), np.float32), most)


def test_a_branch_that_nobody_takes_costs_nothing():
    layers = {
        "aux": nets.Conv2d(1, 1, 1, takes="x"),
        "flat": nets.Function(textbook.flatten, takes="x"),
        "fc": nets.Linear(4, 2),
    }
    _, quantised, x = steps_by_name(layers, (1, 2, 2))
    assert not quantise.cost(quantised, x).shares["aux"].any()


# Files, and the command


@pytest.mark.parametrize("name", ["small", "resnet8", "wrn_16_1"])  # the last has floats, too
def test_a_net_in_eight_bits_is_read_back_as_it_was(tmp_path, name):
    net = zoo.make(name, 0, image_size=16)
    for theta in net.params.values():
        theta += 0.1
    x = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
    quantised = Quantised.of(net, x)
    files.save(tmp_path / "net.npz", quantised)
    again = files.load(tmp_path / "net.npz", zoo.make(name, 1, image_size=16))
    np.testing.assert_array_equal(again(x), quantised(x))
    assert quantised.nbytes < net.nbytes / 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.pop("fc2/weight"), "lacks fc2/weight"),
        (lambda held: held.update(more=np.zeros(1)), "not of such a net, more"),
        (lambda held: held.update({"x/scale": np.float32(0)}), "x/scale is not above 0"),
        (lambda held: held.update({"fc2/weight_scale": np.full(10, np.nan, "f")}), "not finite"),
        (lambda held: held.update({"fc2/bias": np.zeros(10)}), "fc2/bias is float64"),
        (
            lambda held: held.update({"relu1/bias": np.full(16, 2**31 - 1, np.int32)}),
            "may leave the range of int32",
        ),
        (lambda held: held.update({"fc2/weight": np.zeros((9, 128), np.int8)}), r"\(9, 128\)"),
    ],
)
def test_arrays_that_are_not_of_such_a_net_are_refused(change, words):
    net = SmallCNN(0)
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    held = Quantised.of(net, x).state_dict()
    change(held)
    with pytest.raises(ValueError, match=words):
        files.made(net, held)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the command."""
    where = tmp_path_factory.mktemp("run")
    epochs = ["--epochs", "2", "--large-epochs", "1", "--batch-size", "8"]
    data = tiny.file(where)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(distill_command, "_draw", lambda *_: None)
        assert cli.main(["distill", "--data", data, "--out", str(where / "run"), *epochs]) == 0
    return where / "run"


@pytest.fixture
def undrawn(monkeypatch):
    """Pages, which take seconds, are not drawn."""
    monkeypatch.setattr(page, "write", lambda folder: None)


@pytest.mark.parametrize("net", ["small", "small_from_labels", "large"])
def test_the_command_says_what_it_costs_and_another_exports_it(folder, undrawn, capsys, net):
    data = str(folder.parent / "corners.npz")
    assert cli.main(["quantise", str(folder), "--data", data, "--net", net]) == 0
    shown = capsys.readouterr().out
    assert " times fewer bytes; " in shown
    assert f"made {folder / net}_int8.npz" in shown
    rows = (folder / f"{net}_int8.csv").read_text().splitlines()
    assert len(rows) == 1 + 12
    pytest.importorskip("onnx")
    for more, name in (([], net), (["--int8"], f"{net}_int8")):
        assert cli.main(["export", str(folder), "--net", net, *more]) == 0
        assert f"made {folder / name}.onnx" in capsys.readouterr().out
        assert (folder / f"{name}.onnx").stat().st_size > 10_000


def test_the_net_in_eight_bits_is_one_of_the_runs_nets(folder, capsys, monkeypatch):
    """Asked, reported, drawn, and quick or slow, as the others are."""
    data = str(folder.parent / "corners.npz")
    with pytest.MonkeyPatch.context() as patched:  # the page is drawn by the next command
        patched.setattr(page, "write", lambda folder: None)
        assert cli.main(["quantise", str(folder), "--data", data]) == 0
    images = tiny.dataset().test_images
    ask = Predictor(folder)
    logits = ask(images, net="small_int8").logits
    quantised = ask.net("small_int8")
    np.testing.assert_array_equal(logits, quantised(ask.task.x_small(images)))
    report = finished.read_report(folder)
    model, of = report["models"]["small_int8"], report["eight_bits"]["small_int8"]
    classes = logits.argmax(axis=1)
    assert model["accuracy"] == np.mean(classes == tiny.dataset().test_labels)
    assert of["changed"] == np.sum(classes != ask(images).logits.argmax(axis=1))
    moved = abs(logits - ask(images).logits).max(axis=1)
    np.testing.assert_allclose(of["moved"]["most"], moved.max(), rtol=1e-5)
    assert model["bytes"] == quantised.nbytes < report["models"]["small"]["bytes"] / 3.5
    capsys.readouterr()
    monkeypatch.setattr(speed, "ROUNDS", 2)
    arguments = ["speed", str(folder), "--batch", "1", "3", "--threads", "1"]
    assert cli.main(arguments) == 0
    assert "small, distilled, 8 bits" in capsys.readouterr().out
    text = (folder / "report.html").read_text()
    for title in ("In eight bits: small, distilled", "How quick they are"):
        assert title in text
    assert cli.main(["predict", str(folder), data, "--net", "small_int8"]) == 0
    assert "small, distilled, 8 bits" in capsys.readouterr().out


def test_a_report_of_eight_bits_has_both_parts(folder, undrawn):
    data = str(folder.parent / "corners.npz")
    assert cli.main(["quantise", str(folder), "--data", data]) == 0
    report = json.loads((folder / "report.json").read_text())
    for part in ("models", "eight_bits"):
        other = json.loads(json.dumps(report))
        del other[part]["small_int8"]
        with pytest.raises(ValueError, match=r"\.small_int8 is missing"):
            contents._require_eight_bits(other)
    for changes, words in (
        ({"epochs": 1}, r"small_int8\.before is missing"),
        ({"unexplained": None}, r"small_int8\.unexplained is missing"),
    ):
        other = json.loads(json.dumps(report))
        of = other["eight_bits"]["small_int8"] | changes
        other["eight_bits"]["small_int8"] = {k: v for k, v in of.items() if v is not None}
        with pytest.raises(ValueError, match=words):
            contents._require_eight_bits(other)
    of = report["eight_bits"]["small_int8"]
    assert of["estimated"] == 12
    assert "to first order 0" in eight_bits.sentences(report, "small_int8")[1]
    of["estimated"] = 5
    assert "to first order (of 5 of them) 0" in eight_bits.sentences(report, "small_int8")[1]
    report["eight_bits"]["small_int8"]["changed"] = 13
    with pytest.raises(ValueError, match="changed is 13, more than there are"):
        contents._require_eight_bits(report)


def test_what_was_not_measured_is_said(folder, undrawn, capsys, monkeypatch):
    none = {"npkd": speed.RUNNERS["npkd"], "PyTorch": lambda net, x, count: None}
    monkeypatch.setattr(speed, "RUNNERS", none)
    monkeypatch.setattr(speed, "ROUNDS", 2)
    assert cli.main(["speed", str(folder), "--batch", "1", "--threads", "1"]) == 0
    assert "note: not measured, as it is not there: PyTorch" in capsys.readouterr().out


# In the loop


def a_net(name="small"):
    """A net with a batch norm that does something, in eight bits, and images."""
    rng = np.random.default_rng(0)
    net = zoo.make(name, rng, num_classes=5, image_size=16)
    for key, theta in net.state_dict().items():
        if "running_var" in key:
            theta[...] = rng.uniform(0.5, 1.5, theta.shape)
        elif key in net.params and theta.ndim < 2:
            theta[...] += rng.uniform(-0.2, 0.2, theta.shape)
    x = rng.normal(size=(6, 3, 16, 16)).astype(np.float32)
    return Quantised.of(net, x), x


def an_objective(net, x):
    """½‖y − t‖² to random numbers that outputs can reach, and a batch."""
    largest = net.scales[net.last].scale * 127
    t = (largest * np.random.default_rng(1).uniform(-0.7, 0.7, (len(x), 5))).astype(np.float32)
    return objectives.from_truth(losses.l2, net.last), objectives.Batch(0, x, t)


@pytest.mark.parametrize("name", ["small", "resnet8", "wrn_16_1", "mobilenetv2"])
def test_in_the_loop_the_outputs_are_those_of_eight_bits(name):
    quantised, x = a_net(name)
    looped = InTheLoop(quantised)
    names = [step.name for step in looped.steps]
    outputs, _, state = looped.features(x, names, training=True)
    expected, _ = quantised.features(x, names)
    for name in names:
        np.testing.assert_array_equal(outputs[name], expected[name])
    assert state.keys() == quantised.network.state.keys()


@pytest.mark.parametrize("name", ["small", "resnet8", "wrn_16_1"])
def test_in_the_loop_the_backward_pass_is_that_of_the_net_without_its_stairs(name):
    """The float net at the rounded weights, as a whole: exact where scales have many steps."""
    quantised, x = a_net(name)
    fine = {key: of._replace(scale=np.float32(of.scale)) for key, of in quantised.scales.items()}
    looped = InTheLoop(Quantised(quantised.network, quantised.steps, fine, quantised.weights))
    loss, batch = an_objective(looped, x)
    outputs, backward = looped.features(x, loss.layers)
    _, gradients, _ = loss(outputs, batch)
    dx, grads = backward(gradients)
    y, own_backward = quantised.network(x)
    _, dy = losses.l2(y, batch.truth)
    own_dx, own = own_backward(dy)
    assert grads.keys() == own.keys()
    assert dx.shape == own_dx.shape
    for key, g in own.items():  # alike, not equal: rounded numbers are at other places
        cosine = np.vdot(g, grads[key]) / (np.linalg.norm(g) * np.linalg.norm(grads[key]) + 1e-30)
        assert cosine > 0.9 or np.linalg.norm(g) < 1e-6, key


def test_what_is_rounded_is_passed_straight_through_and_what_is_held_is_not():
    layers = {"fc": nets.Linear(2, 3)}
    net = nets.Network(layers, (2,), 0)
    net.params["fc.weight"][...] = [[1, 0], [0, 1], [0.5, 0.5]]
    net.params["fc.bias"][...] = 0
    x = np.float32([[1, -1], [0.3, 0.2]])
    looped = InTheLoop(Quantised.of(net, x))
    beyond = np.float32([[3, 0.2]])  # the first output and the first input are held at the end
    y, backward = looped.features(beyond, ["fc"])
    dx, grads = backward({"fc": np.float32([[5, 7, 11]])})
    largest = looped.scales["fc"].scale * 127
    assert y["fc"][0, 0] == largest
    x_held = looped.scales["x"].scale * 127
    x_other = looped.scales["x"].scale * np.rint(0.2 / looped.scales["x"].scale)
    held = x_held > largest + looped.scales["fc"].scale / 2
    dy = np.float32([0 if held else 5, 7, 11])
    np.testing.assert_allclose(grads["fc.bias"], dy)
    np.testing.assert_allclose(grads["fc.weight"], np.outer(dy, [x_held, x_other]), rtol=1e-6)
    assert dx[0, 0] == 0
    np.testing.assert_allclose(dx[0, 1], 7 + 0.5 * 11, rtol=1e-2)


@pytest.mark.parametrize("name", ["small", "resnet8"])
def test_the_gradient_check_says_that_it_is_no_gradient(name):
    """Rounding is a staircase: the loss does not move at all, or jumps."""
    quantised, x = a_net(name)
    looped = InTheLoop(quantised)
    loss, batch = an_objective(looped, x)

    def of_bias(bias):
        looped.params[last][...] = bias
        outputs, backward = looped.features(x, loss.layers)
        value, gradients, _ = loss(outputs, batch)
        return value, backward(gradients)[1][last]

    last = f"{looped.last}.bias"
    bias = looped.params[last].copy()
    found = gradcheck.compare(of_bias, bias, rng=np.random.default_rng(0), method="central")
    assert found.answer != gradcheck.RIGHT


@pytest.mark.parametrize("name", ["small", "resnet8"])
def test_the_departure_from_a_gradient_is_told_by_length_of_step(name):
    looped = InTheLoop(a_net(name)[0])
    loss, batch = an_objective(looped, a_net(name)[1])
    before = {key: theta.copy() for key, theta in looped.params.items()}
    found = dict(departure(looped, loss, batch))
    assert abs(found[1e-2] - 1) < 0.5 or abs(found[1e-3] - 1) < 0.5
    assert abs(found[1e-7] - 1) > 0.2
    for key, theta in looped.params.items():
        np.testing.assert_array_equal(theta, before[key])


def test_training_in_the_loop_lowers_the_loss_of_the_net_in_eight_bits():
    quantised, x = a_net("resnet8")
    looped = InTheLoop(quantised)
    loss, batch = an_objective(looped, x)
    first = float(losses.l2(quantised(x), batch.truth)[0])
    sgd, rate = optim.SGD(lr=1.0), optim.constant(0.1)
    for _ in training.train(looped, [batch] * 30, loss=loss, optimiser=sgd, schedule=rate):
        pass
    made = looped.quantised()
    assert float(losses.l2(made(x), batch.truth)[0]) < 0.7 * first
    np.testing.assert_array_equal(made(x), looped(x)[0])
    for key, theta in quantised.network.state.items():  # the net that it was made of is as it was
        np.testing.assert_array_equal(theta, looped.state[key])


def test_the_net_in_the_loop_is_a_network_like_others():
    quantised, x = a_net("wrn_16_1")
    looped = InTheLoop(quantised)
    assert looped.macs() == quantised.macs() > 0
    now = looped.quantised()
    y = now(x)
    for theta in looped.params.values():
        theta *= 2
    np.testing.assert_array_equal(now(x), y)  # as it was then
    floats = looped.astype(np.float64)
    assert not isinstance(floats, InTheLoop)
    assert floats.dtype == np.float64
    assert InTheLoop(Quantised.of(quantised.network, x, 63)).quantised().most_weight == 63


def test_weights_that_are_no_longer_finite_are_named():
    looped = InTheLoop(a_net()[0])
    looped.params["fc2.weight"][0, 0] = np.nan
    with pytest.raises(ValueError, match="the weights of 'fc2' are not finite"):
        looped.quantised()


def test_a_layer_within_a_step_cannot_be_asked_in_the_loop():
    looped = InTheLoop(a_net("resnet8")[0])
    with pytest.raises(ValueError, match="'conv1' is within a step"):
        looped.features(a_net()[1], ["conv1"])


def test_the_command_distils_in_the_loop(folder, undrawn, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "run")
    data = str(folder.parent / "corners.npz")
    assert cli.main(["quantise", str(tmp_path / "run"), "--data", data, "--epochs", "2"]) == 0
    shown = capsys.readouterr().out
    assert "2 epochs of distillation with the net computing in eight bits" in shown
    assert "they follow no gradient" in shown


@pytest.mark.parametrize("rate", ["1e10", "1e30"])
def test_a_rate_that_is_too_high_is_one_line_and_changes_nothing(folder, tmp_path, capsys, rate):
    shutil.copytree(folder, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    data = str(folder.parent / "corners.npz")
    loop = ["--epochs", "1", "--learning-rate", rate]
    assert cli.main(["quantise", str(tmp_path / "run"), "--data", data, *loop]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--learning-rate" in line
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("change", ["labels", "images", "classes"])
def test_data_that_are_not_the_runs_are_refused(folder, tmp_path, capsys, change):
    arrays = dict(np.load(folder.parent / "corners.npz"))
    if change == "labels":
        arrays["test_labels"] = (arrays["test_labels"] + 1) % 4
    elif change == "images":
        arrays["test_images"] = arrays["test_images"][..., ::-1]
    else:
        arrays["labels"], arrays["test_labels"] = arrays["labels"] % 2, arrays["test_labels"] % 2
    np.savez(tmp_path / "other.npz", **arrays)
    before = (folder / "report.json").read_bytes()
    assert cli.main(["quantise", str(folder), "--data", str(tmp_path / "other.npz")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "other" in line
    assert (folder / "report.json").read_bytes() == before


@pytest.mark.parametrize("out", ["report.json", "small.npz", "net.pt", "/dev/null"])
def test_an_export_takes_no_other_files_place(folder, capsys, out):
    pytest.importorskip("onnx")
    path = folder / out
    before = path.read_bytes() if path.is_file() else None
    assert cli.main(["export", str(folder), "--out", str(path)]) == 2
    assert "expected a name in .onnx" in capsys.readouterr().err
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quantise", "FOLDER"], "has other images than the run in"),
        (["quantise", "FOLDER", "--most-weight", "128"], "--most-weight is 128, expected 1 to 127"),
        (["quantise", "FOLDER", "--epochs", "-1"], "--epochs is -1, expected 0 to"),
        (["quantise", "FOLDER", "--epochs", "1", "--net", "large"], "is not the distilled net"),
        (["quantise", "FOLDER", "--learning-rate", "1"], "expected --epochs N beside it"),
        (["quantise", "no/such"], "no/such"),
        (["export", "EMPTY", "--int8"], "has no large_int8.npz; npkd quantise"),
        (["predict", "EMPTY", "x.png", "--net", "large_int8"], "has no large_int8.npz; npkd"),
        (["speed", "FOLDER", "--batch", "0"], "--batch has 0, expected whole numbers from 1"),
        (["speed", "FOLDER", "--threads", "0"], "--threads has 0, expected whole numbers from 1"),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, capsys, arguments, words):
    if "EMPTY" in arguments:
        shutil.copytree(folder, tmp_path / "run")
        (tmp_path / "run" / "large_int8.npz").unlink(missing_ok=True)
        more = ["--net", "large"] if arguments[0] == "export" else []
        arguments = [arguments[0], str(tmp_path / "run"), *arguments[2:], *more]
    arguments = [str(folder) if one == "FOLDER" else one for one in arguments]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
