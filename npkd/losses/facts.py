"""Facts about each loss other than its formula: it declares them, and all other modules read them.

Beside `@loss("logits", "batchmean sum elementmean none")` above `kl`, and its arguments,
FACTS["kl"].trained is ("student",) and FACTS["kl"].options["temperature"] is 4.0.

Arguments whose names begin with teacher or labels are data; all other arrays are trained, and those
behind the last of the teacher's belong to neither net.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from npkd.losses.arguments import choice, in_range

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Facts:
    """The facts of a loss.

    on          what it compares: "outputs" of any kind, "logits" of classes, a "map" of features,
                two "maps", or a "vector" of features of each sample
    reductions  those that it offers
    weight      in a training, by default; on inner layers it is that of RepDistiller's scripts.
                None: nothing is trained by it alone
    arrays      its array arguments, labels too, in order
    options     its other arguments, and their defaults
    """

    on: str
    reductions: tuple[str, ...]
    weight: float | None
    arrays: tuple[str, ...]
    options: Mapping[str, Any]

    @property
    def trained(self) -> tuple[str, ...]:
        """The arguments that there are gradients by: the student's, and its own weights."""
        return tuple(one for one in self.arrays if not one.startswith(("teacher", "labels")))

    @property
    def own(self) -> tuple[str, ...]:
        """Trained arguments of neither net, such as a regressor's weight."""
        last = max((k for k, one in enumerate(self.arrays) if one.startswith("teacher")), default=0)
        return tuple(one for one in self.arrays[last + 1 :] if one != "labels")

    @property
    def labels(self) -> bool:
        """Whether it takes labels."""
        return "labels" in self.arrays

    @property
    def layers(self) -> str:
        """The part of a net that it compares: its "output", or what else `on` names."""
        return "output" if self.on in ("outputs", "logits") else self.on

    def gradients(self, given: Iterable[str]) -> dict[str, str]:
        """The argument that each gradient is by, by the gradient's name; of the arguments given."""
        first, *others = (name for name in self.trained if name in given)
        return {"gradient": first} | {f"gradient_{name}": name for name in others}


FACTS: dict[str, Facts] = {}


def loss(
    on: str, reductions: str = "", weight: float | None = 1.0
) -> Callable[[Function], Function]:
    """A decorator: it enters the facts, and silences warnings of what is too small or too large."""

    def described(function: Function) -> Function:
        arguments = inspect.signature(function).parameters.values()
        options = {one.name: one.default for one in arguments if one.kind is one.KEYWORD_ONLY}
        arrays = tuple(one.name for one in arguments if one.kind is not one.KEYWORD_ONLY)
        facts = Facts(on, tuple(reductions.split()), weight, arrays, options)
        FACTS[function.__name__] = facts
        return in_range(function)

    return described


def divisor_of(loss: str, reduction: str, samples: int, entries: int | None = None) -> int:
    """The divisor that goes with `reduction`, of so many samples, and entries that are compared.

    entries: None where a mean over them is not offered.

    Raises ValueError for a reduction that is not offered, and for a mean over nothing.
    """
    divisors = {"batchmean": samples, "elementmean": entries, "sum": 1, "none": 1}
    offered = [one for one in FACTS[loss].reductions if divisors[one] is not None]
    divisor = divisors[choice(loss, "reduction", reduction, *offered)]
    if not divisor:
        raise ValueError(f'{loss}: an empty batch has no mean; use reduction="sum"')
    return divisor
