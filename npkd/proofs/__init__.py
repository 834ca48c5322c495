"""The ladder of proofs, for everything in the package: ops, losses, nets, optimisers, training.

    value        it computes its formula: npkd.definitions, or the formula through what is proved
    direction    backward is the transpose of the derivative along a random direction, to 1e-14
    entries      and entry by entry, to 1e-13; both by the complex step
    difference   the same by an exact difference, where the function is affine in each argument
    adjoint      ⟨A v, dy⟩ = ⟨v, Aᵀ dy⟩ for complex numbers, where it is linear in each argument
    ties         and at kinks it is the slope of the convention: real numbers, many equal or 0
    contract     arguments unchanged, the same bits again, dtypes kept, any layout, fresh outputs
    steps        updates are those of the formula

A check takes what it judges as an argument, so that a wrong version can be handed to it:

    PROOFS["conv2d"].checks["entries"](ops.conv2d, case, rng)

and returns what it found, or raises AssertionError. `npkd gradcheck` and the tests run them all, on
random cases.
"""

from npkd.proofs.checks import Check, Finding, Proof, described
from npkd.proofs.ladder import GRADIENTS, PROOFS, Row, prove
from npkd.proofs.of_training import Training

__all__ = [
    "GRADIENTS",
    "PROOFS",
    "Check",
    "Finding",
    "Proof",
    "Row",
    "Training",
    "described",
    "prove",
]
