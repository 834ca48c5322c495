"""The READMEs keep their word: their code runs, what they name and link to is there."""

import re
from pathlib import Path

import numpy as np
import pytest

from npkd.data import sources

ROOT = Path(__file__).parents[1]
FRONT = ROOT / "README.md"
READMES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [FRONT, *sorted(ROOT.glob("*/**/README.md"))]
    if path.relative_to(ROOT).parts[0] in ("README.md", "npkd", "tests", "benchmarks")
    and path.parent.name != "exported"  # which stands beside cases: see test_validate_answer.py
}
BLOCKS = [
    (f"{name}, block {number}", block)
    for name, text in READMES.items()
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.M), 1)
]


@pytest.fixture(scope="module")
def some_digits(tmp_path_factory):
    """An eighth of the bundled digits, in a file like theirs."""
    path = tmp_path_factory.mktemp("digits") / "mnist5k.npz"
    with np.load(sources.BUNDLED) as digits:
        np.savez(path, **{name: array[::8] for name, array in digits.items()})
    return path


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_code_blocks_run(block, some_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "BUNDLED", some_digits)  # to train takes its time
    for extra in ("torch", "safetensors"):
        if f"import {extra}" in block:
            pytest.importorskip(extra)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_the_front_page_is_short_and_leads_to_every_room():
    assert READMES["README.md"].count("\n") <= 150
    assert set(READMES) - {"README.md"} <= set(links(FRONT))


def links(page: Path) -> list[str]:
    """What a page links to in the repository, from its root."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    inside = [link for link in found if "://" not in link]
    return [str((page.parent / link).resolve().relative_to(ROOT)) for link in inside]


@pytest.mark.parametrize("name", READMES)
def test_what_a_page_names_and_links_to_is_there(name):
    for path in {
        *links(ROOT / name),
        *re.findall(r"`((?:npkd|tests|benchmarks)/[\w/.]+)`", READMES[name]),
    }:
        assert (ROOT / path).exists(), path
    for link, place in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", READMES[name]):
        page = (ROOT / name).parent / link if link else ROOT / name
        titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
        assert place in [
            re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
        ]


def test_every_row_of_departures_points_at_a_test_and_every_such_test_has_a_row():
    page = READMES["npkd/distill/README.md"]
    section = page.split("## Where this departs from the document, and why")[1].split("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    source = (ROOT / "tests" / "test_departures.py").read_text(encoding="utf-8")
    assert named == set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
