"""The README keeps its word: its code runs, the tests and files that it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for extra in ("torch", "safetensors"):
        if f"import {extra}" in block:
            pytest.importorskip(extra)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_every_row_of_departures_points_at_a_test_and_every_such_test_has_a_row():
    section = README.split("## Where this departs from the document, and why")[1].split("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    source = (ROOT / "tests" / "test_departures.py").read_text(encoding="utf-8")
    assert named == set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))


def test_every_file_it_names_exists():
    for name in set(re.findall(r"`((?:npkd|tests|benchmarks)/[\w/.]+)`", README)):
        assert (ROOT / name).exists(), name
