"""Nets in eight bits.

    ops.py      the operations on integers, as ONNX has them
    network.py  a net of floats made into one of integers, by the ranges of its outputs

In Python:

    quantised = quantise.Quantised.of(network, images)
    y = quantised(x)
"""

from npkd.quantise.network import Quantised

__all__ = ["Quantised"]
