"""Wrong programs in JAX: known faults as people write them there.

    for program in WRONG_PROGRAMS: …    # number, faults, subject, run(case)

As in `wrong_programs`, nothing here comes from npkd: what a fault does is what JAX makes of it. The
right programs are `npkd.validate.recording.jax.results`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.verdicts.programs import UNLISTED, Arrays, Program, WrongProgram
from npkd.validate import Case

WRONG_PROGRAMS: list[WrongProgram] = []
Function = Callable[..., Any]


# Skeletons


def of_op(case: Case, function: Function) -> Arrays:
    """An operation, and its gradients."""
    forward, _ = case.operations
    inputs = {name: jnp.asarray(case.inputs[name]) for name in forward.inputs}
    y, pullback = jax.vjp(lambda *x: function(*x, **forward.options), *inputs.values())
    gradients = pullback(jnp.asarray(case.inputs["dy"]))
    named = {f"d{name}": dx for name, dx in zip(inputs, gradients, strict=True)}
    return {name: np.asarray(x) for name, x in ({"y": y} | named).items()}


def of_loss(case: Case, function: Function) -> Arrays:
    """A loss, and its gradient by the student; once, or for several batches."""
    found = {}
    trained = next(iter(case.operations[0].inputs))
    batch_size = max(len(case.inputs[one.inputs[trained]]) for one in case.operations)
    for operation in case.operations:
        given = {name: jnp.asarray(case.inputs[at]) for name, at in operation.inputs.items()}
        student, *others = given.values()
        options = dict(operation.options)
        if function is sum_over_batch_size:
            options["batch_size"] = batch_size
        value, gradient = jax.value_and_grad(function)(student, *others, **options)
        found |= {operation.outputs["value"]: value, operation.outputs["gradient"]: gradient}
    return {name: np.asarray(x) for name, x in found.items()}


def of_sgd(case: Case, update: Function) -> Arrays:
    """Updates by given gradients."""
    found: Arrays = {}
    theta = {name: jnp.asarray(case.inputs[name]) for name in ("weight", "bias")}
    v = {name: jnp.zeros_like(x) for name, x in theta.items()}
    updates = [o.options for o in case.operations if o.outputs["theta"].endswith("/weight")]
    for step, constants in enumerate(updates, 1):
        for name in theta:
            g = jnp.asarray(case.inputs[f"step{step}/{name}.grad"])
            theta[name], v[name] = update(theta[name], g, v[name], **constants)
            found[f"step{step}/{name}"] = np.asarray(theta[name])
    return found


SKELETONS: dict[str, Callable[[Case, Function], Arrays]] = {
    **dict.fromkeys(("conv2d", "linear", "max_pool2d", "relu", "flatten"), of_op),
    **dict.fromkeys(("kl", "soft_cross_entropy", "cross_entropy", "l2", "l1"), of_loss),
    "sgd": of_sgd,
}


def wrong(number: int, *faults: str, subject: str) -> Callable[[Function], Function]:
    """Enters a function in the place of the right one of a subject."""

    def enter(function: Function) -> Function:
        run: Program = partial(SKELETONS[subject], function=function)
        if subject == "sgd":
            run = partial(of_sgd, update=function)
        about = function.__name__.replace("_", " ") + ", JAX"
        WRONG_PROGRAMS.append(WrongProgram(number, faults, subject, about, run))
        return function

    return enter


# Losses


def log_softmax(logits, temperature=1.0, axis=-1):
    return jax.nn.log_softmax(logits / temperature, axis)


@wrong(
    1,
    "KL averaged over all entries, reduction mean for batchmean: C times too small",
    subject="kl",
)
def kl_by_mean(student, teacher, temperature=1.0):
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return jnp.mean(jnp.exp(log_p) * (log_p - log_q)) * temperature**2


@wrong(2, "factor T² missing", subject="kl")
def kl_without_t2(student, teacher, temperature=1.0):
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q)) / len(student)


@wrong(3, "probabilities given as log-probabilities", subject="kl")
def kl_of_probabilities(student, teacher, temperature=1.0):
    q, p = (jax.nn.softmax(z / temperature) for z in (student, teacher))
    return jnp.sum(p * (jnp.log(p) - q)) / len(student) * temperature**2


@wrong(4, "KL reversed", subject="kl")
def kl_of_student_to_teacher(student, teacher, temperature=1.0):
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return jnp.sum(jnp.exp(log_q) * (log_q - log_p)) / len(student) * temperature**2


@wrong(10, "softmax over the batch", subject="soft_cross_entropy")
def soft_cross_entropy_over_batch(student, teacher, temperature=1.0):
    log_q = log_softmax(student, temperature, axis=0)
    p = jax.nn.softmax(teacher / temperature, axis=0)
    return -jnp.sum(p * log_q) / len(student) * temperature**2


@wrong(11, "double softmax", subject="cross_entropy")
def cross_entropy_of_a_net_that_ends_in_softmax(logits, labels):
    log_q = log_softmax(jax.nn.softmax(logits))
    return -jnp.mean(jnp.take_along_axis(log_q, labels[:, None], axis=1))


@wrong(UNLISTED, "temperature for the student alone", subject="kl")
def kl_of_a_teacher_without_temperature(student, teacher, temperature=1.0):
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q)) / len(student) * temperature**2


@wrong(UNLISTED, "teacher's logits as targets of cross-entropy", subject="soft_cross_entropy")
def cross_entropy_to_logits(student, teacher, temperature=1.0):
    return -jnp.sum(teacher * log_softmax(student)) / len(student)


@wrong(UNLISTED, "label smoothing left on", subject="cross_entropy")
def cross_entropy_with_smoothing(logits, labels):
    classes = logits.shape[1]
    targets = 0.9 * jax.nn.one_hot(labels, classes) + 0.1 / classes
    return -jnp.mean(jnp.sum(targets * log_softmax(logits), axis=1))


@wrong(UNLISTED, "teacher's rows shifted by one", subject="l2")
def l2_to_the_row_before(student, teacher):
    return 0.5 * jnp.sum((student - jnp.roll(teacher, 1, axis=0)) ** 2) / len(student)


@wrong(31, "½ missing in L2", subject="l2")
def l2_without_half(student, teacher):
    return jnp.sum((student - teacher) ** 2) / len(student)


@wrong(31, "mse_loss as it comes: ½ missing, and an elementwise mean", subject="l2")
def mean_of_squares(student, teacher):
    return jnp.mean((student - teacher) ** 2)


@wrong(
    31,
    "elementwise mean for the mean over the batch: C times too small",
    subject="l2",
)
def l2_by_elements(student, teacher):
    return jnp.mean(0.5 * (student - teacher) ** 2)


@wrong(32, "student detached: no gradient", subject="l2")
def l2_of_stopped_gradient(student, teacher):
    return 0.5 * jnp.sum((lax.stop_gradient(student) - teacher) ** 2) / len(student)


@wrong(32, "slope 1 of L1 at 0", subject="l1")
def l1_as_jax_has_it(student, teacher):
    return jnp.sum(jnp.abs(student - teacher)) / len(student)


@wrong(33, "ragged last batch divided by the size of a whole one", subject="l2")
def sum_over_batch_size(student, teacher, batch_size):
    return 0.5 * jnp.sum((student - teacher) ** 2) / batch_size


# Layers


def convolution(x, w, b, padding, stride=1, layout=("NCHW", "OIHW", "NCHW")):
    strides = (stride, stride)
    y = lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=layout)
    return y if b is None else y + b[:, None, None]


def on_all_sides(padding):
    return [(padding, padding)] * 2


@wrong(13, "padding SAME of the other kind at a stride: odd cell below and right", subject="conv2d")
def conv2d_padded_by_name(x, w, b=None, *, stride=1, padding=0):
    return convolution(x, w, b, "SAME" if padding else "VALID", stride)


@wrong(16, "kernel flipped: convolution for correlation", subject="conv2d")
def conv2d_of_flipped_kernels(x, w, b=None, *, stride=1, padding=0):
    return convolution(x, jnp.flip(w, (2, 3)), b, on_all_sides(padding), stride)


@wrong(17, "weight layout transposed: read as (kh, kw, in, out)", subject="conv2d")
def conv2d_of_hwio(x, w, b=None, *, stride=1, padding=0):
    out, channels, height, width = w.shape
    w = w.reshape(height, width, channels, out)
    return convolution(x, w, b, on_all_sides(padding), stride, ("NCHW", "HWIO", "NCHW"))


@wrong(17, "weight layout transposed: read as (in, out)", subject="linear")
def linear_of_kernel(x, w, b=None):
    y = x @ w.reshape(w.shape[::-1])
    return y if b is None else y + b


@wrong(18, "flattened as (N, H, W, C)", subject="flatten")
def flatten_with_channels_last(x):
    return jnp.moveaxis(x, 1, 3).reshape(len(x), -1)


def windows_of(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The cells of each window (N, C, kh·kw, Ho, Wo)."""
    axes = []
    both = (
        np.broadcast_to(size, 2).tolist()
        for size in (kernel_size, stride or kernel_size, padding, dilation)
    )
    for size, k, s, p, d in zip(x.shape[2:], *both, strict=True):
        to_go = size + 2 * p - d * (k - 1) - 1
        count = (math.ceil if ceil_mode else math.floor)(to_go / s) + 1
        count -= ceil_mode and (count - 1) * s >= size + p
        axes.append([np.arange(count) * s + i * d - p for i in range(k)])
    rows, columns = axes
    far = max(np.max(rows), np.max(columns)) + 1
    padded = jnp.pad(x, ((0, 0), (0, 0), (far, far), (far, far)), constant_values=-jnp.inf)
    return jnp.stack([padded[:, :, r + far][:, :, :, c + far] for r in rows for c in columns], 2)


@wrong(19, "gradient at max ties: shared equally", subject="max_pool2d")
def max_pool2d_by_max(x, *args, **options):
    return windows_of(x, *args, **options).max(axis=2)


@wrong(20, "relu'(0) = ½", subject="relu")
def relu_by_maximum(x):
    return jnp.maximum(x, 0)


@wrong(20, "relu'(0) = 1", subject="relu")
def relu_by_where(x):
    return jnp.where(x >= 0, x, 0)


# The update


@wrong(21, "momentum with the learning rate inside", subject="sgd")
def rate_inside_the_momentum(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v - lr * (g + weight_decay * theta)
    return theta + v, v


@wrong(21, "momentum with a factor (1 − μ)", subject="sgd")
def momentum_as_a_running_mean(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + (1 - momentum) * (g + weight_decay * theta)
    return theta - lr * v, v


@wrong(21, "Nesterov's momentum", subject="sgd")
def nesterov(theta, g, v, lr, momentum, weight_decay):
    g = g + weight_decay * theta
    v = momentum * v + g
    return theta - lr * (g + momentum * v), v


@wrong(UNLISTED, "velocity lost from step to step, or no momentum", subject="sgd")
def a_state_that_is_not_carried_on(theta, g, v, lr, momentum, weight_decay):
    v = momentum * jnp.zeros_like(v) + (g + weight_decay * theta)
    return theta - lr * v, v


@wrong(22, "weight decay past the velocity, times the rate", subject="sgd")
def decay_added_behind_the_trace(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + g
    return theta - lr * (v + weight_decay * theta), v


@wrong(23, "biases not decayed", subject="sgd")
def decay_under_a_mask(theta, g, v, lr, momentum, weight_decay):
    v = momentum * v + (g + weight_decay * theta if theta.ndim > 1 else g)
    return theta - lr * v, v


# Precision


def _rounded(x):
    return x.astype(jnp.bfloat16).astype(jnp.float32)


@jax.custom_vjp
def _rounded_on_the_way_back(y):
    return y


_rounded_on_the_way_back.defvjp(lambda y: (y, None), lambda _, dy: (_rounded(dy),))


@jax.custom_vjp
def _factor(x):
    return _rounded(x)


_factor.defvjp(lambda x: (_rounded(x), None), lambda _, dx: (dx,))


@wrong(30, "bfloat16", subject="conv2d")
def conv2d_as_tpus_have_it(x, w, b=None, *, stride=1, padding=0):
    y = convolution(_factor(x), _factor(w), None, on_all_sides(padding), stride)
    y = _rounded_on_the_way_back(y)
    return y if b is None else y + b[:, None, None]


@wrong(30, "bfloat16", subject="linear")
def linear_as_tpus_have_it(x, w, b=None):
    y = _rounded_on_the_way_back(_factor(x) @ _factor(w).T)
    return y if b is None else y + b
