"""How each primitive of JAX's is recorded: as which operations of the judge's."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from npkd.validate.recording.jax.layout import Layout, numbered, padded
from npkd.validate.recording.jax.moves import MOVES
from npkd.validate.recording.jax.program import Recorder, Rule
from npkd.validate.recording.jax.run import Run
from npkd.validate.recording.jax.trace import Step, Value

Draw = Callable[[tuple[int, ...]], np.ndarray]


def recorded(run: Run, arguments: Mapping[str, Value], draw: Draw) -> Recorder:
    """A run on these arguments, with upstream gradients drawn by their shapes."""
    upstream = {}
    for i, gradient in run.gradients.given.items():
        kind = run.trace.kinds[run.trace.outputs[i]]
        upstream[gradient] = np.asarray(draw(kind.shape)).astype(kind.dtype)
    return Recorder(run, RECORDED_AS, arguments, run(arguments, upstream))


# Entry by entry


def entrywise(op: str, letters: str) -> Rule:
    """The rule of a step on floats that is one operation."""

    def rule(recorder: Recorder, step: Step) -> bool:
        if not all(map(recorder.trace.is_float, step.inputs)):
            return False
        recorder.differentiated(step, op, letters)
        return True

    return rule


def relu(recorder: Recorder, step: Step) -> bool:
    recorder.differentiated(step, "relu", "x")
    return True


def copied(recorder: Recorder, step: Step) -> bool:
    """What keeps every number as it is, and its gradient too, unless it stops there."""
    (x,), (y,), (use,) = step.inputs, step.outputs, recorder.uses
    of_x, of_y = recorder.trace.kinds[x].dtype, recorder.trace.kinds[y].dtype
    if not recorder.trace.is_float(y) or (of_x != of_y and jnp.finfo(of_y).bits < 32):
        return False
    if recorder.trace.is_float(x) and jnp.finfo(of_x).bits > jnp.finfo(of_y).bits:
        return False
    recorder.add(step.name, "copy", {"x": x}, {"y": y})
    if use:
        op, of_dy, of_dx, options = "copy", "x", "y", {}
        if of_x != of_y:
            op, of_dy, of_dx = "unknown", "dy", "dx"
            options = {"function": f"{step.primitive} backward"}
        inputs, name = {of_dy: recorder.upstream(step)}, f"{step.name} backward"
        recorder.add(name, op, inputs, {of_dx: use}, options, backward=True)
    return True


def power(recorder: Recorder, step: Step) -> bool:
    """x multiplied with itself, or 1 divided by that; dx = dy · n xⁿ⁻¹."""
    n = 2 if step.primitive == "square" else int(step.params["y"])
    (x,), (y,), (use,) = step.inputs, step.outputs, recorder.uses
    if n in (0, 1) or not recorder.trace.is_float(x):
        return False
    at = f"{step.name} backward"

    def product(factors: int, result: str, prefix: str, *, backward: bool = False) -> str:
        """x multiplied with itself as `result`, factor by factor; one factor is x itself."""
        found = x
        for k in range(2, factors + 1):
            name = result if k == factors else f"{prefix}: x^{k}"
            recorder.binary("multiply", found, x, name, backward=backward)
            found = name
        return found

    if n > 0:
        product(n, y, step.name)
    else:
        one = recorder.number(f"{step.name}: 1", 1.0, x)
        divisor = product(-n, f"{step.name}: x^{-n}", step.name)
        recorder.binary("divide", one, divisor, y)
    if use:
        slope, factor = f"{at}: slope", recorder.number(f"{at}: {n}", float(n), x)
        others = product(abs(n - 1), f"{at}: x^{abs(n - 1)}", at, backward=True)
        recorder.binary("multiply" if n > 0 else "divide", factor, others, slope, backward=True)
        recorder.binary("multiply", recorder.upstream(step), slope, use, name=at, backward=True)
    return True


def one_over_root(recorder: Recorder, step: Step) -> bool:
    """y = 1/√x, and dx = dy · −½ y/x."""
    (x,), (y,), (use,) = step.inputs, step.outputs, recorder.uses
    root = f"{step.name}: root"
    recorder.add(root, "sqrt", {"x": x}, {"y": root})
    recorder.binary("divide", recorder.number(f"{step.name}: 1", 1.0, x), root, y)
    if use:
        half = recorder.number(f"{step.name}: −½", -0.5, x)
        ratio, slope = f"{step.name}: y/x", f"{step.name}: slope"
        recorder.binary("divide", y, x, ratio, backward=True)
        recorder.binary("multiply", half, ratio, slope, backward=True)
        dy, name = recorder.upstream(step), f"{step.name} backward"
        recorder.binary("multiply", dy, slope, use, name=name, backward=True)
    return True


# Over axes


def sum_over(recorder: Recorder, step: Step) -> bool:
    if not recorder.trace.is_float(step.inputs[0]):
        return False
    recorder.differentiated(step, "sum_over", "x", {"axes": tuple(step.params["axes"])})
    return True


def rows(shape: tuple[int, ...], axes: Sequence[int]) -> np.ndarray:
    """A tensor as a matrix: a row of the entries along these axes for each place in the others."""
    others = [axis for axis in range(len(shape)) if axis not in axes]
    count = math.prod(shape[axis] for axis in axes)
    return numbered(shape).transpose(*others, *axes).reshape(-1, count)


def largest(recorder: Recorder, step: Step) -> bool:
    """The largest along axes is max-pooling of windows that hold all of it.

    Not so its gradient: where several are the largest, JAX divides dy among them.
    """
    (x,), (y,) = step.inputs, step.outputs
    shape, axes = recorder.shape(x), step.params["axes"]
    count = math.prod(shape[axis] for axis in axes)
    if not recorder.trace.is_float(x) or not count:
        return False
    windows = rows(shape, axes)[:, None, None]
    recorder.laid_out(
        step,
        "max_pool2d",
        {"x": Layout(windows)},
        Layout(numbered(recorder.shape(y))),
        (len(windows), 1, 1, 1),
        {"kernel_size": (1, count)},
        backward_op="unknown",
    )
    return True


def linear(recorder: Recorder, step: Step) -> bool:
    """A product of matrices, or of what contracting axes makes one."""
    contracted, batch = step.params["dimension_numbers"]
    if any(batch) or not all(map(recorder.trace.is_float, step.inputs)):
        return False
    x, w = map(rows, map(recorder.shape, step.inputs), contracted)
    result = Layout(numbered(recorder.shape(step.outputs[0])))
    recorder.laid_out(step, "linear", {"x": Layout(x), "w": Layout(w)}, result, (len(x), len(w)))
    return True


# Windows of images


def convolution(recorder: Recorder, step: Step) -> bool:
    """A convolution of images, or of rows as images of one row."""
    params = step.params
    numbers = params["dimension_numbers"]
    axes = len(params["window_strides"])
    if axes not in (1, 2) or params["batch_group_count"] != 1:
        return False
    if not all(map(recorder.trace.is_float, step.inputs)):
        return False

    def images(name: str, spec: Sequence[int]) -> np.ndarray:
        index = numbered(recorder.shape(name)).transpose(spec)
        return index[:, :, None] if axes == 1 else index

    x = images(step.inputs[0], numbers.lhs_spec)
    w = images(step.inputs[1], numbers.rhs_spec)
    one_row = (1,) * (2 - axes)
    padding = [(0, 0)] * (2 - axes) + [(int(a), int(b)) for a, b in params["padding"]]
    spread = one_row + tuple(params["lhs_dilation"])
    if spread != (1, 1) or any(a != b or a < 0 for a, b in padding):
        sides = [(a, b, s - 1) for (a, b), s in zip(padding, spread, strict=True)]
        x = padded(x, [(0, 0, 0), (0, 0, 0), *sides])
        padding = [(0, 0), (0, 0)]
    options = {
        "stride": one_row + tuple(params["window_strides"]),
        "padding": tuple(a for a, _ in padding),
        "dilation": one_row + tuple(params["rhs_dilation"]),
        "groups": params["feature_group_count"],
    }
    shape = recorder.shape(step.outputs[0])
    n, c, *sizes = (shape[axis] for axis in numbers.out_spec)
    result = numbered((n, c, *sizes)).transpose(np.argsort(numbers.out_spec))
    layouts = {"x": Layout(x), "w": Layout(w)}
    own = (n, c, *one_row, *sizes)
    recorder.laid_out(step, "conv2d", layouts, Layout(result), own, options)
    return True


def pool(op: str, fill: float, options: Mapping[str, Any]) -> Rule:
    """The rule of sums, or the largest, of windows of images, wherever channels are."""

    def rule(recorder: Recorder, step: Step) -> bool:
        params = step.params
        (x,), (y,) = step.inputs, step.outputs
        sizes, strides = params["window_dimensions"], params["window_strides"]
        padding, dilation = params["padding"], params["window_dilation"]
        count = len(sizes)
        moving = [
            axis
            for axis in range(count)
            if sizes[axis] > 1 or strides[axis] > 1 or tuple(padding[axis]) != (0, 0)
        ]
        if not 2 <= count <= 4 or len(moving) > 2 or set(params["base_dilation"]) != {1}:
            return False
        if not recorder.trace.is_float(x) or (op != "max_pool2d" and set(dilation) != {1}):
            return False
        still = [axis for axis in reversed(range(count)) if axis not in moving]
        moving = sorted(moving + still[: 2 - len(moving)])
        order = [axis for axis in range(count) if axis not in moving] + moving
        ones = (1,) * (4 - count)

        index = numbered(recorder.shape(x)).transpose(order)
        index = index.reshape(ones + index.shape)
        sides = [(int(a), int(b)) for a, b in (padding[axis] for axis in moving)]
        kernel = tuple(sizes[axis] for axis in moving)
        if any(a != b or a < 0 or a > k // 2 for (a, b), k in zip(sides, kernel, strict=True)):
            index = padded(index, [(0, 0, 0), (0, 0, 0), *((a, b, 0) for a, b in sides)])
            sides = [(0, 0), (0, 0)]
        of_pool = {
            "kernel_size": kernel,
            "stride": tuple(strides[axis] for axis in moving),
            "padding": tuple(a for a, _ in sides),
            **options,
        }
        if op == "max_pool2d":
            of_pool["dilation"] = tuple(dilation[axis] for axis in moving)
        ordered = tuple(recorder.shape(y)[axis] for axis in order)
        result = Layout(numbered(ordered).transpose(np.argsort(order)))
        recorder.laid_out(step, op, {"x": Layout(index, fill)}, result, ones + ordered, of_pool)
        return True

    return rule


RECORDED_AS: dict[str, Rule] = {
    "add": entrywise("add", "ab"),
    "add_any": entrywise("add", "ab"),
    "sub": entrywise("subtract", "ab"),
    "mul": entrywise("multiply", "ab"),
    "div": entrywise("divide", "ab"),
    "max": entrywise("maximum", "ab"),
    "neg": entrywise("negative", "x"),
    "exp": entrywise("exp", "x"),
    "logistic": entrywise("sigmoid", "x"),
    "tanh": entrywise("tanh", "x"),
    "log": entrywise("log", "x"),
    "sqrt": entrywise("sqrt", "x"),
    "rsqrt": one_over_root,
    "square": power,
    "integer_pow": power,
    "relu": relu,
    "stop_gradient": copied,
    "copy": copied,
    "copy_p": copied,
    "convert_element_type": copied,
    "reduce_sum": sum_over,
    "reduce_max": largest,
    "dot_general": linear,
    "conv_general_dilated": convolution,
    "reduce_window_sum": pool("avg_pool2d", 0.0, {"divisor_override": 1}),
    "reduce_window_max": pool("max_pool2d", -math.inf, {}),
    **MOVES,
}
