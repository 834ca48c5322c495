"""npkd beside PyTorch on the document's two nets: `python -m benchmarks`."""
