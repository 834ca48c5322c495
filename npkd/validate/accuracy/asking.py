"""Who is asked: a framework's adapter, npkd itself, or a file of results.

Each is a function from a case to the arrays that it gives, and the reasons for what it does not.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

import npkd
from npkd.validate import by_npkd, frameworks
from npkd.validate.accuracy import computer
from npkd.validate.frameworks.adapter import Adapter, NotGiven
from npkd.validate.frameworks.answering import answers
from npkd.validate.program import Arrays, Case

NPKD = "npkd"


class Given(NamedTuple):
    """The arrays of a case by tensor, and why others are not given, each reason once."""

    arrays: Arrays
    why: tuple[str, ...] = ()


Ask = Callable[[Case], Given]


class Asked(NamedTuple):
    """Who is asked, and who that is: framework (with its version), device, flags, platform."""

    ask: Ask
    about: dict[str, str]


def asked(name: str, **settings: object) -> Asked:
    """The framework that is installed under this name, or npkd.

    Raises BadInput for any other, and where it cannot be imported.
    """
    if name == NPKD:
        return Asked(of_npkd, about_npkd())
    adapter = frameworks.adapter(name, dtype="float32", **settings)
    return Asked(lambda case: of_adapter(adapter, case), about(adapter))


def about(adapter: Adapter) -> dict[str, str]:
    return {**adapter.about(), "platform": computer.named()}


def of_adapter(adapter: Adapter, case: Case) -> Given:
    """What a framework gives; what it raises is a reason."""
    try:
        with warnings.catch_warnings(action="ignore"):
            found, left = answers(adapter, case)
    except Exception as error:  # whatever a framework raises, it is asked for the other cases
        return Given({}, (_reason(error),))
    return Given(found, tuple(dict.fromkeys(_reason(error) for _, error in left)))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, NotGiven) else f"{type(error).__name__}: {error}"


# npkd

NUMPYS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {  # what is no op of npkd's
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "softplus": lambda x: np.logaddexp(x, np.zeros_like(x)),
}


def results(case: Case) -> dict[str, np.ndarray]:
    """All tensors of a case by npkd, or by NumPy where npkd has no such op."""
    (operation,) = case.operations
    if operation.op not in NUMPYS:
        return by_npkd.results(case)
    with np.errstate(all="ignore"):
        return {"y": NUMPYS[operation.op](case.inputs["x"])}


def of_npkd(case: Case) -> Given:
    with np.errstate(all="ignore"):
        return Given(results(case))


def about_npkd() -> dict[str, str]:
    return {
        "framework": f"npkd {npkd.__version__}",
        "device": computer.machine(),
        "flags": f"NumPy {np.__version__}, whose exp, log, sqrt and softplus are taken",
        "platform": computer.named(),
    }
