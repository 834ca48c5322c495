"""The command, run as a user runs it: what it prints, its exit status, its files."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from functools import cache
from importlib.util import find_spec

import commands
import numpy as np
import pytest
import studies
import tiny

from npkd import cli, distill, losses, objectives, ops, proofs
from npkd.distill import checkpoint, command

QUICK = ["--large-epochs", "1", "--epochs", "1", "--batch-size", "8", "--seed", "3"]


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """They take longer than these small runs, where nothing asks for them."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture(scope="module")
def corners(tmp_path_factory):
    return tiny.file(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def plain(corners, tmp_path_factory):
    """A run without matplotlib and without --out: status, output, errors, where it was started."""
    home, out, err = tmp_path_factory.mktemp("plain"), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setitem(sys.modules, "matplotlib", None)
        patch.chdir(home)
        status = cli.main(["distill", "--data", corners, *QUICK])
    return status, out.getvalue(), err.getvalue(), home


@pytest.fixture
def small_nets():
    """For runs of which nothing is asked that depends on the nets."""
    with studies.small_nets():
        yield


@pytest.fixture(scope="module")
def with_a_stream_closed(corners, tmp_path_factory):
    """Runs with pictures in processes of their own, to a terminal that has ASCII alone.

    By the stream that is closed: the process, with what came of the other, and the run's folder.
    Where that is the output, which tells of the nets, they are small.
    """
    code = (
        "import sys, studies; from npkd import cli; from npkd.distill import evaluate; "
        "evaluate.WARM_UP_RUNS = evaluate.LATENCY_RUNS = 1; {}sys.exit(cli.main())"
    )

    @cache
    def run(redirection):
        folder = tmp_path_factory.mktemp("closed") / "run"
        program = code.format("studies.shrink(); " if redirection == ">&-" else "")
        command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", program]
        done = subprocess.run(
            [*command, "distill", "--data", corners, *QUICK, "--out", folder],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return done, folder

    return run


def run(capsys, *arguments, command="distill"):
    return commands.run(capsys, command, *arguments)


def assert_one_line(result, *words):
    """A user's mistake: status 2 and one line that has these words."""
    status, _, err = result
    assert status == 2
    assert err.count("\n") == 1, err
    assert err.startswith("npkd")
    for word in words:
        assert word in err


def test_a_run_names_the_six_steps(plain):
    status, out, err, _ = plain
    assert (status, err) == (0, "")
    steps = [line for line in out.splitlines() if line.startswith("step ")]
    assert steps == [f"step {number} of 6: {title}" for number, title in distill.STEPS.items()]
    for words in ("latency of 64 images", "8,410,564", "parameters 31.4×", "runs/corners-3"):
        assert words in out


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
def test_a_run_writes_its_files(with_a_stream_closed):
    done, folder = with_a_stream_closed("2>&-")
    assert str(folder) in done.stdout.decode()
    assert {path.name for path in folder.iterdir()} == set(checkpoint.RUN_FILES)
    report = json.loads((folder / "report.json").read_text())
    assert report["config"]["epochs"] == 1
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")


def test_settings_reach_the_run_and_the_rest_is_the_presets(capsys, corners, small_nets, tmp_path):
    options = ["--preset", "document", "--teacher-input", "high", "--label-weight", "0.5"]
    status, _, _ = run(capsys, "--data", corners, *QUICK, *options, "--out", tmp_path / "run")
    assert status == 0
    config = json.loads((tmp_path / "run" / "report.json").read_text())["config"]
    expected = asdict(distill.PRESETS["document"]) | {
        "loss": [{**asdict(objectives.Term()), "student": [], "teacher": []}],
        "teacher_input": "high",
        "label_weight": 0.5,
        "large_epochs": 1,
        "epochs": 1,
        "batch_size": 8,
        "seed": 3,
    }
    assert config == expected


def test_a_run_may_know_few_labels(capsys, corners, small_nets, tmp_path):
    status, shown, _ = run(
        capsys, "--data", corners, *QUICK, "--labelled", "9", "--out", tmp_path / "run"
    )
    assert status == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["config"]["labelled"], report["config"]["unlabelled"]) == (9, 13)
    small, labels = (report["models"][net]["accuracy"] for net in ("small", "small_from_labels"))
    assert ("npkd study data-size" in shown) == (small < labels)
    assert_one_line(
        run(capsys, "--data", corners, "--labelled", "23", "--out", tmp_path / "more"),
        "--labelled is 23, but corners has 22 images to train",
    )


@pytest.mark.parametrize("labelled", [None, 9])
def test_where_the_distilled_net_is_behind_the_last_lines_say_why(labelled):
    def lines(small, labels, task="classify"):
        nets = {"small": small, "small_from_labels": labels}
        models = {name: {"accuracy": accuracy} for name, accuracy in nets.items()}
        about = {"task": task, "models": models, "config": {"labelled": labelled}}
        return command._why_behind(about)

    first, *_, shown = lines(0.5, 0.625)
    assert first.startswith("The distilled net is 12.5 points behind the one from labels.")
    assert ("--preset few-labels" in shown) == (labelled is None)
    assert lines(0.625, 0.5) == lines(0.5, 0.5) == lines(0.5, 0.625, "super-resolve") == []


def test_losses_and_their_options_reach_the_run(capsys, corners, small_nets, tmp_path):
    options = ["--loss", "kl", "--loss-option", "temperature=2"]
    options += ["--loss-option", "standardized=yes", "--label-weight", "0.5"]
    options += ["--loss", "attention", "--loss-option", "weight=10"]
    options += ["--loss-option", "student=relu2", "--loss-option", "teacher=pool"]
    status, out, _ = run(capsys, "--data", corners, *QUICK, *options, "--out", tmp_path / "run")
    assert status == 0
    words = "0.5·truth + 0.5·(kl(temperature=2, standardized) + 10·attention)"
    assert f"    loss: {words}\n" in out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["loss"] == words
    kl, attention = report["config"]["loss"]
    assert (kl["options"], kl["standardized"]) == ({"temperature": 2}, True)
    assert (attention["student"], attention["teacher"]) == (["relu2"], ["pool"])


def test_losses_prints_who_has_which_loss_how(capsys):
    assert cli.main(["losses"]) == 0
    out = capsys.readouterr().out
    for entry in losses.conventions():
        assert entry.where in out
        assert str(entry) in out
    assert cli.main(["losses", "dkd"]) == 0
    out = capsys.readouterr().out
    assert "TCKD = KL between" in out
    assert "mdistiller DKD" in out
    assert "KD-Zoo" not in out
    assert cli.main(["losses", "l3"]) == 2
    assert capsys.readouterr().err.startswith("npkd losses: NAME is 'l3', expected some of att")


def test_without_matplotlib_all_but_the_picture_is_written(plain):
    _, out, _, home = plain
    note = "report.png and report.html are not made: pictures need matplotlib (pip install"
    assert f"note: {note} 'npkd[app]'); npkd report runs/corners-3 makes them\n" in out
    (folder,) = (home / "runs").iterdir()
    assert not (folder / "report.png").exists()
    assert (folder / "small.npz").exists()


def test_the_default_folder_is_named_after_data_and_seed(plain):
    assert (plain[-1] / "runs" / "corners-3" / "report.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learning-rate", "-0.1"], ["--learning-rate is -0.1", "above 0"]),
        (["--learning-rate", "nan"], ["--learning-rate is nan"]),
        (["--learning-rate", "fast"], ["--learning-rate", "fast"]),
        (["--epochs", "0"], ["--epochs is 0"]),
        (["--task", "super-resolve", "--teacher-views", "both"], ["--teacher-views means nothing"]),
        (["--task", "super-resolve", "--preset", "document"], ["--preset is document"]),
        (["--label-weight", "2"], ["--label-weight is 2.0"]),
        (["--loss", "l3"], ["--loss is 'l3'", "expected one of l2, l1"]),
        (["--loss", "hint"], ["--loss does not fit: 100·hint", "label_weight"]),
        (["--loss", "kl", "--loss-option", "heat=2"], ["--loss-option is 'heat=2', but kl takes"]),
        (["--loss", "kl", "--loss-option", "temperature"], ["'temperature', expected KEY=VALUE"]),
        (
            ["--loss", "kl", "--loss-option", "temperature=0"],
            ["kl: temperature is 0"],
        ),
        (["--loss", "l2", "--loss", "nst", "--loss-option", "student=no"], ["SmallCNN", "'no'"]),
        (["--loss-option", "temperature=2"], ["there is no --loss NAME before it"]),
        (["--threads", "0"], ["number of threads is 0", "an integer from 1"]),
        (["--preset", "best"], ["best", "document"]),
        (["--data", "no/such/place"], ["no/such/place", "mnist5k"]),
        (["--data", ""], ["the path is empty; expected", "mnist5k"]),
        (["--size", "30"], ["--size is 30; expected a multiple of 4 from 8 to 512"]),
        (["--size", "-8"], ["--size is -8; expected"]),
        (["--colour", "red"], ["--colour"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(
    capsys, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert_one_line(run(capsys, *arguments), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_background_that_is_no_colour_is_one_line(capsys):
    pytest.importorskip("PIL")
    result = run(capsys, "--background", "nope")
    assert_one_line(result, "--background is 'nope'; expected the name of a colour")


def test_files_that_are_no_data_are_one_line_each(capsys, tmp_path):
    cifar = tmp_path / "cifar"
    cifar.mkdir()
    (cifar / "test_batch.bin").write_bytes(bytes(3073))
    for content, words in (
        (b"", "data_batch_1.bin"),
        (bytes(3073 + 100), "3073"),
        (bytes([200]) + bytes(3072), "200"),
    ):
        (cifar / "data_batch_1.bin").write_bytes(content)
        assert_one_line(run(capsys, "--data", cifar, "--out", tmp_path / "run"), words)
    np.savez(tmp_path / "sizes.npz", images=np.zeros((20, 41, 40), np.uint8), labels=[0, 1] * 10)
    result = run(capsys, "--data", tmp_path / "sizes.npz", "--out", tmp_path / "run")
    assert_one_line(result, "sizes.npz", "(20, 41, 40)")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused_before_any_work(capsys, corners, tmp_path):
    (tmp_path / "small.npz").write_text("precious")
    result = run(capsys, "--data", corners, "--out", tmp_path)
    assert_one_line(result, "already holds a run", "--out")
    assert result[1] == ""
    assert (tmp_path / "small.npz").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_refused_before_any_work(capsys, corners, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(capsys, "--data", corners, "--out", tmp_path / "file" / "run")
    assert_one_line(result, "cannot be written to")
    assert result[1] == ""
    assert_one_line(run(capsys, "--data", corners, "--out", tmp_path / "file"), "is not a folder")


def test_a_diverging_run_says_where_and_what_to_try(capsys, corners, small_nets, tmp_path):
    options = ["--learning-rate", "1e20", "--out", tmp_path / "run"]
    result = run(capsys, "--data", corners, *QUICK, "--epochs", "3", *options)
    assert_one_line(result, "small", "epoch", "step", "try --learning-rate below 1e+20")


def test_a_terminal_that_lacks_letters_gets_question_marks(with_a_stream_closed):
    done, _ = with_a_stream_closed("2>&-")
    assert done.returncode == 0
    assert b"31.4?" in done.stdout


def test_output_cut_off_by_its_reader_is_no_traceback(corners, tmp_path):
    command = [sys.executable, "-m", "npkd", "distill", "--data", corners, *QUICK]
    process = subprocess.Popen(
        [*command, "--out", tmp_path / "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize("redirection", ["2>&-", ">&-"])
def test_closed_streams_do_not_end_a_run(with_a_stream_closed, redirection):
    done, folder = with_a_stream_closed(redirection)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "report.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_for_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "npkd", "gradcheck", "relu", "--examples", "1"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr


def test_more_than_memory_holds_is_one_line(capsys, corners, tmp_path, monkeypatch):
    def too_much(*_):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(distill.Run, "steps", too_much)
    result = run(capsys, "--data", corners, "--out", tmp_path / "run")
    assert_one_line(result, "not enough memory: Unable to allocate 9 TiB")


def test_a_broken_matplotlib_does_not_lose_the_run(
    capsys, corners, small_nets, tmp_path, broken_matplotlib
):
    folder = tmp_path / "run"
    status, out, err = run(capsys, "--data", corners, *QUICK, "--out", folder)
    assert (status, err) == (0, "")
    (note,) = (line for line in out.splitlines() if line.startswith("note: report.png"))
    assert "matplotlib cannot be used: MPLBACKEND is 'nonsense': " in note
    assert note.endswith(f"; npkd report {folder} makes them")
    held = sorted(path.name for path in folder.iterdir())
    assert held == sorted(set(checkpoint.RUN_FILES) - {"report.html", "report.png"})
    assert cli.main(["report", str(folder)]) == 2
    assert_one_line((2, *capsys.readouterr()), "MPLBACKEND is 'nonsense'")
    assert sorted(path.name for path in folder.iterdir()) == held


def test_interrupting_ends_with_status_130(capsys, corners, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(distill.Run, "steps", interrupted)
    arguments = ["--data", corners, "--out", tmp_path / "run"]
    status, _, err = run(capsys, *arguments)
    to_resume = " ".join(map(str, ["npkd", "distill", *arguments, "--resume"]))
    assert (status, err) == (130, f"npkd distill: interrupted; go on with: {to_resume}\n")


def test_gradcheck_prints_a_row_for_each_subject_and_ends_with_0(capsys):
    options = ["--examples", "2", "--seed", "1", "conv2d", "l2", "cnn"]
    status, out, err = run(capsys, *options, command="gradcheck")
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.startswith(("conv2d", "l2", "cnn"))]
    assert [row[:3] for row in rows] == [["conv2d", "6", "2"], ["l2", "4", "2"], ["cnn", "4", "1"]]
    assert all(float(error) < 1e-13 for row in rows for error in row[3:5])
    assert out.endswith("all checks passed\n")


def test_gradcheck_covers_everything_by_default(capsys, monkeypatch):
    def passed(subject, case, rng):
        return proofs.Finding()

    for name, proof in proofs.PROOFS.items():  # whose checks are run by test_proofs.py
        checks = dict.fromkeys(proof.checks, passed)
        monkeypatch.setitem(proofs.PROOFS, name, replace(proof, checks=checks))
    status, out, _ = run(capsys, "--examples", "1", command="gradcheck")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[3:-2]] == list(proofs.PROOFS)


def test_gradcheck_of_a_wrong_backward_pass_says_where_and_ends_with_1(capsys, monkeypatch):
    def wrong(x):
        y, backward = ops.relu(x)
        return y, lambda dy: (1 + 1e-8) * backward(dy)

    monkeypatch.setitem(proofs.PROOFS, "relu", proofs.Proof(wrong, proofs.PROOFS["relu"].checks))
    status, out, err = run(capsys, "relu", "linear", command="gradcheck")
    assert (status, err) == (1, "")
    for words in ("FAILED", "gradient is wrong", "the backward pass is wrong", "relu of x ("):
        assert words in out
    assert out.endswith("\nfailed: relu\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["relu", "mish"], ["'mish'", "expected some of conv2d"]),
        (["--examples", "0"], ["--examples is 0", "from 1"]),
        (["--examples", "few"], ["--examples", "few"]),
        (["--seed", "-1"], ["--seed is -1"]),
        (["--threads", "0"], ["number of threads is 0"]),
    ],
)
def test_a_mistake_in_gradcheck_is_one_line_and_status_2(capsys, arguments, words):
    assert_one_line(run(capsys, *arguments, command="gradcheck"), *words)


def test_python_m_npkd_is_the_command():
    command = [sys.executable, "-m", "npkd", "distill", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--teacher-input {low,high}" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_while_the_command_is_imported_is_one_line():
    """Sent when Python has begun with npkd; before that, it is Python that says what it does."""
    code = (
        "import os, signal, sys, threading; from npkd import __main__; sys.argv[1:] = ['losses'];"
        "threading.Timer({}, os.kill, (os.getpid(), signal.SIGINT)).start(); __main__.main()"
    )
    ends = set()
    for milliseconds in (5, 20, 50, 90):
        command = [sys.executable, "-c", code.format(milliseconds / 1000)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if "Traceback" not in done.stderr or "__main__.py" in done.stderr:  # else it had not begun
            ends.add((done.returncode, done.stderr))
    assert ends <= {(130, "npkd: interrupted\n"), (130, "npkd losses: interrupted\n"), (0, "")}
    assert (130, "npkd: interrupted\n") in ends
