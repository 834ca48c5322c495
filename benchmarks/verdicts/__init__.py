"""How well the judge judges: `python -m benchmarks.verdicts`.

programs          what a program is, right or wrong
in_torch, in_jax  the programs
power             the smallest fault that the judge sees
functions         how exact the frameworks' exp, log and their like are
judged            what the judge says of them, and of sums in any order
"""
