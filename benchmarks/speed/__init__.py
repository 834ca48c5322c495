"""npkd beside PyTorch, JAX and other NumPy code on the same work: `python -m benchmarks`.

cells        what is measured: the document's two nets, and operations with their shapes
frameworks   how each framework does it
measure      processes that take turns; medians, ratios and their spread; peak memory
parts        the parts of the benchmark, from cells to rows of figures
chart        the same figures as one picture
"""
