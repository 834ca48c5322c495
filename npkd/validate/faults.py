"""Known faults: what a wrong program would give in the place of a right one.

A fault is a set of rules, by operation, that take the place of those in `rules.RULES`: the same
operation with another option, on another input, or followed by another step. The judge names a
fault as the cause only if it, and no other one, gives what was found on every probe.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npkd.validate.program import Arrays, Case, Operation
from npkd.validate.rounding import Arithmetic, Rounded, exact
from npkd.validate.rules import RULES, Inputs, Options, added, scaled
from npkd.validate.rules import Rule as RightRule

Results = dict[str, Rounded]


@dataclass(frozen=True)
class Context:
    """Where in its program an operation stands: what some faults depend on."""

    case: Case
    operation: Operation
    found: Arrays
    known: Mapping[str, Rounded]

    def tensor(self, name: str) -> Rounded:
        """A tensor of the program as found, or else as computed."""
        return exact(self.found[name]) if name in self.found else self.known[name]

    def alike(self) -> list[Operation]:
        """All operations of the same kind in the program, in order."""
        return [one for one in self.case.operations if one.op == self.operation.op]


Rule = Callable[[RightRule, Arithmetic, Inputs, Options, Context], Results]


@dataclass(frozen=True)
class Fault:
    """A known fault: its name, the rules by which a program that has it goes, and where it lies.

    pipeline: in how data are prepared.
    """

    name: str
    rules: Mapping[str, Rule]
    pipeline: bool = False


@dataclass(frozen=True)
class Property:
    """What a tensor must be, where no value can be expected; and the fault if it is not.

    shape(options) is its shape; check(found) says in words what is wrong, or nothing.
    """

    shape: Callable[[Options], tuple[int, ...]]
    check: Callable[[np.ndarray], str]
    fault: str


# Making rules


def options(change: Callable[[Options], dict[str, Any]] | None = None, **changes: Any) -> Rule:
    """The operation with other options."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        return right(a, x, {**given, **changes, **(change(given) if change else {})})

    return rule


def inputs(**changes: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """The operation on other inputs, each made from the right one by moving entries."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        return right(a, {**x, **_moved(x, changes)}, given)

    return rule


def _moved(x: Inputs, moves: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> Results:
    return {name: _move(x[name], move) for name, move in moves.items() if name in x}


def _move(x: Rounded, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
    error, jump = (move(np.asarray(e)) if np.ndim(e) else e for e in (x.error, x.jump))
    return replace(x, value=move(x.value), error=error, jump=jump, scale=None, norm=None)


def _both(forward: Rule, backward: Rule, *ops: str) -> dict[str, Rule]:
    """Rules for operations and for their backward passes."""
    return dict.fromkeys(ops, forward) | {f"{op}_backward": backward for op in ops}


def _same(rule: Rule, *ops: str) -> dict[str, Rule]:
    return _both(rule, rule, *ops)


# Losses: every rule works on a loss alone, and on the soft loss within `mix`


def _loss(rule: Rule, *names: str) -> dict[str, Rule]:
    """A rule for losses, and for the same as the soft part of `mix`."""
    return dict.fromkeys(names, rule) | {"mix": _in_mix(rule, names)}


def _in_mix(soft: Rule, names: tuple[str, ...]) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        name = given.get("soft", "l2")
        if name not in names:
            return right(a, x, given)
        alpha, both = given["alpha"], {key: x[key] for key in ("student", "teacher")}
        hard = RULES["cross_entropy"](
            a, {"logits": x["student"], "labels": x["labels"]}, given.get("hard_options", {})
        )
        part = soft(RULES[name], a, both, given.get("soft_options", {}), at)
        return {
            key: added(a, scaled(a, 1 - alpha, hard[key]), scaled(a, alpha, part[key]))
            for key in ("value", "gradient")
        }

    return rule


def _teacher_twice(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Both sides are the teacher's: the student has no gradient."""
    results = right(a, {**x, "student": x["teacher"]}, given)
    zero = np.zeros_like(results["gradient"].value)  # but for rounding, if both are the student's
    return {**results, "gradient": replace(results["gradient"], value=zero)}


def _soft_detached(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The hard loss alone has a gradient."""
    results = right(a, x, given)
    hard = {"logits": x["student"], "labels": x["labels"]}
    gradient = RULES["cross_entropy"](a, hard, given.get("hard_options", {}))["gradient"]
    return {**results, "gradient": scaled(a, 1 - given["alpha"], gradient)}


def _ascent(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    return right(a, x, {**given, "lr": -given["lr"]})


def _rising_at_zero(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """|Δ| with the slope 1 at Δ = 0, as jnp.abs has it."""
    below = np.where(x["student"].value == x["teacher"].value, 1.0, 0.0)
    moved = replace(x["teacher"], value=x["teacher"].value - below)
    gradient = right(a, {**x, "teacher": moved}, given)["gradient"]
    return {**right(a, x, given), "gradient": gradient}


def _by_temperature(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """T where T² belongs."""
    share = 1 / given.get("temperature", 4.0)
    return {name: scaled(a, share, result) for name, result in right(a, x, given).items()}


def _of_hot_student(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The student's logits are not divided by T, which is as if they were T times as large."""
    t = given.get("temperature", 4.0)
    student = replace(x["student"], value=t * x["student"].value, error=t * x["student"].error)
    results = right(a, {**x, "student": student}, given)
    return {**results, "gradient": scaled(a, t, results["gradient"])}


def _added_up(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The hard loss and α times the soft one, without the share 1 − α."""
    hard = {"logits": x["student"], "labels": x["labels"]}
    more = RULES["cross_entropy"](a, hard, given.get("hard_options", {}))
    return {
        name: added(a, result, scaled(a, given["alpha"], more[name]))
        for name, result in right(a, x, given).items()
    }


def _by_first_batch(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """A mean over a ragged batch, divided by the size of a whole one."""
    argument = "logits" if "logits" in x else "student"
    sizes = [at.tensor(one.inputs[argument]).value.shape[0] for one in at.alike()]
    share = x[argument].value.shape[0] / max(sizes)
    results = right(a, x, given)
    return {name: scaled(a, share, result) for name, result in results.items()}


def _as_mse_loss(given: Options) -> dict[str, Any]:
    if given.get("reduction") == "elementmean":
        raise ValueError("an elementwise mean is right here")
    return {"half": False, "reduction": "elementmean"}


def _mean_of_means(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The mean over a data set as that of its batches' means, the ragged one counting as much."""
    makers = {tensor: one for one in at.case.operations for tensor in one.outputs.values()}
    means = []
    for name, tensor in at.operation.inputs.items():
        logits = at.tensor(makers[tensor].inputs["logits"]).value
        means.append(scaled(a, 1 / len(logits), x[name]))
    return {"y": scaled(a, 1 / len(means), functools.reduce(functools.partial(added, a), means))}


def _negative_gradient(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    results = right(a, x, given)
    return {**results, "gradient": scaled(a, -1.0, results["gradient"])}


def _without_gradient(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    results = right(a, x, given)
    return {**results, "gradient": Rounded(np.zeros_like(results["gradient"].value))}


DIVERGENCES = ("kl", "soft_cross_entropy")
OF_TEMPERATURE = ("kl", "soft_cross_entropy", "dkd", "dist")
OF_LOGITS = ("kl", "soft_cross_entropy", "l2", "dkd", "dist")
BATCH_MEANS = ("l2", "l1", "huber", "kl", "soft_cross_entropy", "limit")

LOSS_FAULTS = [
    Fault(
        "KL averaged over all entries, reduction mean for batchmean: C times too small",
        _loss(options(reduction="elementmean"), *DIVERGENCES),
    ),
    Fault("T where T² belongs", _loss(_by_temperature, *OF_TEMPERATURE)),
    Fault("temperature for the teacher alone", _loss(_of_hot_student, *DIVERGENCES)),
    Fault(
        "α and 1 − α exchanged",
        {"mix": options(lambda given: {"alpha": 1 - given["alpha"]})},
    ),
    Fault("share 1 − α of the labels left out", {"mix": _added_up}),
    Fault("factor T² missing", _loss(options(temperature_squared=False), *OF_TEMPERATURE)),
    Fault("probabilities given as log-probabilities", _loss(options(variant="unlogged"), "kl")),
    Fault("KL reversed", _loss(options(variant="reversed"), "kl")),
    Fault(
        "KL reversed, and probabilities given as log-probabilities",
        _loss(options(variant="reversed unlogged"), "kl"),
    ),
    Fault("one net's logits on both sides", _loss(_teacher_twice, *OF_LOGITS)),
    Fault(
        "softmax over the batch",
        _loss(options(axis=0), *DIVERGENCES) | {"cross_entropy": options(axis=0)},
    ),
    Fault(
        "double softmax",
        _loss(options(double_softmax=True), *DIVERGENCES)
        | {"cross_entropy": options(double_softmax=True)},
    ),
    Fault(
        "cross-entropy with prediction and target exchanged",
        {name: options(swapped=True) for name in ("cross_entropy", "soft_cross_entropy")},
    ),
    Fault("½ missing in L2", _loss(options(half=False), "l2")),
    Fault(
        "elementwise mean for the mean over the batch: C times too small",
        _loss(options(reduction="elementmean"), "l2", "l1", "huber", "limit"),
    ),
    Fault(
        "mse_loss as it comes: ½ missing, and an elementwise mean",
        _loss(options(_as_mse_loss), "l2"),
    ),
    Fault("slope 1 of L1 at 0", {"l1": _rising_at_zero}),
    Fault("sum for the mean over the batch", _loss(options(reduction="sum"), *BATCH_MEANS)),
    Fault(
        "sign of the gradient",
        dict.fromkeys((*BATCH_MEANS, "cross_entropy", "mix", "dkd", "dist"), _negative_gradient),
    ),
    Fault(
        "student detached: no gradient",
        dict.fromkeys((*BATCH_MEANS, "cross_entropy", "mix", "dkd", "dist"), _without_gradient),
    ),
    Fault("student detached in the soft loss", {"mix": _soft_detached}),
    Fault("sign of the update", {"sgd": _ascent}),
    Fault(
        "ragged last batch divided by the size of a whole one",
        dict.fromkeys((*BATCH_MEANS, "cross_entropy", "mix"), _by_first_batch),
    ),
    Fault("ragged last batch counted as a whole one", {"sum": _mean_of_means}),
]


# Convolution, pooling and layouts


def _same_padding(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Padding as TensorFlow's SAME has it at a stride: its odd cell below and to the right."""
    kernel, stride = x["w"].value.shape[2:], np.broadcast_to(given.get("stride", 1), 2)
    if np.all(stride == 1):
        return right(a, x, given)
    dilation = np.broadcast_to(given.get("dilation", 1), 2)
    widths = [(0, 0), (0, 0)]
    for size, k, s, d in zip(x["x"].value.shape[2:], kernel, stride, dilation, strict=True):
        total = max((math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size, 0)
        widths.append((int(total // 2), int(total - total // 2)))
    height, width = x["x"].value.shape[2:]
    (top, _), (left, _) = widths[2:]
    inner = (..., slice(top, top + height), slice(left, left + width))
    padded = {**x, "x": _move(x["x"], lambda array: np.pad(array, widths))}
    results = right(a, padded, {**given, "padding": 0})
    if "dx" in results:
        results["dx"] = _move(results["dx"], lambda array: array[inner])
    return results


def _weight(
    move: Callable[[np.ndarray], np.ndarray], back: Callable[[np.ndarray], np.ndarray]
) -> Rule:
    """The operation on a weight whose entries lie elsewhere; its gradient goes back the same way.

    `move` may need the shape of the weight that it gives, which is that of the one it takes.
    """

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, {**x, "w": _move(x["w"], move)}, given)
        if "dw" in results:
            results["dw"] = _move(results["dw"], back)
        return results

    return rule


def _flipped(w: np.ndarray) -> np.ndarray:
    return w[:, :, ::-1, ::-1]


def _transposed(w: np.ndarray) -> np.ndarray:
    """Rows and columns of each kernel exchanged."""
    if w.shape[2] != w.shape[3]:
        raise ValueError("only a square kernel can be transposed and still fit")
    return w.swapaxes(2, 3)


def _read_in_out(w: np.ndarray) -> np.ndarray:
    """A weight (O, I) whose numbers were read as if they were (I, O), and then transposed."""
    return w.reshape(w.shape[::-1]).T


def _read_out_in(w: np.ndarray) -> np.ndarray:
    """The inverse of that."""
    return np.ascontiguousarray(w.T).reshape(w.shape)


def _read_as_hwio(w: np.ndarray) -> np.ndarray:
    """A weight (O, C, kh, kw) whose numbers were read as if they were (kh, kw, C, O)."""
    o, c, height, width = w.shape
    return w.reshape(height, width, c, o).transpose(3, 2, 0, 1)


def _read_as_oihw(w: np.ndarray) -> np.ndarray:
    """The inverse of that."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(w.shape)


def _channels_last(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    return right(a, {**x, "x": _move(x["x"], lambda v: v.transpose(0, 2, 3, 1))}, given)


def _channels_last_backward(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    n, c, height, width = x["x"].value.shape

    def back(dy: np.ndarray) -> np.ndarray:
        return dy.reshape(n, height, width, c).transpose(0, 3, 1, 2)

    return {"dx": _move(x["dy"], back)}


def _pool_ceil(given: Options) -> dict[str, Any]:
    """The divisor of a last window that sticks out: all its taps, wherever they lie."""
    if not given.get("ceil_mode") or given.get("divisor_override"):
        return {}
    return {"divisor_override": int(np.prod(np.broadcast_to(given["kernel_size"], 2)))}


def _other_padding(given: Options) -> dict[str, Any]:
    return {"count_include_pad": not given.get("count_include_pad", True)}


# Kinks


def _relu_at_zero(slope: float) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, given)
        dx = np.where(x["x"].value == 0, slope * x["dy"].value, results["dx"].value)
        return {"dx": replace(results["dx"], value=dx)}

    return rule


def _ties(share: str) -> Rule:
    """dy to all equal cells of a window, to the last of them, or to all in equal parts."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, given)
        dx = _at_ties(x["x"].value, x["dy"].value, given, share)
        error = a.gamma(8) * _at_ties(x["x"].value, np.abs(x["dy"].value), given, share)
        return {"dx": replace(results["dx"], value=dx, error=results["dx"].error + error)}

    return rule


def _at_ties(x: np.ndarray, dy: np.ndarray, given: Options, share: str) -> np.ndarray:
    height, width = np.broadcast_to(given["kernel_size"], 2)
    stride = given.get("stride") or (height, width)
    down, right = np.broadcast_to(stride, 2)
    top, left = np.broadcast_to(given.get("padding", 0), 2)
    step_r, step_c = np.broadcast_to(given.get("dilation", 1), 2)
    dx = np.zeros_like(x)
    for u in range(dy.shape[2]):
        for v in range(dy.shape[3]):
            rows = [u * down - top + i * step_r for i in range(height)]
            columns = [v * right - left + j * step_c for j in range(width)]
            rows = [r for r in rows if 0 <= r < x.shape[2]]
            columns = [c for c in columns if 0 <= c < x.shape[3]]
            window = x[:, :, rows][:, :, :, columns]
            flat = window.reshape(*window.shape[:2], -1)
            equal = flat == flat.max(axis=2, keepdims=True)
            if share == "last":
                last = equal.shape[2] - 1 - equal[:, :, ::-1].argmax(axis=2)
                weights = (np.arange(equal.shape[2]) == last[:, :, None]).astype(np.float64)
            elif share == "all":
                weights = equal.astype(np.float64)
            else:
                weights = equal / equal.sum(axis=2, keepdims=True)
            part = (weights * dy[:, :, u, v, None]).reshape(window.shape)
            dx[:, :, np.array(rows)[:, None], np.array(columns)] += part
    return dx


LAYER_FAULTS = [
    Fault(
        "padding SAME of the other kind at a stride: odd cell below and right",
        _same(_same_padding, "conv2d"),
    ),
    Fault(
        "kernel flipped: convolution for correlation", _same(_weight(_flipped, _flipped), "conv2d")
    ),
    Fault(
        "weight layout transposed: rows and columns of kernels exchanged",
        _same(_weight(_transposed, _transposed), "conv2d"),
    ),
    Fault(
        "weight layout transposed: read as (kh, kw, in, out)",
        _same(_weight(_read_as_hwio, _read_as_oihw), "conv2d"),
    ),
    Fault(
        "weight layout transposed: read as (in, out)",
        _same(_weight(_read_in_out, _read_out_in), "linear"),
    ),
    Fault(
        "count_include_pad the other way round",
        _same(options(_other_padding), "avg_pool2d"),
    ),
    Fault("pool divisor under ceil_mode: all taps", _same(options(_pool_ceil), "avg_pool2d")),
    Fault(
        "flattened as (N, H, W, C)",
        {"flatten": _channels_last, "flatten_backward": _channels_last_backward},
    ),
    Fault("gradient at max ties: to the last cell", {"max_pool2d_backward": _ties("last")}),
    Fault("gradient at max ties: to all cells", {"max_pool2d_backward": _ties("all")}),
    Fault("gradient at max ties: shared equally", {"max_pool2d_backward": _ties("equal")}),
    Fault("relu'(0) = 1", {"relu_backward": _relu_at_zero(1.0)}),
    Fault("relu'(0) = ½", {"relu_backward": _relu_at_zero(0.5)}),
]


# The update


def _rate_inside(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """v ← μ v + lr (g + λ θ), θ ← θ − v."""
    step = x["g"]
    if given.get("weight_decay"):
        step = added(a, step, scaled(a, given["weight_decay"], x["theta"]))
    step = scaled(a, given["lr"], step)
    if given.get("momentum") and "velocity" in x:
        step = added(a, scaled(a, given["momentum"], x["velocity"]), step)
    velocity = {"velocity": step} if given.get("momentum") else {}
    return {"theta": added(a, x["theta"], scaled(a, -1.0, step))} | velocity


def _dampened(at_first: bool) -> Rule:
    """v ← μ v + (1 − μ) (g + λ θ); at the first step too, or v ← g + λ θ there."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        step, momentum = x["g"], given.get("momentum", 0.0)
        if given.get("weight_decay"):
            step = added(a, step, scaled(a, given["weight_decay"], x["theta"]))
        if momentum and ("velocity" in x or at_first):
            step = scaled(a, 1 - momentum, step)
        if momentum and "velocity" in x:
            step = added(a, scaled(a, momentum, x["velocity"]), step)
        velocity = {"velocity": step} if momentum else {}
        return {"theta": added(a, x["theta"], scaled(a, -given["lr"], step))} | velocity

    return rule


def _nesterov(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """θ ← θ − lr (g + λ θ + μ v), v the new velocity."""
    results = right(a, x, given)
    if not given.get("momentum"):
        return results
    step = x["g"]
    if given.get("weight_decay"):
        step = added(a, step, scaled(a, given["weight_decay"], x["theta"]))
    step = added(a, step, scaled(a, given["momentum"], results["velocity"]))
    return {**results, "theta": added(a, x["theta"], scaled(a, -given["lr"], step))}


def _decoupled(by_rate: bool) -> Rule:
    """The decay past gradient and velocity: θ ← θ − lr λ θ − lr v, or without that lr."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        results = right(a, x, {**given, "weight_decay": 0.0})
        decay = given.get("weight_decay", 0.0) * (given["lr"] if by_rate else 1.0)
        decayed = added(a, results["theta"], scaled(a, -decay, x["theta"]))
        # or (1 − λ) θ − lr v, as AdamW goes: 1 − λ and the product are rounded
        error = decayed.error + a.gamma(2) * x["theta"].most
        return {**results, "theta": replace(decayed, error=error)}

    return rule


def _biases_not_decayed(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    is_bias = x["theta"].value.ndim <= 1
    return right(a, x, {**given, "weight_decay": 0.0} if is_bias else given)


def _next_rate(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The rate of the step after this one."""
    theta = at.operation.outputs["theta"]
    later = next((one for one in at.alike() if one.inputs["theta"] == theta), None)
    rate = given.get("next_lr", given["lr"]) if later is None else later.options["lr"]
    return right(a, x, {**given, "lr": rate})


def _gathering(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """The gradients of parameters on top of those of the step before, which were not zeroed."""
    results = right(a, x, given)
    for name in ("dw", "db"):
        before = _step_before(at.operation.outputs.get(name, ""))
        if before in at.known:
            results[name] = added(a, at.tensor(before), results[name])
    return results


def _step_before(tensor: str) -> str:
    """The same tensor in the step before: step1/conv1.weight.grad of step2/conv1.weight.grad."""
    step, slash, rest = tensor.partition("/")
    number = step.removeprefix("step")
    return f"step{int(number) - 1}/{rest}" if slash and number.isdigit() else ""


UPDATE_FAULTS = [
    Fault("momentum with the learning rate inside", {"sgd": _rate_inside}),
    Fault("momentum with a factor (1 − μ)", {"sgd": _dampened(at_first=True)}),
    Fault("momentum with a factor (1 − μ), but at the first step", {"sgd": _dampened(False)}),
    Fault("Nesterov's momentum", {"sgd": _nesterov}),
    Fault(
        "weight decay with a factor 2",
        {"sgd": options(lambda given: {"weight_decay": 2 * given.get("weight_decay", 0.0)})},
    ),
    Fault(
        "weight decay with a factor ½",
        {"sgd": options(lambda given: {"weight_decay": given.get("weight_decay", 0.0) / 2})},
    ),
    Fault("weight decay missing", {"sgd": options(weight_decay=0.0)}),
    Fault("weight decay past the velocity, times the rate", {"sgd": _decoupled(by_rate=True)}),
    Fault("weight decay past the velocity, without the rate", {"sgd": _decoupled(by_rate=False)}),
    Fault("biases not decayed", {"sgd": _biases_not_decayed}),
    Fault("schedule a step early", {"sgd": _next_rate}),
    Fault(
        "gradients not zeroed",
        {"conv2d_backward": _gathering, "linear_backward": _gathering},
    ),
    Fault("accumulated gradients not divided", {"sum": options(divisor=1)}),
]


# The teacher


def _in_training_mode(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """Dropout: every entry is 0, or x / (1 − p); which of the two is chance."""
    tensor = at.operation.outputs["y"]
    kept = scaled(a, 1 / (1 - given.get("p", 0.5)), x["x"])
    dropped = np.asarray(at.found[tensor]) == 0
    value, error = np.where(dropped, 0, kept.value), np.where(dropped, 0, kept.error)
    return {"y": replace(kept, value=value, error=error)}


def _as_found(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
    """Whatever it has become."""
    return {"y": exact(at.found[at.operation.outputs["y"]])}


def _of_changed_teacher(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """From the second step on a teacher's layers have whatever parameters it has become."""
    step, _, rest = at.operation.name.partition("/")
    tensor = at.operation.outputs["y"]
    if step == "step1" or not rest.startswith("teacher/") or tensor not in at.found:
        return right(a, x, given)
    return {"y": exact(at.found[tensor])}


TEACHER_FAULTS = [
    Fault("teacher in training mode", {"dropout": _in_training_mode}),
    Fault(
        "teacher trainable",
        {"copy": _as_found} | dict.fromkeys(("conv2d", "linear"), _of_changed_teacher),
    ),
]


# Preparation of data


def _rows_of_first_epoch(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The rows for the images that the same batch had in the first epoch."""
    alike = at.alike()
    first = alike[alike.index(at.operation) % given["batches"]]
    return right(a, {**x, "index": at.tensor(first.inputs["index"])}, given)


def _rows_in_order(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The rows as they lie in the cache, batch after batch."""
    alike = at.alike()
    place = alike.index(at.operation)
    epoch = alike[place - place % given["batches"] : place]
    start = sum(len(at.tensor(one.inputs["index"]).value) for one in epoch)
    rows = np.arange(start, start + len(x["index"].value))
    return right(a, {**x, "index": Rounded(rows)}, given)


def _of_not_augmented(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    """The teacher's outputs for images as they were before they were augmented."""
    makers = {tensor: one for one in at.case.operations for tensor in one.outputs.values()}
    maker = makers.get(at.operation.inputs["x"])
    if maker is None or maker.op != "augment":
        return right(a, x, given)
    return right(a, {**x, "x": at.tensor(maker.inputs["images"])}, given)


def _not_augmented(
    right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context
) -> Results:
    return {"y": x["images"]}


def _normalised(order: str) -> Rule:
    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        images = x["images"].value.astype(np.float64)
        mean, std = (x[name].value.reshape(-1, 1, 1) for name in ("mean", "std"))
        if order == "before /255":
            value, size = (images - mean) / std / 255, (images + np.abs(mean)) / std / 255
        elif order == "without /255":
            value, size = (images - mean) / std, (images + np.abs(mean)) / std
        else:
            images = images[:, ::-1] / 255
            if order == "after":
                mean, std = mean[::-1], std[::-1]
            value, size = (images - mean) / std, (images + np.abs(mean)) / std
        return {"y": Rounded(value, a.gamma(6) * size, roundings=6)}

    return rule


def _resized(matrices: Callable[[int, int], np.ndarray]) -> Rule:
    """Another linear map along rows and along columns, given by the sizes before and after."""

    def rule(right: RightRule, a: Arithmetic, x: Inputs, given: Options, at: Context) -> Results:
        if "dy" in x:
            return backward(a, x)
        right_y = right(a, x, given)["y"].value
        images = x["x"].value
        rows, columns = (
            matrices(before, after)
            for before, after in zip(images.shape[2:], right_y.shape[2:], strict=True)
        )
        value = rows @ images @ columns.T
        size = np.abs(rows) @ np.abs(images) @ np.abs(columns).T
        k = images.shape[2] + images.shape[3] + 16
        return {"y": Rounded(value, a.gamma(k) * size, roundings=16)}

    def backward(a: Arithmetic, x: Inputs) -> Results:
        dy = x["dy"].value
        rows, columns = (
            matrices(before, after)
            for before, after in zip(x["x"].value.shape[2:], dy.shape[2:], strict=True)
        )
        size = np.abs(rows.T) @ np.abs(dy) @ np.abs(columns)
        k = dy.shape[2] + dy.shape[3] + 16
        return {"dx": Rounded(rows.T @ dy @ columns, a.gamma(k) * size, roundings=16)}

    return rule


def _interpolation(positions: np.ndarray, before: int) -> np.ndarray:
    """Linear interpolation at these positions, the edges repeated."""
    positions = np.clip(positions, 0, before - 1)
    low = np.minimum(np.floor(positions).astype(int), max(before - 2, 0))
    weights = np.zeros((len(positions), before))
    each = np.arange(len(positions))
    weights[each, low] += 1 - (positions - low)
    weights[each, np.minimum(low + 1, before - 1)] += positions - low
    return weights


def _aligned_corners(before: int, after: int) -> np.ndarray:
    return _interpolation(np.arange(after) * ((before - 1) / max(after - 1, 1)), before)


def _no_half_pixel(before: int, after: int) -> np.ndarray:
    return _interpolation(np.arange(after) * (before / after), before)


def _half_pixel(before: int, after: int) -> np.ndarray:
    return _interpolation((np.arange(after) + 0.5) * (before / after) - 0.5, before)


def _nearest(before: int, after: int) -> np.ndarray:
    rows = (np.arange(after) * before) // after
    return np.eye(before)[rows]


def _antialiased(before: int, after: int) -> np.ndarray:
    """A triangle as wide as the reduction asks for, its weights summing to 1."""
    scale = max(before / after, 1.0)
    centres = (np.arange(after)[:, None] + 0.5) * (before / after)
    weights = np.maximum(0, 1 - np.abs(np.arange(before) + 0.5 - centres) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


def _resize_faults() -> list[Fault]:
    """Of reducing and of enlarging; what antialiasing is, enlarging has no use for."""
    kinds = {
        "resized with align_corners": _aligned_corners,
        "resized without half-pixel centres": _no_half_pixel,
        "resized to the nearest cell": _nearest,
        "resized by interpolation": _half_pixel,
    }
    both = [
        Fault(name, _same(_resized(kind), "avg_pool2d", "upsample"), pipeline=True)
        for name, kind in kinds.items()
    ]
    antialiased = _same(_resized(_antialiased), "avg_pool2d")
    return [*both, Fault("resized with antialiasing", antialiased, pipeline=True)]


DATA_FAULTS = [
    Fault(
        "cached teacher rows against reshuffled data: in the order of the first epoch",
        {"rows": _rows_of_first_epoch},
        pipeline=True,
    ),
    Fault(
        "cached teacher rows against reshuffled data: in the order of the cache",
        {"rows": _rows_in_order},
        pipeline=True,
    ),
    Fault(
        "cached teacher against fresh augmentation", {"flatten": _of_not_augmented}, pipeline=True
    ),
    Fault("not augmented", {"augment": _not_augmented}, pipeline=True),
    Fault("normalised before the division by 255", {"normalise": _normalised("before /255")}, True),
    Fault("no division by 255", {"normalise": _normalised("without /255")}, True),
    Fault("channel order reversed", {"normalise": _normalised("channels")}, True),
    Fault("channel order reversed, after normalising", {"normalise": _normalised("after")}, True),
    *_resize_faults(),
]

FAULTS = [*LOSS_FAULTS, *LAYER_FAULTS, *UPDATE_FAULTS, *TEACHER_FAULTS, *DATA_FAULTS]


def _distinct(found: np.ndarray) -> str:
    rows, counts = np.unique(found, axis=0, return_counts=True)
    if len(rows) == len(found):
        return ""
    return f"{int(counts.max())} of {len(found)} rows are the same, expected all to differ"


PROPERTIES = {
    "distinct": Property(lambda given: (given["workers"], 16), _distinct, "repeated worker seed")
}
