"""The benchmarks but for their times: what is counted, tables, a picture, accuracy by loss."""

import numpy as np
import pytest
import scipy.stats
import tiny

from benchmarks import accuracy, tables
from benchmarks.__main__ import heading, minutes
from benchmarks.speed import chart, measure
from benchmarks.speed.cells import NETS, OPS, Cell, operations_of_a_step
from benchmarks.speed.frameworks import FRAMEWORKS, Npkd
from benchmarks.speed.parts import PARTS
from npkd.objectives import KINDS


def row(subject="large", work="training step", batch=64, threads=2, **times):
    """A row whose frameworks took these milliseconds, npkd's 10 and 20 if not given."""
    times = {"npkd": [10.0, 20.0]} | times
    cell = Cell(subject, work, batch)
    return {"threads": threads} | cell._asdict() | measure.summary(times)


def memory(**mebibytes):
    return {
        name: {"peak": (mib + 100) << 20, "after_imports": mib << 20}
        for name, mib in mebibytes.items()
    }


@pytest.mark.parametrize("net", NETS)
def test_a_step_is_three_times_the_forward_pass_less_the_gradient_by_the_images(net):
    network = NETS[net](0)
    outputs, _ = network.features(np.zeros((1, *network.image_shape), np.float32), ["conv1"])
    by_images = network.layers["conv1"].macs(outputs["conv1"].shape)
    assert operations_of_a_step(net, 5) == 2 * 5 * (3 * network.macs() - by_images)


def test_the_large_nets_step_at_64_takes_10_7_gflop():
    assert operations_of_a_step("large", 64) == pytest.approx(10.7e9, rel=1e-3)


@pytest.mark.parametrize("subject", OPS)
@pytest.mark.parametrize("work", ["forward", "backward", "forward and backward"])
def test_npkd_does_every_operation(subject, work):
    framework = object.__new__(Npkd)  # a new one would hold BLAS to one thread from now on
    framework.work_of(Cell(subject, work, 2))()


def test_pytorch_does_the_same_operations():
    torch = pytest.importorskip("torch")
    framework = FRAMEWORKS["PyTorch"](torch.get_num_threads())
    ours = object.__new__(Npkd)
    for subject in OPS:
        forward, backward = Cell(subject, "forward", 2), Cell(subject, "backward", 2)
        y, _ = ours.work_of(forward)()
        np.testing.assert_allclose(framework.work_of(forward)().detach(), y, rtol=1e-3, atol=1e-3)
        gradients = ours.work_of(backward)()
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        given = [gradient for gradient in gradients if gradient is not None]
        for theirs, gradient in zip(framework.work_of(backward)(), given, strict=True):
            np.testing.assert_allclose(theirs, gradient, rtol=1e-3, atol=1e-2)


def test_the_table_of_images_has_a_line_for_each_number_of_them():
    rows = [{"images": 50_000, "peak": {"CIFAR-10": 300 << 20, ".npy": 310 << 20}}]
    head, _, line = tables.images(rows).splitlines()
    assert head.split() == ["images", "CIFAR-10,", "MiB", ".npy,", "MiB"]
    assert line.split() == ["50,000", "300", "310"]


def test_a_ratio_is_taken_round_by_round_and_above_1_where_npkd_is_faster():
    ratio = row(PyTorch=[20.0, 10.0])["ratio"]["PyTorch"]
    assert ratio == {"median": 1.25, "lowest": 0.5, "highest": 2.0}


def test_without_npkd_there_are_medians_and_no_ratios():
    summary = measure.summary({"NumPy": [1.0, 2.0, 6.0]})
    assert summary["median_ms"] == {"NumPy": 2.0}
    assert summary["ratio"] == {}


def test_the_table_of_ratios_has_a_column_for_each_framework_and_a_dash_where_one_is_missing():
    rows = [row(PyTorch=[20.0, 40.0], JAX=[5.0, 10.0]), row(batch=128, PyTorch=[10.0, 20.0])]
    head, rule, first, second = tables.ratios(rows).splitlines()
    assert head.split()[-2:] == ["PyTorch", "JAX"]
    assert len({len(line) for line in (head, rule, first, second)}) == 1
    assert "15.000  2.00 (2.00 to 2.00)  0.50 (0.50 to 0.50)" in first
    assert second.split()[-1] == "–"


def test_npkd_stands_alone_where_nothing_else_is_installed():
    rows = [row() | {"memory": memory(npkd=50)}]
    assert tables.ratios(rows).splitlines()[0].endswith("npkd, ms")
    assert "50" in tables.scaling(rows).splitlines()[2].split()


def test_the_table_of_shares_is_in_per_cent():
    share = {"npkd": measure.spread([0.5, 0.25])}
    rows = [row() | {"gflop": 10.7, "blas_gflops": measure.spread([100.0]), "share": share}]
    assert "10.70  100 (100 to 100)  38 (25 to 50)" in tables.shares(rows)


def test_the_table_of_memory_has_peaks_and_what_came_after_the_imports():
    rows = [row() | {"memory": memory(npkd=50, PyTorch=200)}]
    assert tables.memory(rows).splitlines()[2].split()[-4:] == ["150", "50", "300", "200"]


def test_scaling_is_by_image():
    line = tables.scaling([row(batch=10, PyTorch=[30.0, 30.0])]).splitlines()[2]
    assert line.split()[5:7] == ["1.500", "3.000"]


def test_seconds_are_by_step():
    text = tables.seconds([{"threads": 2, "seconds": {"teacher_outputs": 1.25, "total": 90.0}}])
    assert "teacher outputs, s  total, s" in text
    assert text.splitlines()[2].split() == ["2", "1.2", "90.0"]


def test_a_plain_run_says_how_long_it_takes_by_rounds_and_threads():
    once, a_round = PARTS["nets"].seconds
    assert minutes(["nets"], [1], 1) == f"{once + a_round:.0f} seconds"
    assert minutes(["nets"], [1, 2], 9) == f"{2 * (once + 9 * a_round) / 60:.0f} minutes"
    assert minutes(["distillation"], [1, 2], 9) == minutes(["distillation"], [2], 1)


@pytest.fixture
def report():
    nets = [row(threads=n, PyTorch=[20.0, 10.0], JAX=[30.0, 30.0]) for n in (1, 2)]
    ops = [row("relu", work, PyTorch=[5.0, 5.0]) for work in ("forward", "backward")]
    scaling = [
        row(batch=batch, PyTorch=[20.0, 10.0]) | {"memory": memory(npkd=50, PyTorch=200)}
        for batch in (16, 32)
    ]
    return {
        "machine": {"processor": "A processor", "cores": 2, "load_before": 1.5},
        "versions": {"python": "3.11", "npkd": "0.1.0"},
        "threads": [1, 2],
        "rounds": 2,
        "parts": {"nets": nets, "ops": ops, "scaling": scaling, "gradcheck": []},
    }


def test_the_heading_names_machine_and_versions_and_warns_of_other_work(report):
    text = heading(report)
    for what in ("A processor, 2 cores, load 1.5", "npkd 0.1.0", "threads: 1 and 2; rounds: 2"):
        assert what in text
    assert "other work" in text
    report["machine"]["load_before"] = 0.1
    assert "other work" not in heading(report)


@pytest.mark.parametrize("parts", [("nets", "ops", "scaling"), ("nets",), ("scaling",)])
def test_the_chart_draws_the_parts_that_there_are(report, parts, tmp_path):
    pytest.importorskip("matplotlib")
    report["parts"] = {name: report["parts"][name] for name in parts}
    chart.draw(tmp_path / "chart.png", report)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_does_without_other_frameworks_and_without_memory(report, tmp_path):
    pytest.importorskip("matplotlib")
    report["parts"] = {"nets": [row()], "scaling": [row(batch=batch) for batch in (16, 32)]}
    chart.draw(tmp_path / "chart.png", report)
    assert (tmp_path / "chart.png").exists()


# Accuracy by loss


def test_accuracy_is_measured_under_every_loss_from_one_teacher():
    names = [name for name, _, _ in accuracy.cells()]
    assert len(names) == len(set(names))
    assert {f"{loss} + labels" for loss in KINDS} <= set(names)
    rates = {"labels": 0.03, "l2": 0.01, "attention + labels": 0.03}
    found = dict(accuracy.measured(tiny.dataset(), tiny.config(), 3, rates))
    assert found.keys() == rates.keys()
    again = dict(accuracy.measured(tiny.dataset(), tiny.config(), 3, {"l2": 0.01}))
    assert again["l2"] == found["l2"]


def test_one_teacher_teaches_at_all_seeds():
    state = accuracy.teacher(tiny.dataset(), tiny.config())
    other = accuracy.Run(tiny.dataset(), tiny.config(seed=5), state)
    accuracy.Run.kept = {}
    assert 0 <= accuracy.student(other) <= 1
    for name, theta in other.large.params.items():
        assert theta.tobytes() == state.arrays[f"large/{name}"].tobytes()


def test_the_table_of_accuracies_has_intervals_by_students_t():
    results = {"labels": {"0": 0.5, "1": 0.6}, "l2": {"0": 0.52, "1": 0.61}}
    last = accuracy.table(results, {"labels": 0.03, "l2": 0.01}).splitlines()[-1]
    half = scipy.stats.t.ppf(0.975, 1) * np.std([2.0, 1.0], ddof=1) / np.sqrt(2)
    assert last == f"| l2 | 0.01 | 56.50 ± {half * 9:.2f} | +1.50 ± {half:.2f} |"
