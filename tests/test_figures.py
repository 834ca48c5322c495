"""The record of which code the figures in READMEs were measured with (benchmarks/figures.py).

Figures that were measured with other code than there is now fail no test: to measure them again
takes hours, and not every change is worth that. They are listed at the end of the run.
"""

import json
from dataclasses import asdict

import pytest
from conftest import STALE

from benchmarks import accuracy, figures, tables

RECORD = figures.record()


def test_what_was_measured_with_other_code_is_said_at_the_end_of_the_run(request):
    request.config.stash[STALE] = figures.report()


@pytest.mark.parametrize("name", RECORD)
def test_pages_and_code_of_the_record_are_there(name):
    one = RECORD[name]
    assert (figures.ROOT / one.page).is_file()
    for path in one.code:
        assert figures.python_files(figures.ROOT / path), path
    page = (figures.ROOT / one.page).read_text(encoding="utf-8")
    assert one.command.split(",")[0].split(" --")[0] in page


def test_docstrings_comments_and_blank_lines_are_no_code():
    bare = 'def f(x):\n    return x + "# 1"\n'
    told = '"""Of x."""\n\n# Why\ndef f(x):\n    """Twice\n\n    told."""\n\n    return x + "# 1"\n'
    assert figures.code_lines(bare) == figures.code_lines(told)
    assert figures.code_lines(bare) != figures.code_lines(bare.replace("x +", "x -"))


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A table of one's own, and its record."""
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "RECORD", tmp_path / "figures.json")
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "speed.md").write_text("# Speed\n\n| net | a | b |\n|---|---|---|\n| x | 1 | 2 |\n")
    one = figures.Measured("speed.md", "measure", ["code.py"], {})
    (tmp_path / "figures.json").write_text(json.dumps({"speed": asdict(one)}))
    return tmp_path


def test_a_table_is_of_its_code_until_that_changes(record):
    assert figures.report() == ["speed (all), in speed.md: measure"]
    figures.note("speed")
    assert figures.report() == []
    (record / "code.py").write_text('"""Told."""\n\nx = 1  \n')
    assert figures.report() == []
    (record / "code.py").rename(record / "code_moved.py")
    (record / "code.py").write_text("x = 2\n")
    assert figures.report() == ["speed (all), in speed.md: measure"]


def test_figures_go_into_their_columns_and_the_rest_stays(record):
    figures.fill("speed", 1, {("x",): {"b": "3"}, ("y",): {"a": "4"}})
    text = (record / "speed.md").read_text()
    assert text == "# Speed\n\n| net | a | b |\n|---|---|---|\n| x | 1 | 3 |\n| y | 4 |  |\n"


def test_the_columns_that_benchmarks_write_are_those_of_the_tables():
    def head(name):
        lines = (figures.RESULTS / f"{name}.md").read_text(encoding="utf-8").splitlines()
        return figures.cells(next(line for line in lines if line.startswith("|")))

    spread = {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    row = {"subject": "large", "work": "forward", "batch": 1, "median_ms": {"npkd": 1.0}}
    columns = tables.in_columns([row | {"ratio": {"PyTorch": spread}}])
    assert set(columns["large, forward, 1",]) <= set(head("nets"))
    assert {f"float{bits} after" for bits in (32, 64)} <= set(head("digits"))
    assert set(accuracy.columns("digits") + accuracy.columns("CIFAR-10")) < set(head("accuracy"))
