"""The judge: is a framework's version of the same computation right?

    report = validate.compare(case, results)      # one case's results, arrays by tensor
    report.check()                                # AssertionError, with a table, unless it is right

    validate.torch_module(model, x).check()       # a PyTorch model of one's own
    validate.jax_function(apply, params, x).check()

A difference between two computations of the same thing is rounding, or it is not. `judging` decides
it with a bound that is proved for each operation on the inputs it really had; `faults` says which
known fault explains what rounding does not. What is computed is a program (`program`), a list of
operations; `cases` has those that every framework can be asked, and `exchange` writes them to files
for frameworks in any language. From the bottom up:

    rounding    arithmetic that carries its bound along
    program     what is computed: operations on named tensors
    traced      the same for whole formulas, with their gradients
    formulas    the losses with their bounds
    elementwise additions, products, moves: what users' own programs consist of
    rules       every operation with its bound
    faults      the same for known faults
    verdicts    what is said of each tensor; the report
    trial       one case with its results: what is found, compared
    causes      which fault explains what is wrong
    judging     how it is decided
    cases       programs and numbers to ask a framework
    exactness   the proof that exact ones are
    in_npkd     npkd's own results for them
    sense       which cases from files make sense: what npkd can compute, within limits
    exchange    these as files, and results as files
    in_torch    a framework's side: runs cases, records a user's own model and step
    in_jax      likewise
    page        the report as a page
    command     npkd validate
"""

from typing import Any

from npkd.validate.judging import compare, judge
from npkd.validate.program import Case, Operation
from npkd.validate.verdicts import AMBIGUOUS, BUG, CONSISTENT, UNPROVEN, Cause, Report, Verdict

__all__ = [
    "AMBIGUOUS",
    "BUG",
    "CONSISTENT",
    "UNPROVEN",
    "Case",
    "Cause",
    "Operation",
    "Report",
    "Verdict",
    "compare",
    "judge",
]


def __getattr__(name: str) -> Any:
    """What needs a framework, when it is asked for."""
    if name.startswith("torch_"):
        from npkd.validate import in_torch

        return getattr(in_torch, name)
    if name.startswith("jax_"):
        from npkd.validate import in_jax

        return getattr(in_jax, name)
    raise AttributeError(f"module 'npkd.validate' has no attribute {name!r}")
