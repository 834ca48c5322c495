"""The computer that this runs on, in words."""

import platform
from contextlib import suppress
from pathlib import Path

import numpy as np


def machine() -> str:
    """What kind of processor, with the widest of the instructions that NumPy found on it."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return f"{platform.machine()} ({found[-1]})" if found else platform.machine()


def named() -> str:
    """System, processor, Python and NumPy."""
    model = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = models[0] if models else model
    parts = [f"{platform.system()} {machine()}", model, f"Python {platform.python_version()}"]
    return ", ".join(filter(None, [*parts, f"NumPy {np.__version__}"]))
