"""Nets that leave the house.

to_onnx.py  a net, of floats or in eight bits, as a model of ONNX (the extra onnx)
    command.py  `npkd export`
"""
