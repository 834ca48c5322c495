"""What a call of a torch function is as an operation of a program.

    read(torch.conv2d, "conv2d", [y], ((x, w), {"padding": 1}))
    # Read("conv2d", {"x": x, "w": w, "b": None}, {"padding": 1, "stride": 1, …})

A reader takes the result y, and the function's arguments as PyTorch calls them, in its order and
with its defaults. It gives None for a call that no operation says in full, which is "unknown" then;
so are a softmax and a loss of nothing at all, which PyTorch has a value for.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from npkd.validate.recording.torch.tensors import array, is_number


class Read(NamedTuple):
    """A call of a torch function as an operation: which, on which arguments, with what options."""

    op: str
    inputs: dict[str, Any]
    options: dict[str, Any]


# Layers


def _conv2d(y, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    options = {"stride": _size(stride), "dilation": _size(dilation), "groups": groups}
    options["padding"] = padding if isinstance(padding, str) else _size(padding)
    return Read("conv2d", {"x": input, "w": weight, "b": bias}, options)


def _size(size):
    return int(size) if isinstance(size, int) else tuple(int(s) for s in size)


def _linear(y, input, weight, bias=None):
    return Read("linear", {"x": input, "w": weight, "b": bias}, {})


def _batch_norm(
    y,
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """What becomes of the running statistics in training is not read."""
    inputs = {"x": input, "w": weight, "b": bias}
    if not training and running_mean is not None:
        inputs |= {"mean": running_mean, "variance": running_var}
    return Read("batch_norm", inputs, {"epsilon": eps})


def _of_entries(op, y, input, inplace=False):
    return Read(op, {"x": input}, {})


def _hardtanh(y, input, min_val=-1.0, max_val=1.0, inplace=False):
    return Read("relu6", {"x": input}, {}) if (min_val, max_val) == (0, 6) else None


def _gelu(y, input, *, approximate="none"):
    return Read("gelu", {"x": input}, {"approximate": approximate})


def _dropout(y, input, p=0.5, training=True, inplace=False):
    return Read("dropout", {"x": input}, {"p": float(p)}) if not training or p <= 0 else None


def _avg_pool2d(
    y,
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    if input.ndim != 4:
        return None
    options = _pool(kernel_size, stride, padding, ceil_mode)
    options |= {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    return Read("avg_pool2d", {"x": input}, options)


def _max_pool2d(
    y, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    if input.ndim != 4 or return_indices:
        return None
    options = _pool(kernel_size, stride, padding, ceil_mode) | {"dilation": _size(dilation)}
    return Read("max_pool2d", {"x": input}, options)


def _pool(kernel_size, stride, padding, ceil_mode):
    kernel = _size(kernel_size)
    stride = _size(stride) if stride else kernel  # not given, or ()
    options = {"kernel_size": kernel, "stride": stride, "padding": _size(padding)}
    return options | {"ceil_mode": bool(ceil_mode)}


def _adaptive_avg_pool2d(y, input, output_size):
    """Where its windows are all alike and do not overlap."""
    sizes = list(zip(input.shape[-2:], y.shape[-2:], strict=True))
    if input.ndim != 4 or any(size % out for size, out in sizes):
        return None
    windows = tuple(size // out for size, out in sizes)
    return Read("avg_pool2d", {"x": input}, {"kernel_size": windows})


def _interpolate(
    y,
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    if input.ndim != 4 or align_corners or antialias:
        return None
    height, width = input.shape[2:]
    factor = y.shape[2] // height
    asked = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,)
    if tuple(y.shape[2:]) != (factor * height, factor * width) or not {*asked} <= {factor, None}:
        return None
    mode = mode.removesuffix("-exact")  # which makes no difference for whole factors
    if mode not in ("nearest", "bilinear"):
        return None
    return Read("upsample", {"x": input}, {"factor": factor, "mode": mode})


def _pixel_shuffle(y, input, upscale_factor):
    if input.ndim != 4:
        return None
    return Read("pixel_shuffle", {"x": input}, {"factor": upscale_factor})


def _flatten(y, input, *others, **named):
    """Flatten, reshape, view, …: by the shape that comes out."""
    plain = y.dtype == input.dtype and input.ndim > 1
    if not plain or y.shape != (len(input), math.prod(input.shape[1:])):
        return None
    return Read("flatten", {"x": input}, {})


# Arithmetic


def _softmax(op, y, input, dim=None, _stacklevel=3, dtype=None):
    if dtype is not None or not isinstance(dim, int):  # torch.softmax(input, dim, dtype), too
        return None
    if input.ndim == 0 or input.numel() == 0:
        return None
    return Read(op, {"x": input}, {"axis": dim})


def _add(y, input, other, *, alpha=1):
    both = isinstance(input, Tensor) and isinstance(other, Tensor)
    if both and input.shape == other.shape and alpha == 1:
        return Read("sum", {"x1": input, "x2": other}, {})
    return _arithmetic("add", y, input, other, alpha=alpha)


def _arithmetic(op, y, input, other, *, alpha=1, rounding_mode=None):
    plain = alpha == 1 and rounding_mode is None
    return Read(op, {"a": input, "b": other}, {}) if plain else None


def _swapped(op, y, input, other, **options):
    return _arithmetic(op, y, other, input, **options)


def _over_axes(op, y, input, dim=None, keepdim=False, dtype=None):
    if dtype is not None:
        return None
    axes = (dim,) if isinstance(dim, int) else dim or range(input.ndim)
    axes = tuple(sorted(axis % max(input.ndim, 1) for axis in axes))
    return Read(op, {"x": input}, {"axes": axes, "keepdims": bool(keepdim)})


# Losses


def _distance(
    op, options, y, input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    plain = weight is None and size_average is None and reduce is None
    if not plain or input.shape != target.shape or input.ndim == 0 or input.numel() == 0:
        return None
    reduction = "elementmean" if reduction == "mean" else reduction
    return Read(op, {"student": input, "teacher": target}, {**options, "reduction": reduction})


def _cross_entropy(
    y,
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    plain = weight is None and size_average is None and reduce is None and not label_smoothing
    if not plain or input.ndim != 2 or input.numel() == 0:
        return None
    if target.is_floating_point() or (target == ignore_index).any():
        return None
    reduction = "batchmean" if reduction == "mean" else reduction
    return Read("cross_entropy", {"logits": input, "labels": target}, {"reduction": reduction})


# All of them, by the functions' names

READERS: dict[str, Callable[..., Read | None]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    **{op: partial(_of_entries, op) for op in ("relu", "relu6", "sigmoid", "tanh", "silu")},
    "hardtanh": _hardtanh,
    "gelu": _gelu,
    "avg_pool2d": _avg_pool2d,
    "max_pool2d": _max_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "interpolate": _interpolate,
    "pixel_shuffle": _pixel_shuffle,
    "softmax": partial(_softmax, "softmax"),
    "log_softmax": partial(_softmax, "log_softmax"),
    "mean": partial(_over_axes, "mean"),
    "sum": partial(_over_axes, "sum_over"),
    "mse_loss": partial(_distance, "l2", {"half": False}),
    "l1_loss": partial(_distance, "l1", {}),
    "cross_entropy": _cross_entropy,
}
DROPOUTS = ("dropout", "dropout2d", "feature_dropout")
READERS |= dict.fromkeys(DROPOUTS, _dropout)
READERS |= dict.fromkeys(("flatten", "reshape", "view"), _flatten)
READERS |= dict.fromkeys(("add", "__add__", "__radd__", "__iadd__"), _add)
_subtract, _multiply, _divide = (
    partial(_arithmetic, op) for op in ("subtract", "multiply", "divide")
)
READERS |= dict.fromkeys(("sub", "subtract", "__sub__", "__isub__"), _subtract)
READERS |= dict.fromkeys(("rsub", "__rsub__"), partial(_swapped, "subtract"))
READERS |= dict.fromkeys(("mul", "multiply", "__mul__", "__rmul__", "__imul__"), _multiply)
READERS |= dict.fromkeys(("div", "divide", "true_divide", "__truediv__", "__itruediv__"), _divide)
READERS |= dict.fromkeys(("__rdiv__", "__rtruediv__"), partial(_swapped, "divide"))

# These take entries from other places: which ones, is found by calling them on their numbers.
MOVES = {"flatten", "reshape", "view", "view_as", "unflatten", "squeeze", "unsqueeze", "T", "mT"}
MOVES |= {"t", "transpose", "permute", "movedim", "swapaxes", "flip", "roll", "narrow", "select"}
MOVES |= {"__getitem__", "index_select", "cat", "concat", "concatenate", "stack", "pad", "repeat"}
MOVES |= {"expand", "expand_as", "broadcast_to", "repeat_interleave", "channel_shuffle", "tile"}
MOVES |= {"pixel_unshuffle", "pixel_shuffle", "chunk"}
# What these return are their argument's own values: no operation.
SAME_VALUES = {"contiguous", "clone", "detach", "alias", "to", "cpu", "cuda", "float", "double"}
SAME_VALUES |= {"half", "bfloat16", "type_as", "type"}
# These concern the tensor object itself, and so must not get an alias of it.
OF_THE_OBJECT = {"__get__", "__set__", "__delete__", "requires_grad_", "retain_grad", "backward"}
OF_THE_OBJECT |= {"register_hook", "register_post_accumulate_grad_hook", "__deepcopy__", "detach_"}
OUT_OF_TORCH = {"numpy", "__array__"}  # make an array of a tensor
PROPERTIES_COMPUTED = {"T", "mT", "H", "mH", "real", "imag"}
OPERATORS = {"add", "sub", "mul", "truediv", "div", "pow", "floordiv", "mod"}
OPERATORS |= {"and", "or", "xor", "lshift", "rshift"}

Arguments = tuple[Any, Any]  # by position, by name


def name_of(func: Callable[..., Any]) -> str:
    """A torch function's name; of a property that is computed, the property's."""
    name = getattr(func, "__name__", str(func))
    of_property = getattr(getattr(func, "__self__", None), "__name__", "")
    return of_property if name == "__get__" and of_property in PROPERTIES_COMPUTED else name


def is_in_place(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call changes its first argument."""
    named = function.endswith("_") and not function.endswith("__")
    operator = function.startswith("__i") and function.strip("_")[1:] in OPERATORS
    others = function == "__setitem__" or kwargs.get("inplace") is True
    return bool(args) and (named or operator or others)


def read(
    func: Callable[..., Any],
    function: str,
    made: Sequence[Tensor],
    arguments: Arguments,
    *,
    evaluated: bool = False,
) -> Read:
    """The call of `func`, of this name, as an operation; made: what came out.

    evaluated: whether the net should be in evaluation, where dropout, whatever it did, is none.
    """
    found = _known(func, function, made, arguments)
    if found is not None:
        return found
    args, kwargs = arguments
    tensors = [one for one in tree_leaves(arguments) if isinstance(one, Tensor)]
    if evaluated and function in DROPOUTS:
        p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
        return Read("dropout", {"x": tensors[0]}, {"p": float(p)})
    inputs = {f"x{k}": tensor for k, tensor in enumerate(tensors, 1)}
    return Read("unknown", inputs, {"function": function})


def _known(
    func: Callable[..., Any], function: str, made: Sequence[Tensor], arguments: Arguments
) -> Read | None:
    if len(made) != 1:
        return None
    args, kwargs = arguments
    reader = READERS.get(function) or READERS.get(function.removesuffix("_"))
    found = None
    if reader is not None:
        try:
            found = reader(made[0], *args, **kwargs)
        except TypeError:  # other arguments than those that are known
            return None
    if found is None and function in MOVES:
        return _move(func, made[0], arguments)
    return found


def _move(func: Callable[..., Any], y: Tensor, arguments: Arguments) -> Read | None:
    """A function that moves entries, called on their numbers, from 1; 0 is what fills up."""
    if arguments[1].get("value"):  # fills up with something else
        return None
    inputs: dict[str, Tensor] = {}
    numbers = 0

    def numbered(value: Any) -> Any:
        nonlocal numbers
        if not is_number(value):
            return value
        inputs[f"x{len(inputs) + 1}"] = value
        first, numbers = numbers + 1, numbers + value.numel()
        indices = torch.arange(first, numbers + 1, dtype=torch.float64, device=value.device)
        return indices.reshape(value.shape)

    with torch.no_grad():
        args, kwargs = tree_map(numbered, arguments)
        index = array(func(*args, **kwargs)).astype(np.int64) - 1
    one_dtype = {value.dtype for value in inputs.values()} == {y.dtype}
    return Read("move", inputs, {"index": index}) if one_dtype else None
