"""Layers as other programs describe them: the arguments of an op by name, paddings by side."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from npkd.arguments import shown
from npkd.files import BadInput
from npkd.nets import Function, Layer, Network
from npkd.nets.layers import op_of
from npkd.ops.contract import pair
from npkd.quantise import Quantised
from npkd.quantise.loop import InTheLoop

INPUTS = ("x", "a", "b", "xs")  # what ops call what they take


def arguments_of(layer: Function) -> dict[str, Any]:
    """What a layer's op is given beside its inputs, by name, and what it takes if not given it."""
    op = signature(layer.op)
    count = max(len(layer.takes), sum(name in INPUTS for name in op.parameters))
    bound = op.bind(*[None] * count, *layer.arguments, **layer.options)
    bound.apply_defaults()
    return {name: value for name, value in bound.arguments.items() if name not in INPUTS}


def given(net: Network | Quantised) -> Network | Quantised:
    """The net; of one in the loop that in eight bits which it computes as."""
    return net.quantised() if isinstance(net, InTheLoop) else net


def sizes(value: Any) -> list[int]:
    """A size for both axes."""
    return list(pair("export", "a size", value, 0))


def paddings(options: Mapping[str, Any], kernel: Sequence[int]) -> list[int]:
    """Cells of padding on the top, left, bottom and right of a convolution's images."""
    given = options["padding"]
    if given == "valid":
        return [0, 0, 0, 0]
    if given != "same":
        return sizes(given) * 2
    totals = [d * (k - 1) for d, k in zip(sizes(options["dilation"]), kernel, strict=True)]
    before = [total // 2 for total in totals]
    return [*before, *(total - n for total, n in zip(totals, before, strict=True))]


def not_exported(name: str, layer: Layer, why: str = "") -> BadInput:
    """The error for a layer that has no counterpart."""
    kind = getattr(op_of(layer), "__name__", type(layer).__name__)
    return BadInput(f"layer {shown(name)} is a {kind}{why}, which is not exported")
