"""Checks of the losses."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npkd import gradcheck
from npkd.proofs.cases import Drawn, arrays
from npkd.proofs.checks import Check, Finding, _gradients
from npkd.proofs.of_ops import _value


def _by_trained(
    loss: Callable[..., Any], case: Drawn, rng: np.random.Generator
) -> tuple[Callable[..., Any], dict[str, np.ndarray]]:
    """The loss as a function of the arrays that are trained, all but the teacher's, and those.

    The variant "fixed" takes the scale as a constant, by which its gradient must be 0.
    """
    values = arrays(case, rng)
    fixed = "scale" if case.options.get("variant") == "fixed" else ""
    takes = [name for name in values if not name.startswith("teacher")]
    trained = {name: values[name] for name in takes if name != fixed}

    def function(*given: np.ndarray) -> Any:
        named = {name: array.astype(given[0].dtype) for name, array in values.items()}
        named |= dict(zip(trained, given, strict=True))
        value, gradients = loss(*named.values(), **case.options)
        if fixed:
            by_name = dict(zip(takes, gradients, strict=True))
            if np.any(by_name.pop(fixed)):
                raise AssertionError(f"the gradient by {fixed}, which is fixed, is not 0")
            gradients = tuple(by_name.values())
        return value, gradients

    return function, trained


def _of_loss(
    loss: Callable[..., Any], case: Drawn, rng: np.random.Generator, **options: Any
) -> Finding:
    function, trained = _by_trained(loss, case, rng)
    return _gradients(function, trained, rng, **options)


def _loss_contract(loss: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    function, trained = _by_trained(loss, case, rng)
    batched = [0] if case.op == "standardize" else []  # that is no mean over the batch
    gradcheck.check_contract(function, *trained.values(), rng=rng, batched=batched)
    return Finding()


CHECKS_OF_A_LOSS: dict[str, Check] = {
    "value": _value,
    "direction": _of_loss,
    "entries": partial(_of_loss, entrywise=True),
    "contract": _loss_contract,
}
