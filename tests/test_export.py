"""Nets as models of ONNX: ONNX Runtime computes what npkd does, in eight bits to the bit."""

import numpy as np
import pytest
from test_quantise import Less

from npkd import nets, ops, zoo
from npkd.distill.tasks.super_resolve import SmallSuperResolver
from npkd.export import to_onnx
from npkd.files import BadInput
from npkd.quantise import Quantised

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")


def a_net(name, rng):
    size = 32 if name == "vgg8" else 16
    net = zoo.make(name, rng, num_classes=5, image_size=size)
    remember(net, rng)
    return net, rng.normal(size=(7, 3, size, size)).astype(np.float32)


def remember(net, rng):
    """Statistics as after a training, which leave no layer without outputs."""
    for key, theta in net.state_dict().items():
        if "running_mean" in key:
            theta[...] = rng.normal(0, 0.1, theta.shape)
        elif "running_var" in key:
            theta[...] = rng.uniform(0.5, 1.5, theta.shape)


def run(model, x, level="ORT_ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_a_net_of_floats_is_the_same_in_onnx_runtime(name):
    net, x = a_net(name, np.random.default_rng(0))
    y, _ = net(x)
    found = run(to_onnx.model(net), x)
    assert found.shape == y.shape
    np.testing.assert_allclose(found, y, rtol=0, atol=2e-5 * abs(y).max())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", sorted(set(zoo.MODELS) - {"large", "vgg8", "resnet8x4"}))
def test_a_net_in_eight_bits_has_the_same_bits_in_onnx_runtime(name, level):
    """With weights up to ± 63: on some processors products of larger ones are held at 16 bits."""
    net, x = a_net(name, np.random.default_rng(1))
    quantised = Quantised.of(net, x[:4], most_weight=63)
    np.testing.assert_array_equal(run(to_onnx.model(quantised), x, level), quantised(x))


def of_integers(rng):
    """A net of all that eight bits are computed of without rounding numbers otherwise."""
    layers = {
        "bn": nets.BatchNorm(2),
        "a": nets.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(2, 1)),
        "drop": nets.Dropout(0.5),
        "relu": nets.Function(ops.relu),
        "again": nets.Dropout(0.5),
        "b": nets.Conv2d(4, 4, 3, padding="same", dilation=2, groups=2, bias=False),
        "sum": nets.Add("b", "again"),
        "norm": nets.BatchNorm(4),
        "relu2": nets.Function(ops.relu),
        "pool": nets.Function(ops.max_pool2d, 3, stride=2, padding=1, takes="relu2"),
        "means": nets.Function(ops.avg_pool2d, 3, stride=2, padding=1, takes="relu2"),
        "both": nets.Concat("pool", "means"),
        "twice": nets.Add("both", "both"),
        "flat": nets.Function(ops.flatten),
        "fc": nets.Linear(96, 5, bias=False),
        "fn": nets.BatchNorm(5),
    }
    net = nets.Network(layers, (2, 9, 7), rng)
    for theta in net.state_dict().values():
        if theta.ndim == 1:
            theta[...] = rng.uniform(0.5, 1.5, theta.shape)
    return net


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", LEVELS)
def test_integers_of_all_kinds_have_the_same_bits_in_onnx_runtime(level, seed):
    rng = np.random.default_rng(seed)
    net, x = of_integers(rng), rng.normal(size=(40, 2, 9, 7)).astype(np.float32)
    quantised = Quantised.of(net, x[:20], most_weight=63)
    np.testing.assert_array_equal(run(to_onnx.model(quantised), x, level), quantised(x))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["wrn_16_1", "wrn_16_2", "resnet20"])
def test_larger_nets_have_the_same_bits_for_many_images(name, level):
    rng = np.random.default_rng(5)
    net = zoo.make(name, rng, num_classes=10, image_size=32)
    remember(net, rng)
    x = rng.normal(size=(24, 3, 32, 32)).astype(np.float32)
    quantised = Quantised.of(net, x[:8], most_weight=63)
    assert len(np.unique(quantised(x))) > 20
    np.testing.assert_array_equal(run(to_onnx.model(quantised), x, level), quantised(x))


def test_names_that_a_model_has_otherwise_are_refused():
    for name in ("y", "conv.weight"):
        layers = {"conv": nets.Conv2d(1, 1, 1), name: nets.Function(ops.relu)}
        layers["flat"] = nets.Function(ops.flatten)
        with pytest.raises(BadInput, match="a model of ONNX has that name otherwise"):
            to_onnx.model(nets.Network(layers, (1, 2, 2), 0))


@pytest.mark.parametrize("level", LEVELS)
def test_a_net_that_makes_images_is_the_same_in_onnx_runtime(level):
    rng = np.random.default_rng(3)
    net = SmallSuperResolver(rng, image_size=(9, 12))
    x = rng.normal(size=(5, 3, 9, 12)).astype(np.float32)
    y, _ = net(x)
    found = run(to_onnx.model(net), x, level)
    np.testing.assert_allclose(found, y, rtol=0, atol=2e-5 * abs(y).max())
    quantised = Quantised.of(net, x[:4], most_weight=63)
    np.testing.assert_array_equal(run(to_onnx.model(quantised), x, level), quantised(x))


def of_more_kinds(rng):
    """A net of layers that none of the zoo has."""
    layers = {
        "a": nets.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(2, 1), takes="x"),
        "b": nets.Conv2d(4, 4, 3, padding="same", groups=2, bias=False),
        "norm": nets.BatchNorm(4),
        "relu": nets.Function(ops.relu),
        "pool": nets.Function(ops.max_pool2d, 3, stride=2, padding=1, takes="relu"),
        "means": nets.Function(ops.avg_pool2d, 3, stride=2, padding=1, takes="relu"),
        "both": nets.Concat("pool", "means"),
        "drop": nets.Dropout(0.5),
        "sigmoid": nets.Function(ops.sigmoid),
        "dilated": nets.Conv2d(8, 4, 3, padding="same", dilation=2),
        "tanh": nets.Function(ops.tanh),
        "flat": nets.Function(ops.flatten),
        "fc": nets.Linear(4 * 6 * 2, 3, bias=False),
    }
    return nets.Network(layers, (2, 9, 7), rng)


def test_layers_of_more_kinds_are_the_same_in_onnx_runtime():
    rng = np.random.default_rng(4)
    net, x = of_more_kinds(rng), rng.normal(size=(5, 2, 9, 7)).astype(np.float32)
    y, _ = net(x)
    np.testing.assert_allclose(run(to_onnx.model(net), x), y, rtol=0, atol=2e-5 * abs(y).max())


def test_what_onnx_leaves_open_is_refused():
    layers = {
        "conv": nets.Conv2d(1, 1, 1),
        "pool": nets.Function(ops.avg_pool2d, 2, ceil_mode=True),
    }
    with pytest.raises(BadInput, match=r"layer 'pool' is a avg_pool2d with .*'ceil_mode': True"):
        to_onnx.model(nets.Network(layers, (1, 3, 3), 0))


def test_a_layer_that_is_not_exported_is_named():
    layers = {"up": nets.Function(ops.upsample, 2), "conv": nets.Conv2d(1, 1, 1)}
    with pytest.raises(BadInput, match="layer 'up' is a upsample, which is not exported"):
        to_onnx.model(nets.Network(layers, (1, 2, 2), 0))


def test_a_subclass_is_refused_whatever_its_op_is():
    layers = {"conv": nets.Conv2d(1, 1, 1), "own": Less(ops.relu)}
    with pytest.raises(BadInput, match="layer 'own' is a Less, which is not exported"):
        to_onnx.model(nets.Network(layers, (1, 2, 2), 0))


def test_the_same_net_gives_the_same_bytes():
    net, x = a_net("small", np.random.default_rng(2))
    for one in (net, Quantised.of(net, x)):
        assert to_onnx.model(one) == to_onnx.model(one)
