"""A user's own model, function or training step, recorded as a program for the judge.

torch, jax   what is particular to a framework
objective    an objective as operations
"""
