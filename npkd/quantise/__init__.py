"""Nets in eight bits.

ops.py      the operations on integers, as ONNX has them
"""
