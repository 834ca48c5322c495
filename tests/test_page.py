"""report.html: one file that holds everything itself, made again from the files of a run."""

import re

import numpy as np
import pages
import pytest
import studies
import tiny

from npkd import cli, weights
from npkd.distill.report import contents, drawings, page
from npkd.distill.report.table import rows
from npkd.objectives import Term
from npkd.printing import pictures

pytest.importorskip("matplotlib")

SETTINGS = {
    "classify": {},
    "teacher sees high resolution, other losses, resnets": {
        **tiny.RESNETS,
        "teacher_input": "high",
        "loss": (Term("kl"), Term("hint")),
        "label_weight": 0.2,
    },
    "super-resolve": tiny.RESOLVE,
}


@pytest.fixture(autouse=True, scope="module")
def _small_nets():
    """The page is the same, of fewer filters."""
    with studies.small_nets():
        yield


@pytest.fixture(scope="module", params=SETTINGS)
def finished(request):
    return tiny.finish(**SETTINGS[request.param])[1]


ODD = {"name": "<script>alert(1)</script>", "class_names": ["<b>", "&amp;", '"', "猫"]}


def write(folder, finished):
    """The files of a run that the page is made from, with names that could alter it."""
    data = finished.report["data"] | {"name": ODD["name"]}
    odd = finished.report | {"data": data, "class_names": ODD["class_names"]}
    contents.write_json(folder / "report.json", odd)
    weights.save_weights(folder / "samples.npz", finished.samples)
    for name, network in finished.networks.items():
        weights.save_weights(folder / f"{name}.npz", network.state_dict())


@pytest.fixture(scope="module")
def made(finished, tmp_path_factory):
    """A folder with a run and its page."""
    folder = tmp_path_factory.mktemp("made")
    write(folder, finished)
    page.write(folder)
    return folder


def test_the_page_tells_the_story_by_itself(finished, made):
    shown = pages.read(made / "report.html")
    assert shown.images >= 8
    for words in ("step by step", "side by side", "What was compressed", "Settings", "Seed 3"):
        assert words in shown.text
    loss = finished.report["loss"]
    assert ("the squared distance of the two nets’ outputs" if loss == "l2" else loss) in shown.text
    for cells in rows(finished.report):
        assert all(cell in shown.text for cell in cells)
    assert "://" not in re.sub(r"base64,[^\"]*", "", (made / "report.html").read_text())


def test_the_page_is_made_again_from_the_files_alone(finished, made, tmp_path, capsys):
    write(tmp_path, finished)
    assert cli.main(["report", str(tmp_path)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text() == (made / "report.html").read_text()


def test_names_cannot_alter_the_page(made):
    assert ODD["name"] in pages.read(made / "report.html").text
    assert "<script>" not in (made / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", b"{"),
        ("report.json", b"[]"),
        ("report.json", b'{"task": "classify"}'),
        ("report.json", None),
        ("samples.npz", b""),
        ("samples.npz", None),
        ("small.npz", None),
    ],
)
def test_files_that_are_not_of_a_run_are_one_line(finished, tmp_path, capsys, name, content):
    write(tmp_path, finished)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert cli.main(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("npkd report: ")
    assert not (tmp_path / "report.html").exists()


def test_samples_of_another_run_are_refused(finished, tmp_path, capsys):
    write(tmp_path, finished)
    weights.save_weights(tmp_path / "samples.npz", {"chosen": np.arange(3)})
    assert cli.main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"npkd report: {tmp_path / 'samples.npz'}: lacks firsts\n"


@pytest.mark.parametrize("columns", [1, 2, 12])
@pytest.mark.parametrize("shape", [(8, 8, 3), (4, 12, 3), (12, 4, 3)])
def test_titles_of_a_gallery_lie_above_their_images_and_below_those_before(columns, shape):
    image, kept = (np.zeros(shape), "title\nof two lines"), []

    def draw(area):
        drawings._gallery(area, {"x_high": [image] * columns, "x_low": [image] * columns})
        kept.append(area)

    pictures.png(draw, width=page.GALLERY[0], height=page.GALLERY[1])
    (axes,) = kept[0].axes
    boxes = [one.get_window_extent() for one in axes.images]
    titles = [one.get_window_extent() for one in axes.texts if "title" in one.get_text()]
    for title, box in zip(titles, boxes, strict=True):
        assert title.y0 >= box.y1 - 1
    for title, above in zip(titles[columns:], boxes, strict=False):
        assert title.y1 <= above.y0 + 1
