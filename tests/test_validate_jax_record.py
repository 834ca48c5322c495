"""What JAX is recorded to do is what its operations say, and is rounded once for each of them.

Every recorded operation is computed anew here in float64, by NumPy and `npkd.ops`, on the inputs
that were recorded with it.
"""

import functools

import numpy as np
import pytest

from npkd import ops

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from npkd.objectives import Objective, Term  # noqa: E402
from npkd.validate import judge  # noqa: E402
from npkd.validate.frameworks import jax as asked_jax  # noqa: E402
from npkd.validate.questions.subjects import cases  # noqa: E402
from npkd.validate.recording import jax as in_jax  # noqa: E402


def of_npkd(name):
    def forward(x, options):
        return {"y": getattr(ops, name)(*x.values(), **options)[0]}

    def backward(x, options):
        *arrays, dy = x.values()
        found = getattr(ops, name)(*arrays, **options)[1](dy)
        found = found if isinstance(found, tuple) else (found,)
        return dict(zip(("dx", "dw", "db"), found, strict=False))

    return {name: forward, f"{name}_backward": backward}


def over_broadcast(gradient, shape):
    """The gradient by what was broadcast from this shape."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    axes = tuple(i for i, size in enumerate(shape) if size < gradient.shape[i])
    return gradient.sum(axis=axes, keepdims=True)


def elementwise(name, function, *slopes):
    """The op y = function(a, b) or function(x), with its slopes by each."""

    def backward(x, options):
        *arrays, dy = x.values()
        letters = list(x)[:-1]
        gradients = {}
        for letter, slope, array in zip(letters, slopes, arrays, strict=True):
            gradients[f"d{letter}"] = over_broadcast(dy * slope(*arrays), array.shape)
        return gradients

    return {
        name: lambda x, options: {"y": function(*x.values())},
        f"{name}_backward": backward,
    }


def moved(x, options):
    entries = [array.ravel() for array in x.values()]
    return {"y": np.concatenate([*entries, [options["fill"]]])[options["index"]]}


def moved_back(x, options):
    *arrays, dy = x.values()
    sums = np.zeros(sum(array.size for array in arrays) + 1)
    np.add.at(sums, options["index"].ravel(), dy.ravel())
    ends = np.cumsum([array.size for array in arrays])
    parts = np.split(sums[:-1], ends[:-1])
    return {
        f"dx{i}": part.reshape(array.shape)
        for i, (part, array) in enumerate(zip(parts, arrays, strict=True), 1)
    }


def spread(x, options):
    shape = [1 if axis in options["axes"] else size for axis, size in enumerate(x["x"].shape)]
    return {"dx": np.broadcast_to(x["dy"].reshape(shape), x["x"].shape)}


FORMULAS = {
    **of_npkd("conv2d"),
    **of_npkd("linear"),
    **of_npkd("avg_pool2d"),
    **of_npkd("max_pool2d"),
    **of_npkd("relu"),
    **of_npkd("sigmoid"),
    **of_npkd("tanh"),
    **elementwise("add", np.add, lambda a, b: 1.0, lambda a, b: 1.0),
    **elementwise("subtract", np.subtract, lambda a, b: 1.0, lambda a, b: -1.0),
    **elementwise("multiply", np.multiply, lambda a, b: b, lambda a, b: a),
    **elementwise("divide", np.divide, lambda a, b: 1 / b, lambda a, b: -a / b**2),
    **elementwise(
        "maximum",
        np.maximum,
        lambda a, b: (a > b) + 0.5 * (a == b),
        lambda a, b: (a < b) + 0.5 * (a == b),
    ),
    **elementwise("exp", np.exp, np.exp),
    **elementwise("log", np.log, np.reciprocal),
    **elementwise("negative", np.negative, lambda x: -1.0),
    **elementwise("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "sum_over": lambda x, options: {"y": x["x"].sum(axis=options["axes"])},
    "sum_over_backward": spread,
    "move": moved,
    "move_backward": moved_back,
    "copy": lambda x, options: {"y": x["x"]},
    "sum": lambda x, options: {"y": sum(x.values()) / options.get("divisor", 1)},
}


def largest(array):
    """The largest of its finite sizes."""
    size = np.abs(np.asarray(array, np.float64))
    return float(np.max(size, initial=0.0, where=np.isfinite(size)))


def recomputed(case, results):
    """For each tensor that was recorded: its operation, what was found, and what it should be.

    And the size that rounding is relative to, as sums may cancel: that of the result, or of dy.
    """
    own = {}
    for operation in case.operations:
        if operation.op == "unknown":
            continue
        inputs = {}
        for name, tensor in operation.inputs.items():
            given = case.inputs if tensor in case.inputs else results
            array = given[tensor] if tensor in given else own[tensor]
            inputs[name] = np.asarray(array).astype(np.float64)
        made = FORMULAS[operation.op](inputs, operation.options)
        for name, tensor in operation.outputs.items():
            if tensor in results:
                size = max(largest(made[name]), largest(inputs.get("dy", 0.0)))
                yield operation, results[tensor], made[name], size
            else:
                own[tensor] = made[name]


def require_right(case, results, relative=1e-4):
    assert case.needed == results.keys()
    assert not results.keys() & case.inputs.keys()
    assert results.keys() <= set(case.tensors())
    seen = set()
    for operation, found, expected, size in recomputed(case, results):
        assert found.shape == np.shape(expected), operation
        assert np.array_equal(np.isinf(found), np.isinf(expected)), operation
        with np.errstate(invalid="ignore"):
            error = np.where(found == expected, 0.0, np.abs(found - expected))
        assert largest(error) <= relative * size, operation
        seen.add(operation.op)
    return seen


def ops_of(case):
    return [operation.op for operation in case.operations]


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


IMAGES = ("NHWC", "HWIO", "NHWC")


def residual_net(params, x):
    """Images (N, H, W, C), SAME at stride 2, pools, a residual connection, log-softmax."""
    with jax.named_scope("conv1"):
        y = jax.lax.conv_general_dilated(
            x, params["conv1"]["kernel"], (2, 2), "SAME", dimension_numbers=IMAGES
        )
        y = jax.nn.relu(y + params["conv1"]["bias"])
    z = jax.lax.conv_general_dilated(
        y, params["conv2"]["kernel"], (1, 1), "SAME", dimension_numbers=IMAGES
    )
    y = y + jax.nn.relu(z)
    y = jax.lax.reduce_window(y, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "SAME")
    return jax.nn.log_softmax(y.reshape(len(y), -1) @ params["fc"])


def residual_arguments():
    rng = np.random.default_rng(1)
    params = {
        "conv1": {"kernel": normal(rng, 3, 3, 3, 4), "bias": normal(rng, 4)},
        "conv2": {"kernel": normal(rng, 3, 3, 4, 4)},
        "fc": normal(rng, 2 * 3 * 4, 5),
    }
    return params, normal(rng, 5, 8, 12, 3)


@jax.jit
def plain_net(params, x):
    """The same kind in (N, C, H, W), compiled as one by its author."""
    kernel, matrix, bias = params
    y = jax.nn.relu(jax.lax.conv(x, kernel, (1, 2), "VALID"))
    return (y.reshape(len(y), -1) @ matrix.T + bias) ** 2


def plain_arguments():
    rng = np.random.default_rng(2)
    params = normal(rng, 4, 3, 3, 2), normal(rng, 6, 4 * 4 * 3), normal(rng, 6)
    return params, normal(rng, 5, 3, 6, 7)


@functools.cache
def recorded(net):
    arguments = residual_arguments() if net is residual_net else plain_arguments()
    return arguments, *in_jax.record(net, *arguments, rng=0)


def test_a_net_of_images_by_rows_is_recorded_as_it_is():
    _, case, found = recorded(residual_net)
    require_right(case, found)
    backward = {"conv2d_backward", "linear_backward", "max_pool2d_backward", "relu_backward"}
    assert backward <= set(ops_of(case))
    assert {"params.conv1.kernel", "params.conv1.bias", "x"} <= case.inputs.keys()
    assert found["gradient of params.conv1.kernel"].shape == (3, 3, 3, 4)
    assert any(operation.name.startswith("conv1/") for operation in case.operations)
    (pool,) = (o for o in case.operations if o.op == "avg_pool2d")
    assert pool.options["kernel_size"] == (2, 2)


def test_a_compiled_net_is_taken_apart_and_needs_no_moves_of_its_images():
    _, case, found = recorded(plain_net)
    require_right(case, found)
    (convolution,) = (o for o in case.operations if o.op == "conv2d")
    assert convolution.inputs == {"x": "x", "w": "params.0"}
    assert "unknown" not in ops_of(case)


@pytest.mark.parametrize("net", [residual_net, plain_net])
def test_values_and_gradients_are_those_of_jax(net):
    arguments, case, found = recorded(net)

    @jax.jit
    def differentiated(params, x, upstream):
        outputs, pullback = jax.vjp(net, params, x)
        return outputs, pullback(upstream)

    outputs, (of_params, _) = differentiated(*arguments, case.inputs["upstream gradient"])
    leaves = jax.tree_util.tree_flatten_with_path(of_params)[0]
    for path, gradient in leaves:
        name = ".".join(["params", *(str(getattr(k, "key", getattr(k, "idx", k))) for k in path)])
        np.testing.assert_allclose(
            found[f"gradient of {name}"], gradient, rtol=0, atol=1e-5 * largest(gradient)
        )
    close = 1e-5 * largest(outputs)
    assert any(
        array.shape == outputs.shape and np.allclose(array, outputs, rtol=0, atol=close)
        for array in found.values()
    )


def test_gradients_of_the_uses_of_a_tensor_add_up_to_its_gradient():
    def function(x):
        return x * x + jnp.exp(x) - x

    x = normal(np.random.default_rng(3), 4, 6)
    case, found = in_jax.record(function, x, rng=0)
    require_right(case, found)
    (total,) = (o for o in case.operations if o.op == "sum")
    assert total.outputs == {"y": "gradient of x"}
    assert len(total.inputs) == 4  # twice in x·x
    parts = [found[name].astype(np.float64) for name in total.inputs.values()]
    np.testing.assert_allclose(sum(parts), found["gradient of x"], rtol=1e-5, atol=1e-5)


def test_relu_by_jax_is_a_relu_and_the_maximum_with_0_is_another_thing():
    x = np.array([[-1.0, 0.0, 2.0]], np.float32)

    def relu(x):
        return jax.nn.relu(x)

    def maximum(x):
        return jnp.maximum(x, 0)

    case, found = in_jax.record(relu, x, rng=0)
    assert ops_of(case) == ["relu", "relu_backward"]
    assert found["gradient of x"][0, 1] == 0
    require_right(case, found)
    case, found = in_jax.record(maximum, x, rng=0)
    assert ops_of(case) == ["maximum", "maximum_backward"]
    assert found["gradient of x"][0, 1] == case.inputs["upstream gradient"][0, 1] / 2
    require_right(case, found)


def test_operations_are_not_fused_so_that_each_is_rounded_once():
    """A fused multiply-add would leave the rounding of x·y out, which is all that is here."""
    rng = np.random.default_rng(4)
    x, y = normal(rng, 2, 1000)

    def function(x, y, z):
        return x * y - z, (x * y - z) * x

    case, found = in_jax.record(function, x, y, x * y, rng=0)
    for operation, one, expected, _ in recomputed(case, found):
        assert np.all(np.abs(one - expected) <= 2.0**-24 * np.abs(expected)), operation


def test_layouts_dilations_groups_and_sides_of_convolutions():
    rng = np.random.default_rng(5)

    def rows(x, w):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (2,),
            [(1, 2)],
            lhs_dilation=(2,),
            rhs_dilation=(2,),
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=2,
        )

    def transposed(x, w):
        return jax.lax.conv_transpose(x, w, (2, 2), "SAME")

    def cropped(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), [(-1, 0), (2, -1)], dimension_numbers=("HWNC", "OIHW", "CNHW")
        )

    for function, *shapes in (
        (rows, (2, 9, 4), (3, 2, 4)),
        (transposed, (2, 3, 5, 4), (2, 3, 4, 5)),
        (cropped, (6, 7, 2, 3), (4, 3, 2, 3)),
    ):
        case, found = in_jax.record(function, *(normal(rng, *shape) for shape in shapes), rng=0)
        assert {"conv2d", "conv2d_backward"} <= require_right(case, found)
        assert "unknown" not in ops_of(case)


def test_moves_are_recorded_as_the_places_that_numbers_come_from():
    rng = np.random.default_rng(6)

    def function(x, labels, mask):
        a, b = jnp.split(x, 2, axis=1)
        y = jnp.concatenate([a, jnp.where(mask, b, 0.0)], axis=1)[:, ::-1]
        y = jnp.pad(y, ((0, 1), (1, 2))).T
        y = jnp.stack([y, y]).sum(axis=0) + jnp.tile(y[:, :1], (1, y.shape[1]))
        return y[2:8:2], jnp.take_along_axis(x, labels[:, None], axis=1), x.max(axis=1)

    x, labels = normal(rng, 5, 8), np.arange(5)
    case, found = in_jax.record(function, x, labels, rng.random((5, 4)) < 0.5, rng=0)
    assert {"move", "move_backward", "sum_over", "sum"} <= require_right(case, found)
    unknown = {o.options["function"] for o in case.operations if o.op == "unknown"}
    assert not unknown & {"gather", "select_n", "concatenate", "split", "pad", "reduce_max"}


def test_powers_and_roots_are_products_and_quotients():
    def function(x):
        return x**2 + x**3 + x**-2 + 1 / x + jax.lax.rsqrt(x) + jnp.sqrt(x)

    x = np.random.default_rng(7).uniform(0.5, 2, (4, 5)).astype(np.float32)
    case, found = in_jax.record(function, x, rng=0)
    assert {"multiply", "divide", "sqrt_backward"} <= require_right(case, found)
    assert "unknown" not in ops_of(case)


def test_what_is_not_known_is_named_and_taken_as_it_is():
    def function(key, x):
        return jnp.sin(x) * jax.random.uniform(key, x.shape)

    x = normal(np.random.default_rng(8), 3, 4)
    case, found = in_jax.record(function, jax.random.key(0), x, rng=0)
    require_right(case, found)
    unknown = {o.options["function"] for o in case.operations if o.op == "unknown"}
    assert {"sin", "sin backward", "random_bits"} <= unknown


def test_sigmoids_and_what_is_made_of_them_are_read():
    def function(x):
        return jax.nn.silu(x) + jnp.tanh(x) + jax.nn.sigmoid(x)

    case, found = in_jax.record(function, normal(np.random.default_rng(8), 3, 4), rng=0)
    assert {"sigmoid", "tanh", "sigmoid_backward", "tanh_backward"} <= require_right(case, found)
    assert "unknown" not in ops_of(case)


def test_a_function_without_fault_is_found_to_be_right():
    report = in_jax.jax_function(residual_net, *residual_arguments())
    assert report.ok, str(report)
    probes = [one for one in report.verdicts if one.exact and one.op == "conv2d"]
    assert len(probes) == 4  # two convolutions, each exact and of a wide range


def test_a_wrong_rule_of_ones_own_is_found():
    @jax.custom_jvp
    def leaky(x):
        return jnp.maximum(x, 0.0)

    @leaky.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return leaky(x), jnp.where(x > 0, dx, 0.1 * dx)

    report = in_jax.jax_function(lambda x: leaky(x), normal(np.random.default_rng(9), 4, 6))
    assert not report.ok
    assert report.first.op == "relu_backward"


T = 3.0


def small_net(params, x):
    y = jax.nn.relu(jax.lax.conv(x, params["kernel"], (1, 1), "VALID"))
    return y.reshape(len(y), -1) @ params["matrix"] + params["bias"]


def step_of(factor):
    """An update by 0.3 · cross-entropy + 0.7 · factor · KL, with momentum."""

    def loss_of(params, x, teacher, labels):
        logits = small_net(params, x)
        log_p, log_q = (jax.nn.log_softmax(z / T) for z in (teacher, logits))
        soft = (jnp.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
        hard = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
        return 0.3 * hard + 0.7 * factor * soft

    @jax.jit
    def update(params, velocity, x, teacher, labels):
        loss, grads = jax.value_and_grad(loss_of)(params, x, teacher, labels)
        velocity = jax.tree_util.tree_map(lambda v, g: 0.9 * v + g, velocity, grads)
        params = jax.tree_util.tree_map(lambda theta, v: theta - 0.1 * v, params, velocity)
        return params, velocity, loss

    return update


def judged_step(factor, counts):
    rng = np.random.default_rng(10)
    params = {
        "kernel": normal(rng, 4, 3, 3, 2) / 4,
        "matrix": normal(rng, 4 * 3 * 4, 7) / 8,
        "bias": normal(rng, 7) / 8,
    }
    batches = [
        (normal(rng, count, 3, 5, 5), normal(rng, count, 7), rng.integers(0, 7, count))
        for count in counts
    ]
    return in_jax.jax_step(
        step_of(factor),
        params,
        jax.tree_util.tree_map(np.zeros_like, params),
        batches,
        apply=small_net,
        objective=Objective(0.3, terms=[Term("kl", options={"temperature": T})]),
        lr=0.1,
        momentum=0.9,
    )


def test_a_wrong_backward_pass_of_ones_own_does_not_pass():
    @jax.custom_vjp
    def relu(x):
        return jnp.maximum(x, 0)

    relu.defvjp(lambda x: (jnp.maximum(x, 0), x), lambda x, dy: (dy * (x > -0.5),))
    report = in_jax.jax_function(lambda x: relu(x * 2.0), jnp.linspace(-1.0, 1.0, 12))
    assert not report.ok
    assert report.first.op == "own_backward"


def test_a_right_training_step_is_found_to_be_right():
    report = judged_step(T * T, counts=(5, 5, 3))
    assert report.ok, str(report)
    assert len(report.verdicts) == 3 * 4  # in each step the loss and three parameters


def test_a_training_step_without_the_squared_temperature_is_named():
    report = judged_step(1.0, counts=(5, 5, 5))
    assert not report.ok
    assert report.first.operation == "step1/loss"
    (cause,) = report.causes
    assert "T²" in str(cause)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_npkds_cases_run_in_jax_are_right(dtype):
    names = ["linear", "mix kl", "sgd", "accumulation", "evaluation mode"]
    kinds = {(case.subject, case.exact): case for case in cases(np.random.default_rng(0), names)}
    report = judge((case, asked_jax.results(case, dtype=dtype)) for case in kinds.values())
    assert report.ok, str(report)
    assert {one.precision for one in report.verdicts} <= {dtype}


# Updates of other kinds


def nesterov(g, theta, state, t):
    v = 0.9 * state[0] + g
    return theta - 0.1 * (g + 0.9 * v), (v, state[1])


def adamw(g, theta, state, t):
    m, v = 0.9 * state[0] + 0.1 * g, 0.99 * state[1] + 0.01 * g * g
    step = (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.99**t)) + 1e-3)
    return theta - 0.1 * (step + 0.05 * theta), (m, v)


def plain(g, theta, state, t):
    return theta - 0.1 * g, state


def decayed(g, theta, state, t):
    return theta - 0.1 * (g + 0.1 * theta * (theta.ndim > 1)), state


def clipped(norm):
    """Gradients of a common norm, at most."""

    def change(gradients):
        squares = sum(jnp.sum(g * g) for g in gradients)
        return [g * jnp.minimum(1.0, norm / jnp.sqrt(squares)) for g in gradients]

    return change


UPDATES = {
    "Nesterov": (nesterov, list, {"momentum": 0.9, "nesterov": True}),
    "AdamW": (
        adamw,
        list,
        {
            "adam": {"beta2": 0.99, "epsilon": 1e-3, "decoupled": True},
            "weight_decay": 0.05,
        },
    ),
    "clipped": (plain, clipped(0.05), {"max_norm": 0.05}),
    "no decay of biases": (
        decayed,
        list,
        {"weight_decay": lambda name: 0.0 if name == "params.b" else 0.1},
    ),
}


def judged_update(one, change, declared):
    """The report on three steps, each parameter's update by `one`, gradients by `change` before."""
    rng = np.random.default_rng(3)
    params = {"w": normal(rng, 4, 6), "b": normal(rng, 6)}
    batches = [(normal(rng, 5, 4), normal(rng, 5, 6)) for _ in range(3)]

    def apply(params, x):
        return x @ params["w"] + params["b"]

    def loss_of(params, x, y):
        return ((apply(params, x) - y) ** 2).sum() / (2 * len(x))

    def update(params, state, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
        names, t = sorted(params), state["t"] + 1
        changed = dict(zip(names, change([gradients[n] for n in names]), strict=True))
        made = {n: one(changed[n], params[n], state[n], t) for n in names}
        params = {n: made[n][0] for n in names}
        return params, {"t": t} | {n: made[n][1] for n in names}, loss

    state = {"t": 0} | {n: (np.zeros_like(p), np.zeros_like(p)) for n, p in params.items()}
    given = {"apply": apply, "objective": Objective(0.0), "lr": 0.1} | declared
    return in_jax.jax_step(update, params, state, batches, **given)


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_that_is_declared_is_judged(name):
    report = judged_update(*UPDATES[name])
    assert report.ok, str(report)
    assert len(report.verdicts) == 3 * 3


@pytest.mark.parametrize("name", UPDATES)
def test_another_update_than_the_declared_one_is_a_bug(name):
    _, _, declared = UPDATES[name]
    assert judged_update(plain, list, declared).first is not None


def test_an_update_of_no_known_kind_is_not_judged():
    report = judged_update(adamw, list, {"lr": None})
    assert report.first is None
    assert len(report.asked) == 3
    assert len(report.verdicts) == 3
