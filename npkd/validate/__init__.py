"""The judge: is a framework's version of the same computation right?

    report = validate.compare(case, results)      # one case's results, arrays by tensor
    report.check()                                # AssertionError, with a table, unless it is right

    validate.torch_module(model, x).check()       # a PyTorch model of one's own
    validate.jax_function(apply, params, x).check()

Of a model it judges the arithmetic, not the composition: what a layer computes from what it was
given, not whether it is the layer that was meant.

A difference between two computations of the same thing is rounding, or it is not. `judging` decides
it with a bound that is proved for each operation on the inputs it really had; `faults` says which
known fault explains what rounding does not. What is computed is a program, a list of operations.
From the bottom up, each room imports only those above it in this list:

    program      what is computed: operations on named tensors
    bounds/      how far rounding may take each operation's results
    by_npkd      npkd's own results for a program
    questions/   programs and numbers to ask a framework, in memory and as files
    faults/      what a known fault would give
    judging/     verdict, cause, report and page
    recording/   a user's own model or training step as a program
    frameworks/  what is asked of a framework, and how it answers
    command      npkd validate
"""

from typing import Any

from npkd.validate.judging.judge import compare, judge
from npkd.validate.judging.verdicts import (
    BUG,
    CONSISTENT,
    CONVENTION,
    UNPROVEN,
    Cause,
    Report,
    Verdict,
)
from npkd.validate.program import Case, Operation

__all__ = [
    "BUG",
    "CONSISTENT",
    "CONVENTION",
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
    """The questions, and what needs a framework, when they are asked for."""
    if name == "cases":
        from npkd.validate.questions import subjects

        return subjects
    if name.startswith("torch_"):
        from npkd.validate.recording import torch

        return getattr(torch, name)
    if name.startswith("jax_"):
        from npkd.validate.recording import jax

        return getattr(jax, name)
    raise AttributeError(f"module 'npkd.validate' has no attribute {name!r}")
