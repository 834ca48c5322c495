"""Networks that are no straight line, and what they remember: wiring, state, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import SEEDS

import npkd
from npkd import SGD, losses, ops, optim, training, weights, zoo
from npkd.nets import Add, BatchNorm, Concat, Conv2d, Dropout, Function, Linear, Network
from npkd.objectives import Batch, Objective, from_truth
from npkd.proofs import of_nets
from npkd.testing import cases


def layers():
    """Shortcuts from the images and across a batch norm with its ReLU."""
    return {
        "conv1": Conv2d(2, 3, 3, padding=1),
        "bn1": BatchNorm(3),
        "relu1": Function(ops.relu),
        "conv2": Conv2d(3, 2, 1, bias=False),
        "relu2": Function(ops.relu),
        "add": Add("relu2", "x"),
        "concat": Concat("add", "relu1"),
        "dropout": Dropout(0.5),
        "pool": Function(ops.global_avg_pool2d),
        "flatten": Function(ops.flatten),
        "fc": Linear(5, 3),
    }


def network(rng=0, dtype=np.float32):
    return Network(layers(), (2, 4, 5), rng, dtype)


def images(seed=0, count=3, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((count, 2, 4, 5)).astype(dtype)


def batches(count):
    return [Batch(0, images(seed), np.arange(3) % 3) for seed in range(count)]


def bits(arrays):
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def assert_equal_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def train(net, shown=None, loss=None):
    """All updates of a net."""
    return list(
        training.train(
            net,
            shown or batches(3),
            loss=loss or from_truth(losses.cross_entropy, "fc"),
            optimiser=SGD(0.1),
            schedule=optim.constant(0.1),
            rng=np.random.default_rng,
        )
    )


# Wiring


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"add": Add("relu2", "conv9")}, "'add' takes relu2, conv9, expected layers before it, or"),
        ({"add": Add("relu2", "fc")}, "'add' takes relu2, fc, expected layers before it"),
        ({"add": Add("relu2", "add")}, "'add' takes relu2, add, expected layers before it"),
        ({"x": Function(ops.relu)}, "'x' takes fc, expected layers before it, or \"x\", the image"),
    ],
)
def test_what_a_layer_takes_must_stand_before_it(wrong, message):
    with pytest.raises(ValueError, match=message) as refused:
        Network(layers() | wrong, (2, 4, 5), 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(0), "BatchNorm: channels is 0"),
        (lambda: Dropout(1.0), "Dropout: p is 1.0, expected a chance from 0 to below 1"),
        (lambda: Dropout(np.nan), "Dropout: p is nan"),
        (lambda: Conv2d(3, 4, 1, groups=2), "Conv2d: 3 channels do not make 2 groups"),
    ],
)
def test_layers_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@settings(max_examples=40, deadline=None)
@given(case=cases("graph"), seed=SEEDS)
def test_what_is_run_as_one_has_the_bits_of_layers_one_by_one(case, seed):
    rng = np.random.default_rng(seed)
    net = of_nets.graph(npkd, case, rng).astype(np.float32)
    for layer in net.layers.values():
        if isinstance(layer, Dropout):
            layer.p = 0.0  # what is drawn depends on which layers are run
    x = rng.standard_normal(case.shapes["x"]).astype(np.float32)
    mode = {"training": case.options["training"], "rng": rng}
    outputs, backward, *state = net.features(x, [net.last], **mode)
    needed = set(net.layers)
    one_by_one, backward_one_by_one, *expected_state = net.features(x, needed, **mode)
    np.testing.assert_array_equal(outputs[net.last], one_by_one[net.last])
    dy = {net.last: rng.standard_normal(outputs[net.last].shape).astype(np.float32)}
    (dx, grads), (expected_dx, expected) = backward(dy), backward_one_by_one(dy)
    np.testing.assert_array_equal(dx, expected_dx)
    assert_equal_bits(grads, expected)
    for found, whole in zip(state, expected_state, strict=True):
        run = {layer for step in net._steps({net.last}, True) for layer in step.layers}
        for key, value in found.items():
            layer = key.rpartition(".")[0]
            np.testing.assert_array_equal(value, whole[key] if layer in run else net.state[key])


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["fc"], {"bn1": "relu1", "conv2": "relu2"}),
        (["fc", "bn1"], {"conv2": "relu2"}),
        (["relu1", "relu2"], {"bn1": "relu1", "conv2": "relu2"}),
        (["conv2"], {"bn1": "relu1"}),
    ],
)
def test_a_relu_is_run_with_the_layer_before_unless_its_output_is_asked_for(names, pairs):
    for mode in (False, True):
        steps = network()._steps(set(names), training=mode)
        assert {s.layers[-1]: s.output for s in steps if s.relu} == pairs


@pytest.mark.parametrize(
    ("names", "mode", "together"),
    [
        (["fc"], False, True),
        (["bn1"], False, True),
        (["fc"], True, False),  # the batch's statistics are known when all of it is
        (["fc", "conv1"], False, False),
    ],
)
def test_a_convolution_is_evaluated_with_its_batch_norm(names, mode, together):
    steps = network()._steps(set(names), training=mode)
    assert (("conv1", "bn1") in [step.layers for step in steps]) == together


@pytest.mark.parametrize("taker", [Add("bn1", "relu1"), Function(ops.sigmoid, takes="bn1")])
def test_or_taken_by_another_layer(taker):
    net = Network(layers() | {"more": taker}, (2, 4, 5), 0)
    assert not any(step.relu for step in net._steps({"more"}) if step.layers[-1] == "bn1")
    assert net.features(images(), ["more"])[0]["more"].shape == (3, 3, 4, 5)


def test_layers_that_nobody_needs_are_not_run():
    def never(*_):
        raise AssertionError("was run")

    side = {"never": Function(never, takes="relu1"), "too": Function(ops.relu)}
    net = Network(layers() | side | {"last": Linear(3, 2, takes="fc")}, (2, 4, 5), 0)
    outputs, backward = net.features(images(), ["add", "last"])
    _, grads = backward(outputs)
    assert np.any(grads["last.weight"])
    _, backward = net.features(images(), ["conv2"])
    _, grads = backward({"conv2": outputs["add"]})
    assert {name for name, g in grads.items() if np.any(g)} == {
        *("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "conv2.weight"),
    }


@pytest.mark.parametrize("training_pass", [False, True])
def test_images_that_are_taken_twice_need_no_gradient(training_pass):
    outputs, backward, *_ = network(dtype=np.float64).features(
        images(dtype=np.float64), ["fc"], training=training_pass, rng=np.random.default_rng(0)
    )
    dx, grads = backward(outputs)
    nothing, same = backward(outputs, need_dx=False)
    assert np.any(dx)
    assert nothing is None
    assert_equal_bits(same, grads)


def test_batch_norm_takes_rows_too():
    parts = {"flatten": Function(ops.flatten), "bn": BatchNorm(40), "fc": Linear(40, 2)}
    net, x = Network(parts, (2, 4, 5), 0, np.float64), images(dtype=np.float64)
    outputs, _, state = net.features(x, ["bn"], training=True)
    rows = x.reshape(3, 40)
    np.testing.assert_allclose(outputs["bn"].mean(axis=0), np.zeros(40), atol=1e-15)
    np.testing.assert_allclose(state["bn.running_mean"], 0.1 * rows.mean(axis=0))
    np.testing.assert_allclose(state["bn.running_var"], 0.9 + 0.1 * rows.var(axis=0, ddof=1))


def test_multiply_adds_are_those_of_weights():
    assert network().macs() == 4 * 5 * (3 * 2 * 9 + 2 * 3) + 3 * 5


# A training pass


def test_a_training_pass_changes_nothing():
    net, x = network(), images()
    before = bits(net.state_dict() | {"x": x})
    outputs, backward, state = net.features(
        x, list(net.layers), training=True, rng=np.random.default_rng(0)
    )
    d = {name: np.ones_like(y) for name, y in outputs.items()}
    given_arrays = bits(outputs | d)
    backward(d)
    assert bits(net.state_dict() | {"x": x}) == before
    assert bits(outputs | d) == given_arrays
    assert state["bn1.num_batches_tracked"] == 1
    assert not any(np.shares_memory(state[key], net.state[key]) for key in state)


def test_dtypes_are_kept():
    outputs, backward, state = network().features(
        images(), list(layers()), training=True, rng=np.random.default_rng(0)
    )
    dx, grads = backward(outputs)
    assert {a.dtype for a in (dx, *outputs.values(), *grads.values())} == {np.dtype(np.float32)}
    kinds = {key.rpartition(".")[-1]: value.dtype for key, value in state.items()}
    assert kinds == {
        "running_mean": np.float32,
        "running_var": np.float32,
        "num_batches_tracked": np.int64,
    }


def test_dropout_draws_from_rng_alone():
    net, x = network(), images()
    first, again, other = (
        net.features(x, ["dropout"], training=True, rng=np.random.default_rng(seed))[0]["dropout"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    outputs, _ = net.features(x, ["concat", "dropout"])
    np.testing.assert_array_equal(outputs["dropout"], outputs["concat"])


def test_dropout_refuses_a_training_pass_without_rng():
    with pytest.raises(ValueError, match=r"Dropout: a training pass needs rng, a np\.random\.Gen"):
        network().features(images(), ["fc"], training=True)
    network().features(images(), ["concat"], training=True)  # none is run


def test_a_frozen_network_has_no_training_pass_and_cannot_be_written_to():
    net, x = network(), images()
    expected, before = net(x)[0], bits(net.state_dict())
    assert not net.is_frozen
    net.freeze()
    assert net.is_frozen
    np.testing.assert_array_equal(net(x)[0], expected)
    with pytest.raises(ValueError, match="Network is frozen, and has no training pass"):
        net.features(x, ["fc"], training=True, rng=np.random.default_rng(0))
    for array in net.state_dict().values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(ValueError, match="is frozen, and takes no values"):
        net.load(network(1).state_dict())
    with pytest.raises(ValueError, match="is frozen"):
        train(net)
    assert bits(net.state_dict()) == before
    assert not net.astype(np.float32).is_frozen


def test_a_training_pass_has_the_same_bits_for_any_number_of_threads():
    net = zoo.resnet8(rng=0)
    x = np.random.default_rng(0).standard_normal((24, 3, 32, 32)).astype(np.float32)
    before, found = npkd.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            npkd.set_num_threads(number)
            outputs, backward, state = net.features(x, [*net.stages, "fc"], training=True)
            dx, grads = backward(outputs)
            found.append(bits(outputs | state | grads | {"x": dx}))
    finally:
        npkd.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_in_evaluation_nan_stays_in_its_image():
    x = images()
    x[1, 0, 2, 3] = np.nan
    outputs, backward = network().features(x, list(layers()))
    for name, y in outputs.items():
        assert np.isnan(y).any(axis=tuple(range(1, y.ndim))).tolist() == [False, True, False], name
    dx, _ = backward(outputs)
    assert np.isnan(dx).any(axis=(1, 2, 3)).tolist() == [False, True, False]


# The training loop


def test_the_training_loop_moves_state_with_each_update():
    net, by_hand = network(), network()
    updates = train(net)
    for step, batch in enumerate(batches(3)):
        outputs, backward, state = by_hand.features(
            batch.x, ["fc"], training=True, rng=np.random.default_rng(step)
        )
        value, dy = losses.cross_entropy(outputs["fc"], batch.truth)
        SGD(0.1).step(by_hand.params, backward({"fc": dy}, need_dx=False)[1])
        by_hand.load(by_hand.params | state)
        assert updates[step].loss == value
    assert bits(net.state_dict()) == bits(by_hand.state_dict())
    assert net.state["bn1.num_batches_tracked"] == 3


def test_state_is_moved_in_the_networks_own_arrays():
    net = network()
    own = dict(net.state_dict())
    train(net)
    assert all(net.state_dict()[key] is value for key, value in own.items())


def test_a_frozen_teacher_stays_as_it_is_to_the_byte():
    teacher, student = network(1), network(2)
    teacher.freeze()
    before = bits(teacher.state_dict())
    shown = [Batch(0, b.x, b.truth, {"fc": teacher(b.x)[0]}) for b in batches(4)]
    train(student, shown, Objective(0.5, output="fc", teacher_output="fc"))
    assert bits(teacher.state_dict()) == before
    assert student.state["bn1.num_batches_tracked"] == 4


def test_a_training_that_diverges_leaves_state_as_it_was():
    net = network()
    net.params["fc.weight"][...] = np.inf
    before = bits(net.state)
    with np.errstate(all="ignore"), pytest.raises(training.Diverged):
        train(net)
    assert bits(net.state) == before


# State on its way


def test_state_starts_as_pytorchs_and_has_its_names():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(3).state_dict()
    ours = {k.removeprefix("bn1."): a for k, a in network().state_dict().items() if "bn1." in k}
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value.numpy())
        assert ours[key].shape == tuple(value.shape)
    assert set(network().state_dict()) - {f"bn1.{key}" for key in theirs} == {
        *("conv1.weight", "conv1.bias", "conv2.weight", "fc.weight", "fc.bias"),
    }


def trained(seed=1):
    net = network(seed)
    train(net)
    return net


@pytest.mark.parametrize("counted", [True, False])
def test_load_takes_state_with_and_without_the_number_of_batches(counted):
    net, values = network(), dict(trained().state_dict())
    net.state["bn1.num_batches_tracked"][...] = 7
    if not counted:
        del values["bn1.num_batches_tracked"]
    net.load(values)
    count = 3 if counted else 0
    assert_equal_bits(net.state_dict(), values | {"bn1.num_batches_tracked": np.array(count)})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bn1.running_mean": None}, r"weights lack \['bn1\.running_mean'\], and have \[\]"),
        ({"bn2.running_mean": np.zeros(3)}, r"lack \[\], and have \['bn2\.running_mean'\]"),
        ({"bn2.num_batches_tracked": np.array(0)}, r"have \['bn2\.num_batches_tracked'\]"),
        ({"bn1.running_var": np.ones(1)}, r"bn1\.running_var has shape \(1,\), expected \(3,\)"),
        ({"bn1.running_var": np.full(3, np.nan)}, "bn1.running_var holds values that are not fin"),
    ],
)
def test_state_that_does_not_fit_is_refused_and_nothing_is_changed(wrong, message):
    net, values = network(), dict(trained().state_dict()) | wrong
    before = bits(net.state_dict())
    with pytest.raises(ValueError, match=message):
        net.load({key: value for key, value in values.items() if value is not None})
    assert bits(net.state_dict()) == before


@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
def test_astype_copies_state_and_shares_nothing(dtype):
    net = trained()
    other = net.astype(dtype)
    for key, value in net.state_dict().items():
        copied = other.state_dict()[key]
        assert copied.dtype == (np.int64 if key.endswith("tracked") else dtype)
        np.testing.assert_array_equal(copied, value)
        assert not np.shares_memory(copied, value)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_holds_state_too(tmp_path, suffix):
    net, other, path = trained(), network(2), tmp_path / f"net{suffix}"
    weights.save_weights(path, net.state_dict())
    other.load(weights.load_weights(path))
    assert bits(other.state_dict()) == bits(net.state_dict())
    np.testing.assert_array_equal(other(images())[0], net(images())[0])


# What is run as one is what it says


class Leaky(Function):
    """Whose own call does otherwise than its op."""

    def __call__(self, x, params):
        y, _ = ops.relu(x)
        return y + 0.1 * (x - y), None


@pytest.mark.parametrize("before", [Conv2d(2, 3, 3), BatchNorm(2)])
def test_a_layer_of_ones_own_is_not_taken_for_a_relu(before):
    net = Network({"before": before, "leaky": Leaky(ops.relu), "fc": Conv2d(3, 1, 1)}, (2, 4, 5), 0)
    outputs, _ = net.features(images(), ["leaky"])
    assert outputs["leaky"].min() < 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(4, takes=("a", "b")), "BatchNorm: takes .*, expected the name of one"),
        (lambda: Conv2d(4, 4, 1, takes=("a", "b")), "Conv2d: takes .*, expected the name of one"),
        (lambda: Add("a", None), "Add: takes .*, expected names of layers"),
        (lambda: Concat(), "Concat: no layers are named"),
        (lambda: BatchNorm(4, epsilon=-0.5), "BatchNorm: epsilon is -0.5, expected"),
        (lambda: BatchNorm(4, momentum=2), "BatchNorm: momentum is 2, expected"),
        (lambda: Network({"r": Function(ops.relu)}, (1, 2, 2), 0), "have no parameters"),
    ],
)
def test_layers_that_cannot_work_are_refused_as_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_norm_of_other_channels_is_refused_in_every_pass():
    net = Network({"conv": Conv2d(2, 4, 3), "bn": BatchNorm(1)}, (2, 4, 5), 0)
    for mode in (False, True):
        with pytest.raises(ValueError, match=r"batch_norm: w has shape \(1,\), expected \(4,\)"):
            net.features(images(), ["bn"], training=mode)


class Misnamed:
    """Gives a gradient, or state, by a name that it has not announced."""

    def __init__(self, wrong):
        self.shapes, self.wrong = {"weight": (1,)}, wrong
        self.state = {"seen": np.array(0)}

    def __call__(self, x, params):
        return x, lambda dy, need_dx=True: (dy, {"w" if self.wrong == "w" else "weight": dy.sum()})

    def train(self, x, params, rng):
        y, backward = self(x, params)
        return y, backward, {"saw" if self.wrong == "saw" else "seen": params["seen"] + 1}


def test_what_a_layer_of_ones_own_gives_is_what_it_announced():
    net = Network({"own": Misnamed("w")}, (2, 4, 5), 0)
    y, backward = net(images())
    with pytest.raises(
        ValueError, match=r"the gradients of own are \['w'\], expected \['weight'\]"
    ):
        backward(y)
    net = Network({"own": Misnamed("saw")}, (2, 4, 5), 0)
    with pytest.raises(ValueError, match=r"the state of own are \['saw'\], expected \['seen'\]"):
        net.features(images(), ["own"], training=True)
