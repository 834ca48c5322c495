"""What a wrong program is, in whatever framework; how cases are made, and runs shared out."""

import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from npkd import ops
from npkd.validate import Case, Operation

Arrays = dict[str, np.ndarray]
Program = Callable[[Case], Arrays]

PRECISION = 30  # the number of the fault that is no wrong result, but a lower precision
CORES = 2
UNLISTED = 0  # the number of those that the list of faults to be caught lacks


@dataclass(frozen=True)
class WrongProgram:
    """A program with one mistake.

    number   of the fault, in the list of those to be caught, or UNLISTED
    faults   its name in `npkd.validate.faults`; for number 30, of the precision. Several, where no
             result of the subject tells them apart
    subject  whose cases it computes
    about    the mistake, in words
    source   the public issue that it comes from, if any: OWNER/REPOSITORY#NUMBER
    """

    number: int
    faults: tuple[str, ...]
    subject: str
    about: str
    run: Program
    source: str = ""

    @property
    def is_precision(self) -> bool:
        """Whether all is right but for the precision that was asked for."""
        return self.number == PRECISION


def case_of(
    op: str,
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
    rng: np.random.Generator,
    options: Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
    **shapes: tuple[int, ...],
) -> Case:
    """An op and its backward pass on random arrays."""
    given = {name: draw(rng, shape) for name, shape in shapes.items()}
    y, _ = getattr(ops, op)(*given.values(), **(options or {}))
    names = {name: name for name in shapes}
    forward = Operation(op, op, names, {"y": "y"}, options or {})
    gradients = {f"d{name}": f"d{name}" for name in shapes}
    backward = Operation(
        f"{op} backward", f"{op}_backward", names | {"dy": "dy"}, gradients, options or {}
    )
    name = f"{op} {'exact' if exact else 'normal'}"
    inputs = given | {"dy": draw(rng, y.shape)}
    return Case(name, op, op, inputs, (forward, backward), exact, frozenset({"y", *gradients}))


def quietly() -> None:
    """Frameworks warn of what the programs do on purpose."""
    warnings.simplefilter("ignore")
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


def spread(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """work(task) for all tasks, in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=context) as pool:
        yield from pool.map(work, tasks)
