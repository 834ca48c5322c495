"""Exact probes: the recorded functions called again on small integers, which nothing rounds."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from npkd.validate.program import Arrays, Case, Operation
from npkd.validate.recording.torch.program import Recording
from npkd.validate.recording.torch.recorder import Call, Slot
from npkd.validate.recording.torch.tensors import PRECISIONS, array
from npkd.validate.recording.whole_numbers import MOST, RANGE, whole_numbers

EXACT_OPS = {"conv2d", "linear", "avg_pool2d", "max_pool2d", "relu", "upsample", "pixel_shuffle"}
EXACT_OPS |= {"relu6"}


def exact_probes(
    recording: Recording, rng: np.random.Generator
) -> list[tuple[Case, dict[str, np.ndarray]]]:
    """The functions that were recorded, called again on small integers: cases and their results.

    Shapes, dtypes, devices and options are those recorded, each combination once. The integers are
    such that no order of summation rounds anything. Of convolutions and affine maps there is one
    more probe, x and b 2¹⁷ times as large: they are finite in float32, but not in float16.
    """
    probes, seen = [], set()
    for call in recording.calls:
        kind = repr((call.op, call.options, call.arguments, call.autocast))
        if call.op not in EXACT_OPS or call.function is None or kind in seen:
            continue
        if call.op == "upsample" and call.options["mode"] != "nearest":
            continue
        seen.add(kind)
        arrays = _integers(call, rng)
        if arrays is None:
            continue
        probes.append(_probe(recording.case, call, arrays, "exact"))
        if call.op in ("conv2d", "linear") and _slots(call)["x"].dtype != torch.float16:
            arrays = {k: a * RANGE if k in ("x", "b") else a for k, a in arrays.items()}
            probes.append(_probe(recording.case, call, arrays, "range"))
    return probes


def _slots(call: Call) -> dict[str, Slot]:
    return {one.key: one for one in tree_leaves(call.arguments) if isinstance(one, Slot)}


def _integers(call: Call, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
    """Integers for the call's tensors and `dy`, or None if there are none that are exact.

    For averages they are multiples of the divisor's odd part.
    """
    slots = _slots(call)
    dtypes = [slot.dtype for slot in slots.values()]
    if call.autocast is not None:
        dtypes.append(call.autocast)
    limit = min(MOST, 2.0 ** min(PRECISIONS[dtype][1] for dtype in dtypes))
    unit = _unit(call)
    if unit * 4 > min(limit, 2.0**11):
        return None
    shapes = {key: slot.shape for key, slot in slots.items()}
    zeros = {key: np.zeros(shape) for key, shape in shapes.items()}
    shapes["dy"] = _result(call, zeros).shape
    return whole_numbers(
        shapes,
        lambda sizes: _results(call, sizes, torch.float64).values(),
        rng,
        most=limit,
        unit=unit,
    )


def _unit(call: Call) -> int:
    """What a sum must be a multiple of, so that its division by an average's divisors is exact."""
    if call.op != "avg_pool2d":
        return 1
    options = {"padding": 0, "ceil_mode": False, "divisor_override": None} | call.options
    rows, columns = np.broadcast_to(options["kernel_size"], 2).tolist()
    divisors = {options["divisor_override"] or rows * columns}
    if not options["divisor_override"] and (np.any(options["padding"]) or options["ceil_mode"]):
        divisors = {a * b for a in range(1, rows + 1) for b in range(1, columns + 1)}
    multiple = math.lcm(*divisors)
    return multiple // (multiple & -multiple)


def _results(call: Call, arrays: Arrays, dtype: torch.dtype | None = None) -> dict[str, np.ndarray]:
    """The function's result for these arrays, and its gradients from `dy`."""
    with torch.inference_mode(False), torch.enable_grad():
        tensors = _tensors(call, arrays, dtype)
        y = _called(call, tensors, autocast=dtype is None)
        dy = torch.tensor(arrays["dy"], dtype=y.dtype, device=y.device)
        found = torch.autograd.grad(y, list(tensors.values()), dy)
    gradients = {"d" + key: array(g) for key, g in zip(tensors, found, strict=True)}
    return {"y": _result(call, arrays, dtype)} | gradients


def _result(call: Call, arrays: Arrays, dtype: torch.dtype | None = None) -> np.ndarray:
    with torch.no_grad():
        return array(_called(call, _tensors(call, arrays, dtype), autocast=dtype is None))


def _tensors(call: Call, arrays: Arrays, dtype: torch.dtype | None) -> dict[str, Tensor]:
    tensors = {}
    for key, slot in _slots(call).items():
        tensor = torch.tensor(arrays[key], dtype=dtype or slot.dtype, device=slot.device)
        if slot.channels_last:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        tensors[key] = tensor.requires_grad_()
    return tensors


def _called(call: Call, tensors: Mapping[str, Tensor], *, autocast: bool) -> Tensor:
    """The function's result for copies of these tensors, which it may change in place."""

    def filled(value: object) -> object:
        return tensors[value.key].clone() if isinstance(value, Slot) else value

    args, kwargs = tree_map(filled, call.arguments)
    device = next(iter(tensors.values())).device.type
    assert call.function is not None
    with torch.autocast(device, call.autocast, enabled=autocast and call.autocast is not None):
        return call.function(*args, **kwargs)


def _probe(
    case: Case, call: Call, arrays: dict[str, np.ndarray], kind: str
) -> tuple[Case, dict[str, np.ndarray]]:
    """The case of one function on these arrays, and what PyTorch makes of it."""
    found = _results(call, arrays)
    keys = {key: key for key in arrays if key != "dy"}
    given, made = {**keys, "dy": "dy"}, {key: key for key in found if key != "y"}
    operations = (
        Operation(call.name, call.op, keys, {"y": "y"}, call.options),
        Operation(f"{call.name}.backward", f"{call.op}_backward", given, made, call.options),
    )
    name = f"{case.name}: {call.name}, {kind}"
    about = f"{call.op} on small integers" + (", x and b times 2¹⁷" if kind == "range" else "")
    return Case(name, case.subject, about, arrays, operations, True, frozenset(found)), found
