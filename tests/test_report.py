"""The table and the picture of a run."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tiny

from npkd.distill.report import drawings
from npkd.distill.report.table import table
from npkd.files import BadInput
from npkd.printing import pictures


@pytest.fixture(scope="module")
def finished():
    return tiny.finished()[1]


def test_the_table_has_a_column_for_each_net_and_lines_of_one_width(finished):
    lines = table(finished.report).splitlines()
    body = lines[: lines.index("")]
    assert len({len(line) for line in body}) == 1
    assert lines[0].split("  ")[-1] == "small, from labels"
    for figure in ("8,410,564", "267,876"):
        assert any(figure in line for line in body)


def test_the_picture_is_a_png(finished, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "report.png").write_bytes(drawings.picture(finished.report, finished.samples))
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_matplotlib_that_cannot_be_used_says_why():
    pytest.importorskip("matplotlib")
    code = "from npkd.printing.pictures import png; png(lambda figure: None, width=1, height=1)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MPLBACKEND": "nonsense"},
    )
    *_, last = done.stderr.splitlines()
    why = "matplotlib cannot be used: MPLBACKEND is 'nonsense': "
    assert last.startswith(f"npkd.files.BadInput: {why}")
    with pytest.raises(BadInput, match="no_such_thing"):
        pictures.png(lambda figure: figure.no_such_thing, width=1, height=1)


def test_labels_of_axes_are_numbers(finished, tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    drawn, save = [], figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda f, *a, **k: drawn.append(f) or save(f, *a, **k)
    )
    (tmp_path / "report.png").write_bytes(drawings.picture(finished.report, finished.samples))
    of_loss = next(axes for axes in drawn[0].axes if "loss" in axes.get_title())
    labels = [label.get_text() for label in of_loss.get_yticklabels(which="both")]
    assert any(labels)
    assert all(np.isfinite(float(label.replace("−", "-"))) for label in labels if label)


def test_names_that_a_typesetter_would_choke_on_are_drawn(finished, tmp_path):
    pytest.importorskip("matplotlib")
    names = ["a$b^$", "猫", "\\frac", "z\udcff"]
    odd = finished.report | {"class_names": names, "data": {"name": "d$_$\udcff"}}
    (tmp_path / "report.png").write_bytes(drawings.picture(odd, finished.samples))
    assert (tmp_path / "report.png").exists()


def test_long_and_many_names_are_drawn_short(finished, tmp_path):
    pytest.importorskip("matplotlib")
    assert drawings.short("a" * 50) == "a" * 11 + "…"
    assert drawings.short("a\nb") == "a b"
    odd = finished.report | {"class_names": ["a" * 200, "b\nc", "d", "e"]}

    def draw(area):
        drawings.confusion(area, odd, finished.samples, "small")

    assert pictures.png(draw, width=4, height=4).startswith(b"\x89PNG")


def test_the_images_chosen_show_every_class_and_disagreements(finished):
    samples = finished.samples
    chosen, labels = samples["chosen"], samples["labels"]
    assert set(labels[samples["firsts"]]) == set(labels)
    for n in chosen[len(samples["firsts"]) :]:
        assert samples["logits/large_low"][n].argmax() != samples["logits/small"][n].argmax()
