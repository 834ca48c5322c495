"""A question about one op or loss at random."""

from typing import Any

import numpy as np

import npkd.proofs.cases
from npkd.proofs.cases.drawn import Drawn, pair
from npkd.validate.program import Case
from npkd.validate.questions.losses import loss_operation, standardize_case
from npkd.validate.questions.numbers import Options, case_of, normal, small_integers
from npkd.validate.questions.ops import op_case

EXACT = (
    "conv2d",
    "linear",
    "avg_pool2d",
    "max_pool2d",
    "relu",
    "flatten",
    "upsample",
    "pixel_shuffle",
    "relu6",
    "add",
    "concat",
    "l2",
    "l1",
    "huber",
    "hint",
)


WIDER = 8


def random_case(
    op: str, rng: np.random.Generator, *, exact: bool = False, wide: bool = False
) -> Case:
    """One op of npkd.ops, or one loss, with the shapes and options that `npkd.proofs.cases` draws.

    exact: as far as the op can be (`EXACT`): means are then over 2ⁿ numbers, or are sums.
    wide: of the same kind and options with many channels, or classes, and larger images: frameworks
        have ways of their own for them. Of losses those of two outputs alone are widened.

    Raises ValueError for another op.
    """
    drawn_from = npkd.proofs.cases.OPS | npkd.proofs.cases.LOSSES
    if op not in (EXACT if exact else drawn_from):
        expected = ", ".join(EXACT if exact else drawn_from)
        raise ValueError(f"validate: no random case of {op!r}; expected one of {expected}")
    drawn = drawn_from[op](lambda low, high: int(rng.integers(low, high + 1)))
    drawn = _widened(drawn) if wide else drawn
    options = dict(drawn.options)
    labels, mask = options.pop("labels", None), options.pop("mask", None)
    if exact:
        options |= _with_exact_means(op, options, rng)
        arrays = {name: small_integers(rng, shape) for name, shape in drawn.shapes.items()}
    else:
        arrays = npkd.proofs.cases.arrays(drawn, rng, np.float32)
    if labels is not None:
        arrays["labels"] = labels.astype(np.int64)
    if mask is not None:
        arrays["mask"] = mask.astype(np.float32)
    if op in npkd.proofs.cases.OPS:
        draw = small_integers if exact else normal
        return op_case(op, op, op, arrays, options, rng, draw, exact=exact)
    if op == "standardize":
        return standardize_case(op, arrays["logits"], normal(rng, arrays["logits"].shape), options)
    operation = loss_operation(op, {name: name for name in arrays}, options)
    return case_of(op, op, f"{op} of npkd.losses", arrays, [operation], exact=exact)


def _widened(drawn: Drawn) -> Drawn:
    """So many times the channels, and four windows more along each side of the image."""
    shapes, options = dict(drawn.shapes), dict(drawn.options)
    if len(set(shapes.values())) > 1 and drawn.op in npkd.proofs.cases.LOSSES:
        return drawn
    grouped = options.get("groups", 1) > 1
    if grouped:
        options["groups"] *= WIDER
    if "mask" in options:
        options["mask"] = np.repeat(options["mask"], WIDER, axis=1)
    stride = options.get("stride", 1) or options["kernel_size"]
    for name, shape in shapes.items():
        first, *others = shape
        if name == "w" or not others:
            first *= WIDER
        if others and not (name == "w" and grouped):
            others[0] *= WIDER
        if drawn.op in ("conv2d", "avg_pool2d", "max_pool2d") and name == "x":
            others[1:] = (n + 4 * s for n, s in zip(others[1:], pair(stride), strict=True))
        shapes[name] = (first, *others)
    return Drawn(drawn.op, shapes, options)


def _with_exact_means(op: str, options: Options, rng: np.random.Generator) -> dict[str, Any]:
    """What is to be changed so that divisors are powers of two."""
    if op == "avg_pool2d":
        return {"divisor_override": int(2 ** rng.integers(0, 4))}
    if op == "upsample" and options["mode"] == "bilinear":
        return {"factor": int(rng.integers(1, 3))}
    if op == "l2":
        plain = {"variant": "paper", "temperature": 1.0, "temperature_squared": False}
        return {"reduction": str(rng.choice(["sum", "none"]))} | plain
    if op in ("l1", "huber"):
        reduction = {"reduction": str(rng.choice(["sum", "none"]))}
        return reduction | ({"delta": 2.0 ** rng.integers(-1, 2)} if op == "huber" else {})
    return {"reduction": "sum"} if op == "hint" else {}
