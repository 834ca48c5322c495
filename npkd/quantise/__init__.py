"""Nets in eight bits.

    ops.py         the operations on integers, as ONNX has them
    network.py     a net of floats made into one of integers, by the ranges of its outputs
    files.py       such a net as an .npz file
    cost.py        what that costs, image by image, and which steps cost it
    loop.py        such a net that is trained: straight-through, which is no gradient
    distilling.py  step 5 of a run again, with that
    command.py     `npkd quantise`

In Python:

    quantised = quantise.Quantised.of(network, images)
    y = quantised(x)
    found = quantise.cost(quantised, x)     # of each image: outputs, their estimated error by steps
"""

from npkd.quantise.cost import Cost, cost
from npkd.quantise.network import Quantised

__all__ = ["Cost", "Quantised", "cost"]
