"""Frameworks that are asked the judge's questions.

    adapter     what the judge asks of a framework: one small class
    answering   a case, answered by any adapter
    torch, jax  the adapters

    arrays = answers(Torch(dtype="float32"), case)

A framework is imported when its module is.
"""
