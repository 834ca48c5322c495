"""The table and the picture of a run."""

import pytest
import tiny

from npkd import report


@pytest.fixture(scope="module")
def finished():
    return tiny.finish()[1]


def test_the_table_has_a_column_for_each_net_and_lines_of_one_width(finished):
    lines = report.table(finished.report).splitlines()
    body = lines[: lines.index("")]
    assert len({len(line) for line in body}) == 1
    assert lines[0].split("  ")[-1] == "small, from labels"
    for figure in ("8,410,564", "267,876"):
        assert any(figure in line for line in body)


def test_the_picture_is_a_png(finished, tmp_path):
    pytest.importorskip("matplotlib")
    report.picture(tmp_path / "report.png", finished.report, finished.samples)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_labels_of_axes_are_numbers(finished, tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    drawn, save = [], figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda f, *a, **k: drawn.append(f) or save(f, *a, **k)
    )
    report.picture(tmp_path / "report.png", finished.report, finished.samples)
    of_loss = next(axes for axes in drawn[0].axes if "loss" in axes.get_title())
    labels = [label.get_text() for label in of_loss.get_yticklabels(which="both")]
    assert any(labels)
    assert all(float(label) > 0 for label in labels if label)


def test_names_that_a_typesetter_would_choke_on_are_drawn(finished, tmp_path):
    pytest.importorskip("matplotlib")
    names = ["a$b^$", "猫", "\\frac", "z\udcff"]
    odd = finished.report | {"class_names": names, "data": {"name": "d$_$\udcff"}}
    report.picture(tmp_path / "report.png", odd, finished.samples)
    assert (tmp_path / "report.png").exists()


def test_the_images_chosen_show_every_class_and_a_disagreement(finished):
    samples = finished.samples
    small = samples["small"].copy()
    small[7] = -samples["large_low"][7]  # surely another class
    chosen = report._chosen(samples["labels"], samples["large_low"], small)
    assert set(samples["labels"][chosen]) == set(samples["labels"])
    assert 7 in chosen or 7 in {int((samples["labels"] == c).argmax()) for c in range(4)}
