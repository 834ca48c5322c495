"""Nets that leave the house.

to_onnx.py   a net, of floats or in eight bits, as a model of ONNX (the extra onnx)
to_torch.py  the same as a module of PyTorch, in its own lines
layers.py    what both need to know of layers
command.py   `npkd export`
speed.py     how quick nets are, here and there: `npkd speed`
"""
