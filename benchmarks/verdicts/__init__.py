"""How well the judge judges: `python -m benchmarks.verdicts`.

programs          what a program is, right or wrong
in_torch, in_jax  the programs
judged            what the judge says of them, and of sums in any order
"""
