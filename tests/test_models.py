"""The document's two nets: parameters, their start, gradients, cost, and images they refuse."""

import math

import numpy as np
import pytest
import scipy.stats
from strategies import assert_close

from npkd import LargeCNN, SmallCNN, ops

NETS = [LargeCNN, SmallCNN]
LAYERS = ["conv1", "relu1", "conv2", "relu2", "pool", "flatten", "fc1", "relu3", "fc2"]


def images(net, count=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, *net.image_shape)).astype(net.dtype)


# Parameters and cost


@pytest.mark.parametrize(
    ("make", "a", "b", "side", "hidden", "count"),
    [(LargeCNN, 32, 64, 32, 512, 8_413_642), (SmallCNN, 16, 32, 16, 128, 268_650)],
)
def test_number_of_parameters(make, a, b, side, hidden, count):
    """3 → a → b channels by 3×3 kernels, a quarter of the pixels, hidden features, 10 classes."""
    features = b * (side // 2) ** 2
    by_hand = (3 * 9 + 1) * a + (a * 9 + 1) * b + (features + 1) * hidden + (hidden + 1) * 10
    assert by_hand == count
    assert sum(theta.size for theta in make(0).params.values()) == count


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (LargeCNN, [(32, 3, 3, 3), (64, 32, 3, 3), (512, 16384), (10, 512)]),
        (SmallCNN, [(16, 3, 3, 3), (32, 16, 3, 3), (128, 2048), (10, 128)]),
    ],
)
def test_names_and_shapes_are_those_of_pytorch(make, shapes):
    expected = {}
    for layer, shape in zip(("conv1", "conv2", "fc1", "fc2"), shapes, strict=True):
        expected |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    net = make(0)
    assert list(net.layers) == LAYERS
    assert {name: theta.shape for name, theta in net.params.items()} == expected


@pytest.mark.parametrize(
    ("make", "by_hand", "count"),
    [
        (
            LargeCNN,
            32**2 * 32 * 3 * 9 + 32**2 * 64 * 32 * 9 + 64 * 16**2 * 512 + 512 * 10,
            28_152_832,
        ),
        (
            SmallCNN,
            16**2 * 16 * 3 * 9 + 16**2 * 32 * 16 * 9 + 32 * 8**2 * 128 + 128 * 10,
            1_553_664,
        ),
    ],
)
def test_multiply_adds_of_one_image(make, by_hand, count):
    assert make(0).macs() == by_hand == count


@pytest.mark.parametrize("make", NETS)
def test_other_numbers_of_channels_and_classes(make):
    net = make(0, in_channels=1, num_classes=4)
    assert net.params["conv1.weight"].shape[1] == 1
    y, _ = net(images(net, count=3))
    assert y.shape == (3, 4)


# The start


@pytest.mark.parametrize("make", NETS)
def test_weights_and_biases_start_uniform_within_one_over_the_root_of_the_inputs(make):
    params = make(0).params
    for name, theta in params.items():
        weight = params[name.replace("bias", "weight")]
        unit = theta.ravel() * math.sqrt(math.prod(weight.shape[1:]))  # uniform on (−1, 1)
        assert np.max(np.abs(unit)) <= 1 + 1e-6
        assert abs(np.mean(unit)) <= 4 / math.sqrt(3 * unit.size)  # four standard deviations
        assert scipy.stats.kstest(unit, scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("make", NETS)
def test_the_same_seed_gives_the_same_bits(make):
    params, again = make(7).params, make(np.random.default_rng(7)).params
    for name in params:
        np.testing.assert_array_equal(params[name], again[name])


def test_nets_from_one_generator_differ():
    rng = np.random.default_rng(0)
    first, second = SmallCNN(rng).params, SmallCNN(rng).params
    assert not any(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("make", NETS)
def test_a_net_wants_a_generator_or_a_seed(make):
    with pytest.raises(TypeError, match="rng"):
        make()
    with pytest.raises(ValueError, match=f"{make.__name__}: rng is None, expected a np.random.Gen"):
        make(None)


# Forward and backward


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(make, dtype):
    net = make(0, dtype=dtype)
    y, backward = net(images(net))
    dx, grads = backward(np.ones_like(y))
    assert net.dtype == dtype
    assert {array.dtype for array in (y, dx, *grads.values())} == {np.dtype(dtype)}


def test_the_output_of_each_layer_is_that_of_its_op():
    net = SmallCNN(0, dtype=np.float64)
    x, p = images(net), net.params
    y, _ = net.features(x, LAYERS)
    assert_close(y["conv1"], ops.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)[0])
    assert_close(y["relu1"], np.maximum(y["conv1"], 0))
    conv2, _ = ops.conv2d(y["relu1"], p["conv2.weight"], p["conv2.bias"], padding=1)
    assert_close(y["conv2"], conv2)
    assert_close(y["relu2"], np.maximum(y["conv2"], 0))
    assert_close(y["pool"], y["relu2"].reshape(2, 32, 8, 2, 8, 2).mean(axis=(3, 5)))
    assert_close(y["flatten"], y["pool"].reshape(2, -1))
    assert_close(y["fc1"], y["flatten"] @ p["fc1.weight"].T + p["fc1.bias"])
    assert_close(y["relu3"], np.maximum(y["fc1"], 0))
    assert_close(y["fc2"], y["relu3"] @ p["fc2.weight"].T + p["fc2.bias"])


@pytest.mark.parametrize("make", NETS)
def test_without_dx_the_gradients_are_the_same(make):
    net = make(0)
    y, backward = net(images(net))
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(net.dtype)
    (_, grads), (dx, grads_alone) = backward(dy), backward(dy, need_dx=False)
    assert dx is None
    for name in grads:
        np.testing.assert_array_equal(grads_alone[name], grads[name])


# Images that a net refuses


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (SmallCNN, (2, 3, 32, 32), "expects images of 3×16×16, got 3×32×32; is this x_high?"),
        (LargeCNN, (2, 3, 16, 16), "expects images of 3×32×32, got 3×16×16; is this x_low?"),
        (LargeCNN, (2, 32, 32, 3), "got 32×32×3; are its channels last?"),
        (SmallCNN, (2, 16, 16, 3), "got 16×16×3; are its channels last?"),
        (LargeCNN, (3, 32, 32), "one image? Then it wants an axis for the batch: x[None]"),
        (SmallCNN, (3, 16, 16), "one image? Then it wants an axis for the batch: x[None]"),
        (SmallCNN, (2, 1, 16, 16), "expects images of 3×16×16, got 1×16×16"),
        (SmallCNN, (2, 3 * 16 * 16), "expects images of 3×16×16, got an array of (2, 768)"),
    ],
)
def test_images_of_another_shape_are_refused_with_a_hint(make, shape, message):
    with pytest.raises(ValueError, match=f"^{make.__name__} ") as error:
        make(0)(np.zeros(shape, np.float32))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3, 16, 16)), "SmallCNN has float32 weights, got float64 images"),
        (np.zeros((2, 3, 16, 16), np.uint8), "SmallCNN: x is uint8, expected one of float32, "),
        ([[0.0]], "SmallCNN: x is a list, expected a NumPy array"),
    ],
)
def test_images_of_another_dtype_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        SmallCNN(0)(x)


@pytest.mark.parametrize("sizes", [{"in_channels": 0}, {"num_classes": 0}, {"num_classes": 2.5}])
def test_sizes_that_are_no_positive_integers_are_refused(sizes):
    with pytest.raises(ValueError, match="expected a positive integer"):
        SmallCNN(0, **sizes)
