"""Programs: what is computed, as a list of operations on named tensors.

A case is a program with the arrays that it starts from. A framework's results are a dict of arrays
by the tensors' names. The judge computes every operation anew on the inputs that the framework
itself recorded (where it did not, on its own), and compares what comes out.

    Operation("conv1", "conv2d", {"x": "x_low", "w": "conv1.weight", "b": "conv1.bias"},
              {"y": "conv1"}, {"padding": 1})

What operations there are, with the names of their inputs, results and options:

    conv2d                x, w, b*               → y        options of npkd.ops.conv2d
    linear                x, w, b*               → y
    avg_pool2d, max_pool2d, global_avg_pool2d, relu, relu6, sigmoid, tanh, silu, gelu, flatten,
    softmax, log_softmax, upsample, pixel_shuffle
                          x                      → y        options of npkd.ops
    batch_norm            x, w*, b*, mean*, variance*  → y  by the batch's own where none are given
    dropout               x, mask*               → y        x · mask; without, of a net that is
                                                            evaluated, x itself
    add                   a, b                   → y
    concat                x1, x2, …              → y        along `axis`
    NAME_backward         as NAME, and dy        → dx, dw, db*, …   of each of these
    l2, kl, …             arguments of npkd.losses → value, and gradient for each that is trained
    standardize           logits                 → y        and its backward pass, with dy, → dx
    sgd                   theta, g, velocity*    → theta, velocity   lr, momentum, weight_decay, …
    adam                  theta, g, m*, v*       → theta, m, v   step, lr, beta1, beta2, epsilon, …
    sum                   any number of inputs   → y        their sum, divided by `divisor`
    copy                  x                      → y        a tensor that must not have changed
    rows                  x, index               → y        rows of x by their numbers
    normalise             images, mean, std      → y        uint8 (N, C, H, W): (x/255 − mean) / std
    augment               images, shifts, flips  → y        moved by (down, right), then flipped
    running_mean          x, mean                → y        (1 − momentum) mean + momentum · x's
    running_variance      x, variance            → y        likewise, by the unbiased one
    distinct                                     → draws    what so many `workers` drew: rows differ

    (* may be missing)

Programs that were recorded of a user's own step have

    clip                  x, and all gradients   → y        x · min(1, `norm` / their common norm)
    unscale               x                      → y        x / `divisor`
    statistics            x                      → y        a teacher's, which must not have changed
    set_lr, set_momentum, set_weight_decay, set_nesterov
                          x                      → y        what an optimiser should be set to

Programs that were recorded of a user's own model have those of `elementwise` too, and some for
which there is no rule, taken as they were recorded:

    replayed, replayed_backward    a framework's, called again in float64: `replay` is a Replay
    own, own_backward              the same with a backward pass of the user's own
    unknown                        neither judged nor called again, and listed so

A loss's gradient by the student is named `gradient`; if other arguments are trained too, those by
them are named `gradient_` and the argument's name.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Operation:
    """One operation of a program: which, on which tensors, making which.

    name     where it stands in the program: "conv1", "step 2: loss"
    op       what it is
    inputs   tensors by the names of its inputs
    outputs  tensors by the names of its results
    options  other arguments
    """

    name: str
    op: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """What an operation gives that has no rule, called again in float64 on what was recorded.

    results   by the names of its results and gradients
    wrong     of those that are provably wrong: why
    gradient  what is known of its backward pass
    """

    results: Arrays
    wrong: Mapping[str, str] = field(default_factory=dict)
    gradient: str = ""


UPDATES = ("sgd", "adam")
REPLAYED = ("replayed", "replayed_backward")
OWN = ("own", "own_backward")


@dataclass(frozen=True)
class Case:
    """A program and what it starts from.

    name        its own
    subject     of what it is a probe: cases of one subject ask the same thing with other numbers
    about       what is to be computed, in words
    inputs      arrays by tensor
    operations  in the order in which they are computed
    exact       whether all numbers are such that no order of summation rounds anything
    needed      the tensors that a framework must give; the others it may
    """

    name: str
    subject: str
    about: str
    inputs: Arrays
    operations: tuple[Operation, ...]
    exact: bool = False
    needed: frozenset[str] = frozenset()

    def tensors(self) -> Iterator[str]:
        """The tensors that are computed, in order."""
        for operation in self.operations:
            yield from operation.outputs.values()


def sum_of(terms: Iterable[str], total: str, **options: Any) -> Operation:
    """The sum of tensors, divided by `divisor` if that is given."""
    return Operation(
        total, "sum", {f"x{k}": term for k, term in enumerate(terms, 1)}, {"y": total}, options
    )


def clips(gradients: Mapping[str, str], norm: float) -> list[Operation]:
    """Gradients that are all shortened alike, to a common norm; each by the name it has then."""
    every = {f"g{k}": name for k, name in enumerate(gradients)}
    return [
        Operation(short, "clip", {"x": name, **every}, {"y": short}, {"norm": norm})
        for name, short in gradients.items()
    ]


def not_judged(name: str, why: str, *, asked: bool = False) -> Operation:
    """Something that is not judged, for the report; asked: what the judge was asked about."""
    return Operation(
        name, "unknown", {}, {}, {"function": why} | ({"asked": True} if asked else {})
    )


def update_of(
    name: str,
    theta: str,
    g: str,
    updated: str,
    options: Mapping[str, Any],
    velocity: str | None = None,
    velocity_updated: str | None = None,
) -> Operation:
    """An update of one parameter by SGD; velocities where there is momentum, and one before."""
    inputs, outputs = {"theta": theta, "g": g}, {"theta": updated}
    if options["momentum"] and velocity is not None:
        inputs["velocity"] = velocity
    if options["momentum"] and velocity_updated is not None:
        outputs["velocity"] = velocity_updated
    return Operation(name, "sgd", inputs, outputs, options)
