"""Networks of a few channels: gradients by everything, outputs of inner layers, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, assert_close

from npkd import ops
from npkd.nets import Network
from npkd.nets.layers import Conv2d, Function, Linear

NAMES = ["conv", "relu", "pool", "flatten", "fc1", "relu2", "fc2"]


def network(rng=0, dtype=np.float64):
    """Images 2×6×4, three channels, and three outputs."""
    layers = {
        "conv": Conv2d(2, 3, 3, padding=1),
        "relu": Function(ops.relu),
        "pool": Function(ops.avg_pool2d, 2),
        "flatten": Function(ops.flatten),
        "fc1": Linear(18, 5),
        "relu2": Function(ops.relu),
        "fc2": Linear(5, 3),
    }
    return Network(layers, (2, 6, 4), rng, dtype)


def images(rng, count=3, dtype=np.float64):
    return rng.standard_normal((count, 2, 6, 4)).astype(dtype)


def cotangents(rng, outputs):
    return {name: rng.standard_normal(output.shape) for name, output in outputs.items()}


def assert_equal(grads, expected):
    assert grads.keys() == expected.keys()
    for name in grads:
        np.testing.assert_array_equal(grads[name], expected[name])


# Gradients


def test_a_network_is_its_ops_in_order():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    p = net.params
    y, _ = ops.conv2d(x, p["conv.weight"], p["conv.bias"], padding=1)
    y, _ = ops.avg_pool2d(np.maximum(y, 0), 2)
    y = np.maximum(y.reshape(3, -1) @ p["fc1.weight"].T + p["fc1.bias"], 0)
    assert_close(net(x)[0], y @ p["fc2.weight"].T + p["fc2.bias"])


def test_what_is_run_as_one_has_the_bits_of_layers_one_by_one():
    rng = np.random.default_rng(0)
    net, x = network(rng, np.float32), images(rng, dtype=np.float32)
    one_by_one, backward_one_by_one = net.features(x, NAMES)
    y, backward = net(x)
    np.testing.assert_array_equal(y, one_by_one["fc2"])
    dy = rng.standard_normal(y.shape).astype(np.float32)
    (dx, grads), (expected_dx, expected) = backward(dy), backward_one_by_one({"fc2": dy})
    np.testing.assert_array_equal(dx, expected_dx)
    assert_equal(grads, expected)


def test_arguments_and_parameters_are_unchanged():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    outputs, backward = net.features(x, NAMES)
    d = cotangents(rng, outputs)
    given_arrays = [x, *net.params.values(), *outputs.values(), *d.values()]
    before = [array.copy() for array in given_arrays]
    backward(d)
    for array, copy in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_second_forward_pass_leaves_the_first_ones_backward_as_it_was():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    y, backward = net(x)
    dy = rng.standard_normal(y.shape)
    _, expected = backward(dy)
    net(images(rng))
    assert_equal(backward(dy)[1], expected)


# Outputs of inner layers


@settings(max_examples=25, deadline=None)
@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True), seed=SEEDS)
def test_backward_from_several_outputs_is_the_sum_of_backward_from_each(names, seed):
    rng = np.random.default_rng(seed)
    net, x = network(rng), images(rng)
    outputs, backward = net.features(x, names)
    assert list(outputs) == names
    d = cotangents(rng, outputs)
    dx, grads = backward(d)
    alone = [net.features(x, [name])[1]({name: d[name]}) for name in names]
    np.testing.assert_allclose(dx, sum(dx for dx, _ in alone), rtol=1e-12, atol=1e-13)
    assert grads.keys() == net.params.keys()
    for name in grads:
        expected = sum(grads[name] for _, grads in alone)
        np.testing.assert_allclose(grads[name], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_injected_at_one_layer_is_that_of_the_network_cut_there(name):
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    up_to = {key: net.layers[key] for key in NAMES[: NAMES.index(name) + 1]}
    cut = Network(up_to, net.image_shape, 0, np.float64)
    cut.load({key: net.params[key] for key in cut.params})
    y, backward_of_cut = cut(x)
    outputs, backward = net.features(x, NAMES)
    np.testing.assert_array_equal(outputs[name], y)
    dy = rng.standard_normal(y.shape)
    dx_of_cut, grads_of_cut = backward_of_cut(dy)
    dx, grads = backward({name: dy})
    np.testing.assert_array_equal(dx, dx_of_cut)
    assert_equal({key: grads[key] for key in grads_of_cut}, grads_of_cut)


def test_layers_behind_the_last_output_do_not_run_and_their_gradients_are_zero():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    net.layers["fc2"] = None  # cannot be called
    outputs, backward = net.features(x, ["relu2", "pool"])
    dx, grads = backward({"pool": rng.standard_normal(outputs["pool"].shape)})
    assert np.any(dx)
    assert {name for name, gradient in grads.items() if np.any(gradient)} == {
        "conv.weight",
        "conv.bias",
    }
    assert {name: gradient.shape for name, gradient in grads.items()} == {
        name: theta.shape for name, theta in net.params.items()
    }


def test_no_gradient_at_all_gives_zeros():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    _, backward = net.features(x, NAMES)
    dx, grads = backward({})
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    assert not any(np.any(gradient) for gradient in grads.values())
    assert backward({}, need_dx=False)[0] is None


def test_one_name_may_be_given_alone():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    assert list(net.features(x, "fc1")[0]) == ["fc1"]


def test_unknown_names_are_refused():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    with pytest.raises(ValueError, match=r"layers asked for are \['relu9'\], expected some of \["):
        net.features(x, ["relu9"])
    with pytest.raises(ValueError, match=r"layers asked for are \[\]"):
        net.features(x, [])
    outputs, backward = net.features(x, ["relu"])
    with pytest.raises(ValueError, match=r"gradients given for \['pool'\], expected some of \['re"):
        backward({"relu": outputs["relu"], "pool": outputs["relu"]})


@pytest.mark.parametrize("name", ["relu2", "fc2"])
def test_a_gradient_of_another_shape_than_its_output_is_refused(name):
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    outputs, backward = net.features(x, ["relu2", "fc2"])
    d = cotangents(rng, outputs)
    with pytest.raises(ValueError, match=r"\(1, "):
        backward(d | {name: d[name][:1]})


# Parameters


def test_parameters_are_named_by_layer_in_order():
    assert {name: theta.shape for name, theta in network().params.items()} == {
        "conv.weight": (3, 2, 3, 3),
        "conv.bias": (3,),
        "fc1.weight": (5, 18),
        "fc1.bias": (5,),
        "fc2.weight": (3, 5),
        "fc2.bias": (3,),
    }


def test_what_params_holds_is_what_the_network_computes_with():
    rng = np.random.default_rng(0)
    net, x = network(rng), images(rng)
    net.params["fc2.weight"] = np.zeros((3, 5))
    net.params["fc2.bias"][:] = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(net(x)[0], np.tile([1.0, 2.0, 3.0], (3, 1)))


def test_multiply_adds_by_hand():
    convolution, fc1, fc2 = 3 * 6 * 4 * 2 * 9, 18 * 5, 5 * 3
    assert network().macs() == convolution + fc1 + fc2


def test_astype_copies_and_shares_nothing():
    net = network()
    before = {name: theta.copy() for name, theta in net.params.items()}
    same, single = net.astype(np.float64), net.astype(np.float32)
    assert single.dtype == np.float32
    assert type(same) is Network
    assert_equal(same.params, before)
    for theta in same.params.values():
        theta[...] = 0
    assert_equal(net.params, before)


def test_load_copies_the_values_into_the_networks_own_arrays():
    net, other = network(0), network(1)
    own = dict(net.params)
    net.load(other.params)
    assert_equal(net.params, other.params)
    assert all(net.params[name] is own[name] for name in own)
    other.params["fc2.bias"][:] = 7
    assert not np.any(net.params["fc2.bias"] == 7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fc2.bias": np.zeros(4)}, r"Network: fc2.bias has shape \(4,\), expected \(3,\)"),
        ({"fc2.weight": np.zeros((5, 3))}, r"fc2.weight has shape \(5, 3\), expected \(3, 5\)"),
        ({"fc2.bias": np.zeros(1)}, r"fc2.bias has shape \(1,\)"),
        ({"fc2.bias": np.array([0, np.nan, 0])}, "fc2.bias holds values that are not finite"),
        ({"fc2.bias": np.array([0, np.inf, 0])}, "fc2.bias holds values that are not finite"),
        ({"fc3.bias": np.zeros(3)}, r"weights lack \[\], and have \['fc3.bias'\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed(wrong, message):
    net, other = network(0), network(1)
    before = {name: theta.copy() for name, theta in net.params.items()}
    with pytest.raises(ValueError, match=message):
        net.load(other.params | wrong)
    assert_equal(net.params, before)


def test_missing_weights_are_refused():
    net = network()
    with pytest.raises(ValueError, match=r"lack \['conv.bias', 'fc1.bias'.*, and have \[\]"):
        net.load({name: net.params[name] for name in net.params if "weight" in name})


def test_weights_too_large_for_the_networks_dtype_are_refused():
    net = network(dtype=np.float32)
    before = {name: theta.copy() for name, theta in net.params.items()}
    with pytest.raises(ValueError, match=r"fc2\.bias holds values that are not finite"):
        net.load(net.params | {"fc2.bias": np.array([0.0, 1e300, 0.0])})
    assert_equal(net.params, before)


# The start


def test_a_seed_and_its_generator_give_the_same_bits():
    weights = network(5).params
    for rng in (5, np.int64(5), np.random.default_rng(5)):
        assert_equal(network(rng).params, weights)
    assert np.all(network(6).params["fc1.weight"] != weights["fc1.weight"])


def test_float32_weights_are_the_float64_ones_rounded():
    for name, theta in network(5, np.float32).params.items():
        assert theta.dtype == np.float32
        np.testing.assert_array_equal(theta, network(5).params[name].astype(np.float32))


@pytest.mark.parametrize("rng", [None, True, -1, 0.5, "seed", np.random.RandomState(0)])
def test_a_network_wants_a_generator_or_a_seed(rng):
    with pytest.raises(ValueError, match=r"Network: rng is .*, expected a np.random.Generator or"):
        network(rng)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, bool])
def test_a_network_wants_a_float_dtype(dtype):
    with pytest.raises(ValueError, match="Network: dtype is"):
        network(dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    rng = np.random.default_rng(0)
    outputs, backward = network(rng, dtype).features(images(rng, dtype=dtype), NAMES)
    assert {output.dtype for output in outputs.values()} == {np.dtype(dtype)}
    dx, grads = backward({name: np.ones_like(output) for name, output in outputs.items()})
    assert {gradient.dtype for gradient in (dx, *grads.values())} == {np.dtype(dtype)}
