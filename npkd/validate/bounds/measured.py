"""How exact exp, log and their like are in a library, where every number was tried.

`python -m benchmarks.verdicts functions` tries them: PyTorch 2.13 and JAX 0.10.2, float32, on an
x86-64 processor with AVX-512. The largest errors are 1.6 ulp in PyTorch, of softmax's exp, and 6.7
in JAX, of erf (expm1 6.2, exp 5.5). Elsewhere nothing is known.
"""

import platform

LARGEST = {"torch": 2.0, "jax": 7.0}  # in ulp


def ulp_of(library: str, device: str, precision: str) -> float | None:
    """By how much they are off at most, in ulp; None where that was not measured."""
    measured = device == "cpu" and precision == "float32"
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return LARGEST.get(library) if measured and is_x86 else None
