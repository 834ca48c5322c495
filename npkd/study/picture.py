"""study.png: the accuracy of each setting, and its difference to the net from labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(path: Path, report: Mapping[str, Any]) -> None:
    """Draw study.png. Raises ImportError without matplotlib."""
    raise ImportError
