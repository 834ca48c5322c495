"""Images of any size and of one to four channels, through everything that is behind a data set."""

import json
import re
from copy import deepcopy
from dataclasses import replace

import commands
import numpy as np
import pages
import pytest
import studies
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from npkd import data, distill, nets, ops, weights, zoo
from npkd.data import Augmentation, low_resolution
from npkd.distill import checkpoint, evaluate, resuming
from npkd.distill.report import contents, drawings, finished, page
from npkd.distill.tasks import quality, task
from npkd.files import BadInput
from npkd.printing import pictures
from npkd.study import command, picture, plan
from npkd.study.cells import Source

NETS = {"large": "resnet8", "small": "resnet8"}
RUNS = {
    "grey 12": ((1, 12, 12), {}),
    "two channels 8, shown high": ((2, 8, 8), {"small_input": "high"}),
    "four channels 20, taught high": ((4, 20, 20), {**NETS, "teacher_input": "high"}),
    "colour 64": ((3, 64, 64), {"small": "resnet8"}),
    "grey 16, super-resolved": ((1, 16, 16), tiny.RESOLVE),
    "four channels 20, super-resolved": ((4, 20, 20), tiny.RESOLVE),
    "colour 64, super-resolved": ((3, 64, 64), tiny.RESOLVE),
}
TIMES = {"seconds", "train_seconds", "latency_ms", "latency"}


@pytest.fixture(autouse=True, scope="module")
def _small_nets():
    with studies.small_nets():
        yield


def of_shape(shape):
    """A data set of such images, flipped and shifted in training."""
    channels, size, _ = shape
    images = tiny.dataset(channels=channels, size=size)
    return replace(images, augmentation=Augmentation(shift=1, flip=True))


@pytest.fixture(scope="module", params=RUNS)
def run(request):
    """The data set, the settings, and what came of the run."""
    shape, changes = RUNS[request.param]
    dataset = of_shape(shape)
    return dataset, changes, tiny.finish(dataset, **changes)[1]


@pytest.fixture(scope="module")
def plain():
    """A run on images of 3×32×32."""
    return tiny.finish()[1]


def write(folder, run):
    contents.write_json(folder / "report.json", run.report)
    weights.save_weights(folder / "samples.npz", run.samples)
    for name, net in run.networks.items():
        weights.save_weights(folder / f"{name}.npz", net.state_dict())


def bits(networks):
    return {
        f"{name}/{key}": theta.tobytes()
        for name, network in networks.items()
        for key, theta in network.state_dict().items()
    }


def without_times(report):
    if isinstance(report, dict):
        return {key: without_times(value) for key, value in report.items() if key not in TIMES}
    return report


# A run from end to end


def test_the_nets_are_for_the_images_and_the_figures_are_theirs(run):
    dataset, changes, last = run
    channels, size, _ = dataset.image_shape
    resolves = changes.get("task") == "super-resolve"
    small = size if changes.get("small_input") == "high" else size // 2
    assert last.report["data"]["image_shape"] == [channels, size, size]
    for name, expected in (("large", size // 2 if resolves else size), ("small", small)):
        network = last.networks[name]
        assert network.image_shape == (channels, expected, expected)
        assert last.report["models"][name]["macs"] == network.macs()
    chosen = last.samples["chosen"]
    np.testing.assert_array_equal(last.samples["x_high"], dataset.test_images[chosen])
    if resolves:
        assert last.samples["images/small"].shape == last.samples["x_high"].shape
        assert last.samples["images/x_low"].shape[1:] == (channels, size // 2, size // 2)
        measured = "Y" if channels == 3 else "each channel"
        assert last.report["measured_on"]["channel"] == measured


def test_what_is_written_is_read_back_and_becomes_a_page(run, tmp_path, monkeypatch):
    dataset, changes, last = run
    channels, size, _ = dataset.image_shape
    write(tmp_path, last)
    held, samples, _ = finished.read(tmp_path)
    assert held == json.loads((tmp_path / "report.json").read_text())
    assert samples.keys() == last.samples.keys()
    pytest.importorskip("matplotlib")
    png = pictures.png
    monkeypatch.setattr(pictures, "png", lambda draw, **of: png(draw, **of | {"dpi": 20}))
    page.write(tmp_path)
    shown = pages.read(tmp_path / "report.html")
    assert shown.images >= 8
    said = set(re.findall(r"\d+×\d+", shown.text))
    sizes = {"2×2", f"{size}×{size}", f"{size // 2}×{size // 2}"}
    assert said == (set() if changes.get("small_input") == "high" else sizes)
    drawn = {1: "drawn in grey", 2: "their mean is drawn", 4: "the first three are drawn"}
    assert [words for words in drawn.values() if words in shown.text] == [
        words for number, words in drawn.items() if number == channels
    ]


def test_a_run_goes_on_from_anywhere_to_the_same_bits(run):
    dataset, changes, last = run
    config, states = tiny.config(**changes), []
    started = distill.Run(dataset, config)
    for event in started.steps():
        if isinstance(event, distill.Training):
            states.append(deepcopy(started.state()))
    assert bits(event.networks) == bits(last.networks)
    for state in states[1::6]:
        *_, again = distill.Run(dataset, config, state).steps()
        assert bits(again.networks) == bits(last.networks)
        assert without_times(again.report) == without_times(last.report)


def test_files_of_a_run_on_images_of_another_size_are_refused(run, tmp_path):
    dataset, _, last = run
    channels, size, _ = dataset.image_shape
    others = {
        (channels, size + 4, size + 4): "samples.npz: x_high is uint8 .*, expected uint8",
        (channels % 4 + 1, size, size): "report.json: data.mean is of .* channels, expected",
    }
    for shape, words in others.items():
        about = last.report["data"] | {"image_shape": list(shape)}
        write(tmp_path, replace(last, report=last.report | {"data": about}))
        with pytest.raises(BadInput, match=words):
            finished.read(tmp_path)


@pytest.mark.parametrize(
    "shape", [None, [3, 32], [5, 32, 32], [3, 30, 30], [3, 32, 36], [3, 4, 4], [3, 32.0, 32], "3"]
)
def test_a_shape_that_no_run_has_is_refused(shape, plain, tmp_path):
    about = plain.report["data"] | {"image_shape": shape}
    write(tmp_path, replace(plain, report=plain.report | {"data": about}))
    with pytest.raises(BadInput, match=r"data.image_shape is .*, expected the shape of images"):
        finished.read(tmp_path)


def test_reports_that_do_not_say_are_of_32(plain, tmp_path):
    about = {k: v for k, v in plain.report["data"].items() if k != "image_shape"}
    write(tmp_path, replace(plain, report=plain.report | {"data": about}))
    assert finished.read(tmp_path)[1]["x_high"].shape[1:] == (3, 32, 32)


# Nets


@settings(max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(2, 10).map(lambda n: 4 * n)),
    large=st.sampled_from(["large", "resnet8"]),
    small=st.sampled_from(["small", "resnet8"]),
    views=st.fixed_dictionaries(
        dict.fromkeys(("small_input", "teacher_input"), st.sampled_from(["low", "high"]))
    ),
)
def test_what_the_nets_are_shown_is_what_they_take(shape, large, small, views):
    channels, size = shape
    dataset = of_shape((channels, size, size))
    run = distill.Run(dataset, tiny.config(large=large, small=small, **views))
    batches = run.prepare.small_batches([run.teacher_outputs(0), run.teacher_outputs(1)])
    batch = next(batches)
    assert batch.x.shape[1:] == run.small.image_shape
    assert next(run.prepare.large_batches()).x.shape[1:] == dataset.image_shape
    back = run.task.x_back(dataset.test_images)
    assert back.shape == dataset.test_images.shape
    np.testing.assert_allclose(
        low_resolution(back), run.task.x_low(dataset.test_images), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", zoo.MODELS)
@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, 20), (4, 5, 10)])
def test_the_arrays_of_a_net_are_known_without_making_it(name, channels, classes, size):
    options = {"in_channels": channels, "num_classes": classes, "image_size": size}
    described = finished._of_net(name, channels, classes, size)
    arrays = zoo.make(name, 0, **options).state_dict()
    assert {key: one.shape for key, one in described.items()} == {
        key: theta.shape for key, theta in arrays.items()
    }


def test_a_net_that_memory_would_not_hold_is_refused_before_it_is_made(monkeypatch):
    with pytest.raises(ValueError, match=r"LargeCNN: its layers have .*, expected 268,435,456 at"):
        nets.LargeCNN(0, image_size=20_000)
    monkeypatch.setattr(nets.network, "MOST", 1000)
    words = "large is large, which is not for images of 3×64×64: LargeCNN: its layers have"
    with pytest.raises(ValueError, match=words):
        distill.Run(of_shape((3, 64, 64)), tiny.config())


def test_a_net_that_does_not_take_such_images_is_named():
    config = tiny.config(small="vgg8")
    with pytest.raises(
        ValueError, match=r"small is vgg8, which is not for images of 3×6×6: VGG: image_size is 6"
    ):
        distill.Run(of_shape((3, 12, 12)), config)
    assert distill.Run(of_shape((3, 12, 12)), replace(config, small_input="high"))


def own_net(image_shape, classes=4):
    layers = {
        "conv": nets.Conv2d(image_shape[0], 4, 3, padding=1),
        "pool": nets.Function(ops.global_avg_pool2d),
        "flatten": nets.Function(ops.flatten),
        "fc": nets.Linear(4, classes),
    }
    return nets.Network(layers, image_shape, rng=0)


FEW = {"large_epochs": 1, "epochs": 1, "batch_size": 8}


@pytest.mark.parametrize("small", [(2, 20, 20), (2, 10, 10)])
def test_nets_of_ones_own_are_distilled_where_they_fit_the_data(small):
    large, small = own_net((2, 20, 20)), own_net(small)
    last = distill.distil(large, small, of_shape((2, 20, 20)), **FEW)
    assert last.networks["small"] is small


@pytest.mark.parametrize(
    ("large", "small", "message"),
    [
        ((2, 32, 32), (2, 16, 16), "large is a Network for images of 2×32×32, but it is shown 2×2"),
        ((3, 20, 20), (3, 10, 10), "large is a Network for images of 3×20×20, but it is shown 2×2"),
        ((2, 20, 20), (2, 16, 16), "small is a Network for images of 2×16×16, but it is shown 2×1"),
        ((2, 20, 20), (1, 10, 10), "small is a Network for images of 1×10×10, but it is shown 2×1"),
    ],
)
def test_nets_of_ones_own_for_other_images_are_refused_with_both_shapes(large, small, message):
    with pytest.raises(ValueError, match=message):
        distill.distil(own_net(large), own_net(small), of_shape((2, 20, 20)), **FEW)


# What no run takes


@pytest.mark.parametrize("shape", [(3, 30, 30), (3, 4, 4), (5, 32, 32), (3, 32, 36), (0, 8, 8)])
def test_images_that_no_run_takes_are_refused(shape):
    def images(count):
        return np.zeros((count, *shape), np.uint8)

    odd = replace(tiny.dataset(), train_images=images(22), test_images=images(12))
    words = f"data has images of {task.written(shape)}, expected C×N×N, C from 1 to 4, N a multi"
    with pytest.raises(ValueError, match=words):
        distill.Run(odd, tiny.config())


def test_test_images_are_of_the_same_shape():
    other = replace(tiny.dataset(), test_images=of_shape((3, 64, 64)).test_images)
    with pytest.raises(ValueError, match="data has test images of 3×64×64, expected 3×32×32 as in"):
        distill.Run(other, tiny.config())


def test_images_too_small_for_ssim_are_not_super_resolved():
    with pytest.raises(ValueError, match=r"images of 1×12×12, expected 15 cells or more each way"):
        distill.Run(of_shape((1, 12, 12)), tiny.config(**tiny.RESOLVE))


# Figures and pictures


@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 2, 4]))
def test_of_other_channels_than_three_each_counts_alike(seed, channels):
    rng = np.random.default_rng(seed)
    images, truth = rng.random((2, 3, channels, 18, 17))
    each = [(images[:, k : k + 1], truth[:, k : k + 1]) for k in range(channels)]
    ssims = [quality.ssim(*one) for one in each]
    np.testing.assert_allclose(quality.ssim(images, truth), np.mean(ssims, axis=0), rtol=1e-12)
    errors = [10 ** (-quality.psnr(*one) / 10) for one in each]
    expected = -10 * np.log10(np.mean(errors, axis=0))
    np.testing.assert_allclose(quality.psnr(images, truth), expected, rtol=1e-12)
    inside = (images - truth)[:, :, 2:-2, 2:-2].reshape(3, -1)
    expected = -10 * np.log10((inside**2).mean(axis=1))
    np.testing.assert_allclose(quality.psnr(images, truth), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_one_to_four_channels_have_colours(dtype):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 6)).astype(dtype)
    for channels in range(1, 5):
        before = image[:channels].copy()
        shown = drawings.in_colours(image[:channels])
        assert (shown.shape, shown.dtype) == ((5, 6, 3), dtype)
        np.testing.assert_array_equal(image[:channels], before)
    np.testing.assert_array_equal(drawings.in_colours(image), image[:3].transpose(1, 2, 0))
    np.testing.assert_array_equal(drawings.in_colours(image[:1]), np.stack([image[0]] * 3, axis=2))
    for colour in np.moveaxis(drawings.in_colours(image[:2]), 2, 0):
        np.testing.assert_allclose(colour, image[:2].mean(axis=0), atol=0.5)


@pytest.mark.parametrize(("seconds", "runs"), [(1e-9, 1), (1e9, 30)])
def test_a_slow_net_is_timed_fewer_times(seconds, runs, monkeypatch):
    monkeypatch.setattr(evaluate, "LATENCY_SECONDS", seconds)
    monkeypatch.setattr(evaluate, "LATENCY_RUNS", 30)
    network, calls, features = own_net((1, 8, 8)), [], nets.Network.features
    monkeypatch.setattr(
        nets.Network,
        "features",
        lambda self, x, names: calls.append(len(x)) or features(self, x, names),
    )
    assert evaluate.latency_ms(network, 2) > 0
    assert calls == [2] * (evaluate.WARM_UP_RUNS + runs)


# The command, and studies


@pytest.fixture
def read(monkeypatch):
    """`data.load` gives images of the size asked for, 12 unless one is; how it was called."""
    called = []

    def load(source, *, size=None, background=None, labels="fine"):
        called.append({"size": size, "background": background, "labels": labels})
        few = tiny.dataset(channels=1, size=size or 12)
        return replace(few, notes=("2 files left out: .txt\x1b[31m", "alpha: on black"))

    monkeypatch.setattr(data, "load", load)
    return called


OPTIONS = ["--size", 16, "--background", "white", "--labels", "coarse"]
READING = {"size": 16, "background": "white", "labels": "coarse"}
QUICK = ["--large-epochs", 1, "--epochs", 1, "--batch-size", 8]


def test_the_command_reads_images_as_it_is_told_and_says_so(capsys, tmp_path, read):
    out = tmp_path / "out"
    status, shown, err = commands.run(capsys, "distill", "--out", out, *OPTIONS, *QUICK)
    assert (status, err) == (0, "")
    assert read == [READING]
    assert shown.splitlines()[1:3] == [
        "note: 2 files left out: .txt�[31m",
        "note: alpha: on black",
    ]
    about = finished.read(out)[0]["data"]
    assert about == about | READING | {"image_shape": [1, 16, 16]}


def test_a_run_is_gone_on_with_by_images_read_alike(capsys, tmp_path, read, monkeypatch):
    where, write = ["--out", tmp_path / "out", *QUICK], resuming.Checkpoints.write

    def stopping(checkpoints, run):
        write(checkpoints, run)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resuming.Checkpoints, "write", stopping)
        assert commands.run(capsys, "distill", *where, *OPTIONS)[0] == 130
    assert checkpoint.found(tmp_path / "out")
    for other, words in (
        (["--size", 20], "--size is 20, but the run in"),
        (["--background", "black"], "--background is black, but the run in"),
        (["--labels", "fine"], "--labels is fine, but the run in"),
    ):
        result = commands.run(capsys, "distill", *where, *OPTIONS, *other, "--resume")
        assert (result[0], result[2].count("\n")) == (2, 1)
        assert words in result[2]
    assert commands.run(capsys, "distill", *where, *OPTIONS, "--resume")[0] == 0


def test_nets_whose_checkpoints_nobody_reads_are_refused_at_the_start(
    capsys, tmp_path, read, monkeypatch
):
    monkeypatch.setattr("npkd.weights.MOST_BYTES", 1 << 20)
    status, _, err = commands.run(capsys, "distill", "--out", tmp_path / "out", *QUICK)
    assert (status, err.count("\n")) == (2, 1)
    assert "--large is large, too large for images of 1×12×12" in err
    assert not (tmp_path / "out").exists()


STUDY = """
seeds = [3]
[[setting]]
large_epochs = 1
epochs = 1
batch_size = 8
"""


@pytest.mark.parametrize("shape", [(1, 12, 12), (4, 20, 20), (3, 64, 64)])
def test_the_cells_of_a_study_are_kept_and_read_again(shape, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", lambda source, **reading: of_shape(shape))
    source = Source.of("images")
    study = plan.read(STUDY, source.load())
    first = studies.run(study, source, studies.AtOnce(), tmp_path)
    assert studies.reasons(first) == {}
    executor = studies.AtOnce()
    again = studies.run(study, source, executor, tmp_path)
    assert executor.jobs == []
    assert studies.figures(again) == studies.figures(first)
    _, last = tiny.finish(of_shape(shape), **vars(study.settings[0].at(3)))
    accuracy = last.report["models"]["small"]["accuracy"]
    assert accuracy in [one["accuracy"] for one in studies.figures(first).values()]


def test_a_study_reads_images_as_it_is_told_and_says_so(capsys, tmp_path, read, monkeypatch):
    monkeypatch.setattr(command, "Processes", lambda number: studies.AtOnce())
    monkeypatch.setattr(picture, "png", lambda draw, **size: b"")
    (tmp_path / "study.toml").write_text(STUDY)
    where = [tmp_path / "study.toml", "--out", tmp_path / "out"]
    status, shown, err = commands.run(capsys, "study", *where, *OPTIONS)
    assert (status, err) == (0, "")
    assert READING in read
    assert {repr(one) for one in read} == {repr(READING)}
    assert shown.splitlines()[1:3] == [
        "note: 2 files left out: .txt�[31m",
        "note: alpha: on black",
    ]
    about = json.loads((tmp_path / "out" / "study.json").read_text())["data"]
    assert about == about | READING | {"image_shape": [1, 16, 16]}
    trained = shown.count("small, distilled, seed 3")
    status, shown, _ = commands.run(capsys, "study", *where, *OPTIONS, "--resume")
    assert (status, trained, shown.count(", seed 3")) == (0, 1, 0)
    status, shown, _ = commands.run(capsys, "study", *where, "--resume")  # other images
    assert (status, shown.count(", seed 3")) == (0, 3)
