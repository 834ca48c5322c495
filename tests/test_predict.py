"""New images, predicted by the nets of a finished run: prepared as in the run, to the last bit."""

import json
import sys
from dataclasses import replace

import commands
import numpy as np
import photographs
import pytest
import studies
import tiny

import npkd
from npkd import cli, data, ops, weights
from npkd.data import Normalisation
from npkd.distill import predict
from npkd.distill.report import contents
from npkd.files import BadInput

PIL = pytest.importorskip("PIL.Image")
RUNS = {
    "3×32×32": ((3, 32), 0, {}),
    "3×32×32, a border of 2": ((3, 32), 2, {}),
    "3×12×12, shown high": ((3, 12), 0, {"small_input": "high", "teacher_input": "high"}),
    "3×20×20, resnets": ((3, 20), 0, tiny.RESNETS),
    "1×16×16": ((1, 16), 0, {}),
    "2×8×8": ((2, 8), 0, {}),
    "4×16×16, a border of 4": ((4, 16), 4, {}),
}
TEST = 70  # images: more than one batch
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)


@pytest.fixture(autouse=True, scope="module")
def _small_nets():
    with studies.small_nets():
        yield


def write(folder, last, about=(), names=None):
    """The files of a run; with changes to `data`, or other class names."""
    report = last.report | {"data": last.report["data"] | dict(about)}
    if names:
        report |= {"class_names": names}
    contents.write_json(folder / "report.json", report)
    weights.save_weights(folder / "samples.npz", last.samples)
    for name, net in last.networks.items():
        weights.save_weights(folder / f"{name}.npz", net.state_dict())
    return folder


def made(shape, border, **changes):
    """A data set whose images have a black border, and a run on it."""
    channels, size = shape
    dataset = tiny.dataset(test=TEST, channels=channels, size=size)
    for images in (dataset.train_images, dataset.test_images):
        inside = np.zeros((size, size), bool)
        inside[border : size - border, border : size - border] = True
        images[...] *= inside
    dataset = replace(dataset, border=border)
    return dataset, tiny.finish(dataset, **changes)[1]


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    """A data set, what came of a run on it, and its folder."""
    shape, border, changes = RUNS[request.param]
    dataset, last = made(shape, border, **changes)
    return dataset, last, write(tmp_path_factory.mktemp("run"), last)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same of 3×32×32."""
    dataset, last = made((3, 32), 0)
    return dataset, last, write(tmp_path_factory.mktemp("plain"), last)


def save(folder, images, border=0):
    """Each image (C, S, S) without its border as a PNG file: the paths."""
    folder.mkdir(exist_ok=True)
    size = images.shape[-1]
    inside = images[..., border : size - border, border : size - border]
    for number, image in enumerate(inside):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        PIL.fromarray(pixels).save(folder / f"{number:03}.png")
    return sorted(folder.iterdir())


# The same way as in the run


@pytest.mark.parametrize("net", predict.NETS)
def test_images_of_the_test_have_the_logits_of_the_test_to_the_bit(run, net, tmp_path):
    """As arrays in any layout, with or without their border, and from files."""
    dataset, last, folder = run
    expected, images, border = last.samples[f"logits/{net}"], dataset.test_images, dataset.border
    size = images.shape[-1]
    ask = npkd.Predictor(folder)
    inside = images[..., border : size - border, border : size - border]
    np.save(tmp_path / "images.npy", inside)
    np.savez(tmp_path / "images.npz", any_name=inside)
    given = [images, inside, np.ascontiguousarray(inside.transpose(0, 2, 3, 1)), list(inside)]
    given += [tmp_path / "images.npy", str(tmp_path / "images.npz")]
    if dataset.image_shape[0] == 1:
        given.append(images[:, 0])
    if dataset.image_shape[0] in (1, 3):
        paths = save(tmp_path / "files", images, border)
        given += [paths, tmp_path / "files", [path.read_bytes() for path in paths]]
        given += [[bytearray(path.read_bytes()) for path in paths]]
        given += [save(tmp_path / "with border", images)]
    for one in given:
        found = ask(one, net=net)
        np.testing.assert_array_equal(found.logits, expected, strict=True)
    assert found.class_names == dataset.class_names
    assert found.labels.tolist() == expected.argmax(axis=1).tolist()
    np.testing.assert_array_equal(found.probabilities, ops.softmax(expected.astype(float))[0])


def test_what_the_report_holds_of_the_images_is_read_back_to_the_bit(run):
    dataset, _, folder = run
    task = npkd.Predictor(folder).task
    normalise = Normalisation.of(dataset.train_images)
    np.testing.assert_array_equal(task.normalise.mean, normalise.mean, strict=True)
    np.testing.assert_array_equal(task.normalise.std, normalise.std, strict=True)


def test_images_of_other_sizes_are_brought_to_the_runs_as_its_reader_does(run, tmp_path):
    dataset, _, folder = run
    channels, size, _ = dataset.image_shape
    ask, rng = npkd.Predictor(folder), np.random.default_rng(0)
    wide = rng.integers(0, 256, (5, channels, 2 * size, 3 * size), dtype=np.uint8)
    inner = size - 2 * dataset.border
    expected = data.images.standard_form(wide, "wide", inner)
    if channels == 1:
        expected = expected[:, :1]
    expected = np.pad(expected, ((0, 0), (0, 0), *[(dataset.border, dataset.border)] * 2))
    np.testing.assert_array_equal(ask(wide).logits, ask(expected).logits)
    if channels in (1, 3):
        paths = save(tmp_path, wide)
        read = np.stack([data.read_image(p, size=size, border=dataset.border) for p in paths])
        np.testing.assert_array_equal(ask(paths).logits, ask(read[:, :channels]).logits)


def test_the_background_is_the_runs(plain, tmp_path):
    _, last, folder = plain
    PIL.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "run").mkdir()
    white = npkd.Predictor(write(tmp_path / "run", last, {"background": "white"}))
    black = npkd.Predictor(folder)
    for ask, level in ((white, 255), (black, 0)):
        image = np.full((1, 3, 32, 32), level, np.uint8)
        assert ask(tmp_path / "clear.png").logits.tolist() == ask(image).logits.tolist()


def test_no_images_have_no_predictions(plain):
    found = npkd.Predictor(plain[2])([])
    assert found.logits.shape == (0, 4)
    assert (found.names, found.images, found.top(2)) == ([], (), [])


def test_of_equal_logits_the_first_class_comes_first():
    found = predict.Predictions(("a",), ("x", "y", "z"), np.float32([[1, 2, 2]]))
    assert found.names == ["y"]
    assert [name for name, _ in found.top(2)[0]] == ["y", "z"]
    assert [name for name, _ in found.top(9)[0]] == ["y", "z", "x"]
    assert sum(p for _, p in found.top(9)[0]) == pytest.approx(1)


# From end to end


def test_two_hundred_odd_photographs_are_trained_on_and_predicted(tmp_path, capsys, monkeypatch):
    folder, out = tmp_path / "photographs", tmp_path / "run"
    photographs.write(folder, 200, np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    quick = ["--epochs", 12, "--large-epochs", 1, "--background", "white", "--size", 16]
    quick += ["--label-weight", 1, "--learning-rate", 0.05, "--small-input", "high"]
    status, shown, _ = commands.run(capsys, "distill", "--data", folder, "--out", out, *quick)
    assert status == 0
    assert "note: 3 files left out: 1 " in shown
    classes = [folder / name for name in photographs.CLASSES]
    asked = commands.run(capsys, "predict", out, *classes, "--net", "both", "--json")
    assert asked[0] == 0
    assert asked[2].startswith(f"note: {classes[0]}: 3 files left out: 1 ")
    found = json.loads(asked[1])
    assert found["run"] == str(out)
    images = found["images"]
    paths = [str(path) for home in classes for path in sorted(home.iterdir())]
    left_out = tuple(photographs.LEFT_OUT)
    assert [one["image"] for one in images] == [p for p in paths if not p.endswith(left_out)]
    dataset = data.load(folder, size=16, background="white")
    stored = np.concatenate([dataset.train_images, dataset.test_images])
    for net in predict.NETS:
        ask = npkd.Predictor(out)(stored, net=net)
        assert sorted(p for _, p in (top[0] for top in ask.top(1))) == pytest.approx(
            sorted(one[net][0]["probability"] for one in images), rel=1e-4
        )
    report = json.loads((out / "report.json").read_text())["models"]["small"]
    right = np.mean([one["small"][0]["class"] in one["image"].split("/") for one in images])
    of_all = (report["train_accuracy"] * 160 + report["accuracy"] * 40) / 200
    assert right == pytest.approx(of_all, abs=0.02)
    assert right > 0.5


def test_the_table_has_a_row_for_each_class_that_is_asked_for(plain, tmp_path, capsys):
    dataset, _, folder = plain
    save(tmp_path, dataset.test_images[:2])
    first, second = sorted(tmp_path.iterdir())
    status, shown, said = commands.run(capsys, "predict", folder, second, first, "--top", 3)
    assert (status, said) == (0, "")
    head, _, *rows = shown.splitlines()
    assert head.split() == ["image", "small,", "distilled", "probability"]
    assert [row.split("  ")[0] for row in rows] == [str(second), "", "", str(first), "", ""]
    found = npkd.Predictor(folder)([second, first]).top(3)
    assert [tuple(row[len(str(first)) :].split()) for row in rows] == [
        ("corner", name[-1], f"{p:.2%}") for top in found for name, p in top
    ]
    both = commands.run(capsys, "predict", folder, first, "--net", "both")[1].splitlines()
    assert both[0].split()[1:] == ["large", "probability", "small,", "distilled", "probability"]
    assert len(both) == 3
    assert commands.run(capsys, "predict", folder, first, "--top", 99)[1].count("%") == 4


def test_a_thousand_images_are_predicted_in_batches(plain, tmp_path, capsys, monkeypatch):
    dataset, _, folder = plain
    np.save(tmp_path / "many.npy", np.resize(dataset.test_images, (1000, 3, 32, 32)))
    held, logits = [], predict.Predictor._logits
    monkeypatch.setattr(
        predict.Predictor,
        "_logits",
        lambda self, net, images: held.append(len(images)) or logits(self, net, images),
    )
    status, shown, _ = commands.run(capsys, "predict", folder, tmp_path / "many.npy")
    assert status == 0
    assert len(shown.splitlines()) == 1002
    assert sum(held) == 1000
    assert max(held) == 64


def test_a_bar_is_shown_on_a_terminal(plain, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    dataset, _, folder = plain
    np.save(tmp_path / "many.npy", dataset.test_images)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    status, shown, said = commands.run(capsys, "predict", folder, tmp_path / "many.npy", "--json")
    assert status == 0
    assert "/70 [" in said
    assert len(json.loads(shown)["images"]) == 70


# What is not as it should be


def test_an_image_that_cannot_be_read_is_one_line_and_the_others_are_predicted(
    plain, tmp_path, capsys
):
    dataset, _, folder = plain
    (tmp_path / "good").mkdir()
    good = save(tmp_path / "good", dataset.test_images[:3])
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:60])
    PIL.new("CMYK", (9, 9)).save(tmp_path / "print.jpg")
    np.save(tmp_path / "floats.npy", np.zeros((2, 8, 8)))
    np.save(tmp_path / "four.npy", np.zeros((2, 4, 8, 8), np.uint8))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    (tmp_path / "empty").mkdir()
    bad = {
        broken: "not an image that Pillow can read",
        tmp_path / "print.jpg": "in CMYK",
        tmp_path / "none.png": "No such file or directory; expected an image",
        tmp_path / "floats.npy": "of float64; expected uint8, 0 to 255",
        f"{tmp_path / 'four.npy'}[0]": "an image of 4 channels, expected 3",
        f"{tmp_path / 'four.npy'}[1]": "an image of 4 channels, expected 3",
        tmp_path / "two.npz": "no array named images; it holds a, b",
        tmp_path / "empty": "a folder without images",
        tmp_path / "no.npy": "No such file",
    }
    files = [tmp_path / "four.npy", *(path for path in bad if "four.npy" not in str(path))]
    mixed = [good[0], *files[:5], good[1], *files[5:], good[2]]
    status, shown, said = commands.run(capsys, "predict", folder, *mixed)
    assert status == 1
    assert len(shown.splitlines()) == 5
    assert [str(path) in shown for path in good] == [True] * 3
    assert len(said.splitlines()) == len(bad)
    for path, words in bad.items():
        line = next(line for line in said.splitlines() if line.startswith(f"{path}: "))
        assert words in line
    status, shown, again = commands.run(capsys, "predict", folder, *mixed, "--json")
    assert (status, again) == (1, said)
    images = json.loads(shown)["images"]
    assert [one["problem"] for one in images if "problem" in one] == said.splitlines()
    for path in bad:
        with pytest.raises(BadInput):
            npkd.Predictor(folder)([good[0], str(path).split("[")[0]])


HOSTILE = ["\x1b[31mred\x07", "a\nb\x7f", "z\udcff" + "é" * 9000, '"<script>']


def test_no_name_is_obeyed_by_a_terminal_and_json_stays_valid(plain, tmp_path, capsys):
    dataset, last, _ = plain
    folder = write(tmp_path, last, names=HOSTILE)
    (tmp_path / "x\x1b[31m\n").mkdir()
    paths = save(tmp_path / "x\x1b[31m\n", dataset.test_images[:8])
    missing = tmp_path / "\x1b[2Jnone.png"
    for more in ([], ["--json"]):
        asked = commands.run(capsys, "predict", folder, *paths, missing, "--top", 4, *more)
        assert asked[0] == 1
        for text in asked[1:]:
            assert all(letter.isprintable() for line in text.splitlines() for letter in line)
    found = json.loads(asked[1])["images"]
    assert [one["image"] for one in found] == [str(path) for path in [*paths, missing]]
    assert {one["class"] for one in found[0]["small"]} == set(HOSTILE)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"mean": [0.5]}, "data.mean is of 1 channels, expected 3"),
        ({"std": [0.5, 0.5, 0.0]}, r"data.std\[2\] is 0.0, expected a number from 0.00392157"),
        ({"border": 16}, "data.border is 16, expected less than half of 32"),
        ({"border": -1}, "data.border is -1, expected a whole number from 0"),
        ({"image_shape": [3, 28, 28]}, "small.npz: fc1.weight is float32"),
    ],
)
def test_a_folder_that_no_run_can_have_written_is_refused(plain, tmp_path, about, words):
    with pytest.raises(BadInput, match=words):
        npkd.Predictor(write(tmp_path, plain[1], about))([])


@pytest.mark.parametrize("net", predict.NETS)
def test_report_and_the_weights_of_the_net_are_enough(plain, tmp_path, net):
    dataset, last, folder = plain
    for name in ("report.json", f"{net}.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    ask, (other,) = npkd.Predictor(tmp_path), {*predict.NETS} - {net}
    found = ask(dataset.test_images, net=net)
    np.testing.assert_array_equal(found.logits, last.samples[f"logits/{net}"])
    with pytest.raises(BadInput, match=rf"{other}.npz: No such file"):
        ask(dataset.test_images, net=other)


@pytest.mark.parametrize("folder", [None, b"run", 3, ""])
def test_what_is_no_folder_is_named(folder):
    with pytest.raises(ValueError, match=f"^folder is {folder!r}, expected the path of a run's"):
        npkd.Predictor(folder)


def test_a_background_that_is_no_colour_is_refused(plain, tmp_path, capsys):
    image = save(tmp_path, plain[0].test_images[:1])[0]
    folder = write(tmp_path, plain[1], {"background": "<i>"})
    assert npkd.Predictor(folder)(plain[0].test_images).names
    status, _, said = commands.run(capsys, "predict", folder, image)
    assert status == 2
    assert said.startswith(f"npkd predict: {folder / 'report.json'}: data.background is '<i>'; ")


@pytest.mark.parametrize("name", ["mean", "std", "border"])
def test_a_run_that_did_not_keep_how_it_prepared_images_is_named(plain, tmp_path, capsys, name):
    about = {key: value for key, value in plain[1].report["data"].items() if key != name}
    last = replace(plain[1], report=plain[1].report | {"data": about})
    asked = commands.run(capsys, "predict", write(tmp_path, last), tmp_path)
    assert asked[0] == 2
    assert "report.json: does not say how images were prepared" in asked[2]


def test_a_run_that_super_resolves_is_refused_in_one_line(tmp_path, capsys):
    folder = write(tmp_path, tiny.finish(**tiny.RESOLVE)[1])
    status, _, said = commands.run(capsys, "predict", folder, "any.png")
    assert status == 2
    assert said.count("\n") == 1
    assert "its run was to super-resolve: its nets make images, and no classes" in said


def test_a_net_that_is_too_deep_for_such_images_is_no_runs(tmp_path):
    """Each array is one that it has for larger ones."""
    last = made((3, 8), 0)[1]
    vgg = npkd.zoo.vgg8(0, image_size=8, num_classes=4)
    nets = last.networks | {"small": vgg, "small_from_labels": vgg}
    config = last.report["config"] | {"small": "vgg8"}
    report = last.report | {"config": config}
    folder = write(tmp_path, replace(last, report=report, networks=nets))
    with pytest.raises(BadInput, match="not the folder of a run: small is vgg8, which is not for"):
        npkd.Predictor(folder)([])


def test_outputs_that_are_not_finite_are_a_problem(plain, tmp_path, capsys):
    dataset, last, _ = plain
    large = {k: np.full_like(v, 1e38) for k, v in last.networks["small"].state_dict().items()}
    folder = write(tmp_path, last)
    weights.save_weights(tmp_path / "small.npz", large)
    np.save(tmp_path / "one.npy", dataset.test_images[:1])
    status, shown, said = commands.run(
        capsys, "predict", folder, tmp_path / "one.npy", "--json", "--net", "both"
    )
    assert status == 1
    assert said == f"{tmp_path / 'one.npy'}[0]: the outputs for it are not finite\n"
    assert "problem" in json.loads(shown)["images"][0]


def test_files_need_pillow_and_arrays_do_not(plain, tmp_path, capsys, monkeypatch):
    dataset, _, folder = plain
    paths = save(tmp_path, dataset.test_images[:2])
    monkeypatch.setitem(sys.modules, "PIL", None)
    status, _, said = commands.run(capsys, "predict", folder, *paths)
    assert (status, said.count("\n")) == (2, 1)
    assert "needs Pillow" in said
    assert len(npkd.Predictor(folder)(dataset.test_images).names) == TEST


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (3, {}, "images is 3, expected paths or arrays of uint8"),
        ([3], {}, r"images\[0\] is 3, expected a path or an array of uint8"),
        ([], {"net": "tiny"}, "net is 'tiny', expected one of"),
        (np.zeros((2, 32, 32)), {}, r"images: images have shape \(2, 32, 32\) of float64; expec"),
        (np.zeros(3, np.uint8), {}, r"images: images have shape \(3,\) of uint8; expected uint8"),
        ([np.zeros(3, np.uint8)], {}, r"images\[0\]: has shape \(3,\) of uint8; expected one im"),
        ([IMAGE[None]], {}, r"images\[0\]: has shape \(1, 3, 32, 32\) of uint8; expected one im"),
        ([IMAGE / 255], {}, r"images\[0\]: has shape \(3, 32, 32\) of float64; expected one im"),
        (IMAGE, {}, r"images: an array of shape \(3, 32, 32\) may be three grey images or one"),
        (np.ma.array(IMAGE[None]), {}, r"images: a masked array; expected one without a mask"),
        ([np.ma.array(IMAGE)], {}, r"images\[0\]: a masked array; expected one without a mask"),
        (b"nothing", {}, r"^images\[0\]: not an image that Pillow can read"),
        ([IMAGE, memoryview(b"")], {}, r"^images\[1\]: not an image that Pillow can read"),
        ("", {}, r"images\[0\] is '', expected a path or an array of uint8"),
        ([IMAGE, ""], {}, r"images\[1\] is '', expected a path or an array of uint8"),
        ("a\0b", {}, "a.b: not an image that npkd can take: embedded null byte"),
        ("a\0b.npy", {}, "a.b.npy: not an .npy file that npkd can take: embedded null byte"),
    ],
)
def test_what_is_no_image_is_refused(plain, images, options, words):
    with pytest.raises(ValueError, match=words):
        npkd.Predictor(plain[2])(images, **options)


@pytest.mark.parametrize(("channels", "is_grey"), [(1, False), (2, True), (4, False)])
def test_an_image_of_other_channels_is_called_by_those_that_it_has(tmp_path, channels, is_grey):
    folder = write(tmp_path, made((channels, 8), 0)[1])
    image = IMAGE[:1] if is_grey else IMAGE
    found = "a grey image" if is_grey else "an image of 3 channels"
    channels = "1 channel" if channels == 1 else f"{channels} channels"
    (path,) = save(tmp_path / "files", image[None])
    for given in ([image], path):
        with pytest.raises(BadInput, match=f": {found}, expected {channels}, as the run's"):
            npkd.Predictor(folder)(given)


def test_an_array_of_one_image_is_one_where_it_can_be_no_more(run, tmp_path):
    dataset, _, folder = run
    image = dataset.test_images[0]
    expected = npkd.Predictor(folder)([image]).logits
    given = [np.ascontiguousarray(image.transpose(1, 2, 0))]  # (H, W, C)
    given += [image] if len(image) != 3 else []
    given += [image[0]] if len(image) == 1 else []
    for one in given:
        np.save(tmp_path / "one.npy", one)
        for images in (one, tmp_path / "one.npy"):
            found = npkd.Predictor(folder)(images)
            np.testing.assert_array_equal(found.logits, expected)


def test_files_of_arrays_say_what_is_not_taken_of_them(plain, tmp_path, capsys):
    dataset, _, folder = plain
    np.save(tmp_path / "none.npy", dataset.test_images[:0])
    status, shown, said = commands.run(capsys, "predict", folder, tmp_path / "none.npy")
    assert (status, shown) == (1, "")
    assert said.endswith("none.npy: an array without images, of shape (0, 3, 32, 32)\n")
    parts = {"images": dataset.test_images[:2], "labels": np.zeros(2, int)}
    np.savez(tmp_path / "some.npz", **parts, test_images=dataset.test_images)
    status, shown, said = commands.run(capsys, "predict", folder, tmp_path / "some.npz")
    assert (status, len(shown.splitlines())) == (0, 4)
    assert said == f"note: {tmp_path / 'some.npz'}: images alone; left out test_images\n"


def test_an_empty_path_is_not_the_current_folder(plain, tmp_path, capsys, monkeypatch):
    dataset, _, folder = plain
    save(tmp_path, dataset.test_images[:1])
    monkeypatch.chdir(tmp_path)
    for arguments, name in (((folder, "000.png", ""), "images[1]"), (("", "000.png"), "folder")):
        status, shown, said = commands.run(capsys, "predict", *arguments)
        assert (status, shown) == (2, "")
        assert said.startswith(f"npkd predict: {name} is '', expected ")


def test_a_file_called_as_an_option_is_hinted_at(plain, tmp_path, capsys, monkeypatch):
    save(tmp_path, plain[0].test_images[:1])[0].rename(tmp_path / "-one.png")
    monkeypatch.chdir(tmp_path)
    status, _, said = commands.run(capsys, "predict", plain[2], "-one.png")
    assert (status, said.count("\n")) == (2, 1)
    assert "write ./-one.png" in said
    for arguments in (["./-one.png"], ["--", "-one.png"]):
        assert commands.run(capsys, "predict", plain[2], *arguments)[0] == 0


def test_rows_are_printed_as_images_are_predicted(plain, tmp_path, capsys, monkeypatch):
    """So Ctrl-C leaves those that are done, in columns as wide as any other would need."""
    dataset, _, folder = plain
    np.save(tmp_path / "many.npy", dataset.test_images)
    arguments = ("predict", folder, "absent.png", tmp_path / "many.npy")
    status, shown, problem = commands.run(capsys, *arguments)
    assert (status, len(shown.splitlines())) == (1, 2 + TEST)

    def stop(*_):
        raise KeyboardInterrupt

    logits = iter([predict.Predictor._logits, stop])
    monkeypatch.setattr(predict.Predictor, "_logits", lambda *given: next(logits)(*given))
    status, first, said = commands.run(capsys, *arguments)
    assert (status, said) == (130, f"{problem}npkd predict: interrupted\n")
    assert first.splitlines() == shown.splitlines()[: 2 + predict.BATCH - 1]


@pytest.mark.parametrize("top", [0, -1])
def test_so_is_a_number_of_classes_that_is_none(plain, capsys, top):
    status, _, said = commands.run(capsys, "predict", plain[2], "any.png", "--top", top)
    assert (status, said) == (2, f"npkd predict: --top is {top}, expected a whole number from 1\n")


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_and_so_it_is_in_python(plain, count):
    with pytest.raises(ValueError, match=f"count is {count!r}, expected a whole number from 1"):
        npkd.Predictor(plain[2])([]).top(count)


def test_the_command_is_listed():
    assert "predict" in cli.PARTS
