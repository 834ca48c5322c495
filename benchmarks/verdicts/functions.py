"""How far a framework's exp, log and their like are from the truth: `… verdicts functions`.

A bound takes them to be right to 4 ulp (`npkd.validate.bounds.rounding`). Here each is evaluated on
every float32 number between two powers of two, in arrays as long as a binade, and compared with
float64. An ulp is the distance of float32 numbers at the true value; where that is below the
smallest normal number, which may be flushed to 0, nothing is compared. Softmax may have an
exponential of its own: that is exp(x) as softmax of (0, x, …) times its sum has it, over entries
of rows of 1,024, and so rounded a few times more.

It is exhaustive for this framework, processor and kind of array, and for no other. `npkd accuracy`
measures all operators, of any framework, on a grid.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import special

from benchmarks import tables
from npkd.validate.accuracy.ulps import in_ulps

Function = Callable[[np.ndarray], np.ndarray]
ROW = 1024  # of softmax
# By name: what is right, the powers of two between which it is evaluated, and the signs.
# Below 2⁻³⁰ all but log are 0, 1, or x times a constant; exp overflows at 89, tanh and erf are 1.
RANGES: dict[str, tuple[Function, int, int, tuple[int, ...]]] = {
    "exp": (np.exp, -30, 7, (1, -1)),
    "log": (np.log, -126, 128, (1,)),
    "expm1": (np.expm1, -30, 7, (1, -1)),
    "log1p": (np.log1p, -30, 128, (1,)),
    "tanh": (np.tanh, -30, 4, (1, -1)),
    "erf": (special.erf, -30, 3, (1, -1)),
    "exp in softmax": (np.exp, -30, 7, (-1,)),
}


def in_torch() -> dict[str, Function]:
    import torch

    def of(function: Callable[..., Any]) -> Function:
        return lambda x: function(torch.from_numpy(x)).numpy()

    names = ("exp", "log", "expm1", "log1p", "tanh", "erf")
    functions = {name: of(getattr(torch, name)) for name in names}
    return functions | {"exp in softmax": by_softmax(of(lambda x: torch.softmax(x, 1)))}


def in_jax() -> dict[str, Function]:
    import jax
    import jax.numpy as jnp

    def of(function: Callable[..., Any]) -> Function:
        compiled = jax.jit(function)
        return lambda x: np.asarray(compiled(x))

    functions = {name: of(getattr(jnp, name)) for name in ("exp", "log", "expm1", "log1p", "tanh")}
    functions["erf"] = of(jax.scipy.special.erf)
    return functions | {"exp in softmax": by_softmax(of(lambda x: jax.nn.softmax(x, 1)))}


FRAMEWORKS = {"torch": in_torch, "jax": in_jax}


def by_softmax(softmax: Function) -> Function:
    """exp(x) of x ≤ 0: entries of softmax's rows (0, x, …) over the first one."""

    def exp(x: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(x) // (ROW - 1) + 1, ROW), np.float32)
        flat = np.zeros(rows.shape[0] * (ROW - 1), np.float32)
        flat[: x.size] = x
        rows[:, 1:] = flat.reshape(-1, ROW - 1)
        y = softmax(rows)
        return (y[:, 1:] / y[:, :1].astype(np.float64)).ravel()[: x.size]

    return exp


def binades(first: int, end: int, signs: tuple[int, ...]) -> Iterator[np.ndarray]:
    """All float32 numbers from 2^first up to 2^end, a power of two at a time."""
    mantissas = np.arange(2**23, dtype=np.uint32)
    for exponent in range(first, end):
        for sign in signs:
            bits = np.uint32(((sign < 0) << 31) | ((exponent + 127) << 23))
            yield (mantissas | bits).view(np.float32)


def ulps(found: np.ndarray, right: np.ndarray) -> float:
    """The largest error in ulp, where the right value is a normal number and not beyond them."""
    limits = np.finfo(np.float32)
    size = np.abs(right)
    normal = (size >= limits.smallest_normal) & (size <= float(limits.max))
    if not np.any(normal):
        return 0.0
    return float(np.max(in_ulps(found[normal], right[normal])))


def functions(runs: int, seed: int) -> dict[str, Any]:
    """The largest error of each function in each framework that is installed."""
    rows = []
    for framework, words in FRAMEWORKS.items():
        if not find_spec(framework):
            continue
        for name, function in words().items():
            right, *numbers = RANGES[name]
            with np.errstate(all="ignore"):
                worst = max(
                    (ulps(function(x), right(x.astype(np.float64))), float(x[0]))
                    for x in binades(*numbers)
                )
            rows.append({"framework": framework, "function": name, "ulp": worst[0]})
            rows[-1]["near"] = worst[1]
    return {"rows": rows}


def table_of_functions(figures: Mapping[str, Any]) -> str:
    """A row for each framework and function."""
    body = []
    for row in figures["rows"]:
        _, first, end, signs = RANGES[row["function"]]
        numbers = f"all from 2^{first} to 2^{end}, {'both signs' if len(signs) > 1 else 'one sign'}"
        body.append([row["framework"], row["function"], numbers, f"{row['ulp']:.2f}"])
    return tables.aligned(["framework", "function", "measured on", "largest error, ulp"], body)
