"""`npkd study` as a user runs it: what it prints, its exit status, its files."""

import json
import re
import shlex
import sys
import tomllib
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import studies
import tiny
from studies import AtOnce, invented

from npkd import cli
from npkd.engine import threads
from npkd.printing import pictures
from npkd.study import command, picture, running, shipped


@pytest.fixture(autouse=True)
def executors(monkeypatch):
    """The command's executors, which work in this process with smaller nets; without pictures."""
    made = []

    def executor(*_, **__):
        made.append(AtOnce())
        return made[-1]

    monkeypatch.setattr(command, "Processes", executor)
    monkeypatch.setattr(threads, "_num_threads", threads._num_threads)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with studies.small_nets():
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.file(tmp_path_factory.mktemp("data"))


@pytest.fixture
def file(tmp_path):
    """The study of these tests, as a file."""
    path = tmp_path / "study.toml"
    path.write_text(studies.TEXT)
    return str(path)


def run(capsys, *arguments):
    return commands.run(capsys, "study", *arguments)


def assert_one_line(result, *words):
    """A user's mistake: status 2 and one line that has these words."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("npkd")
    for word in words:
        assert word in err


def test_a_study_shows_its_trainings_and_writes_its_report(capsys, data, file, tmp_path):
    out = tmp_path / "out"
    status, shown, err = run(capsys, file, "--data", data, "--out", out, "--workers", 2)
    assert (status, err) == (0, "")
    first, second, *lines = shown.splitlines()
    assert "corners, 22 images to train and 12 test ones; 3 setting(s) × 1 seed(s)" in first
    assert "2 process(es) of" in first
    assert second == "5 trainings"
    assert lines[0].startswith("    1/5 large, seed 3, L2, teacher_input low: accuracy ")
    assert lines[4].startswith("    5/5 small, distilled, seed 3, labels and maps: accuracy ")
    assert (
        "note: study.png and study.html are not made: pictures need matplotlib (pip install "
        "'npkd[app]'); the same command with --resume makes them"
    ) in lines
    assert lines[-1] == f"made study.json in {out}"
    report = json.loads((out / "study.json").read_text())
    assert [one["name"] for one in report["settings"]] == [
        "L2, teacher_input low",
        "L2, teacher_input high",
        "labels and maps",
    ]
    for setting in report["settings"]:
        assert any(line.startswith(setting["name"]) for line in lines)


def test_a_broken_matplotlib_does_not_lose_the_study(
    capsys, data, file, tmp_path, broken_matplotlib, monkeypatch
):
    out = tmp_path / "out"
    status, shown, err = run(capsys, file, "--data", data, "--out", out)
    assert (status, err) == (0, "")
    (note,) = (line for line in shown.splitlines() if line.startswith("note: "))
    assert note.startswith(
        "note: study.png and study.html are not made: matplotlib cannot be used: MPLBACKEND is "
        "'nonsense': "
    )
    assert note.endswith("; the same command with --resume makes them")
    assert shown.endswith(f"made study.json in {out}\n")
    broken_matplotlib.undo()
    for module in (picture, pictures):
        monkeypatch.setattr(module, "png", lambda draw, **size: b"")
    status, shown, err = run(capsys, file, "--data", data, "--out", out, "--resume")
    assert (status, err) == (0, "")
    assert shown.endswith(f"made study.json, study.png, study.html in {out}\n")


def test_options_reach_the_study(capsys, data, file, tmp_path, executors):
    options = ["--seeds", 8, 9, "--threads", 3, "--workers", 2]
    assert run(capsys, file, "--data", data, "--out", tmp_path / "out", *options)[0] == 0
    (executor,) = executors
    assert len(executor.jobs) == 2 * studies.CELLS
    assert {job.cell.config.seed for job in executor.jobs} == {8, 9}
    assert {job.threads for job in executor.jobs} == {3}
    assert json.loads((tmp_path / "out" / "study.json").read_text())["seeds"] == [8, 9]


@pytest.mark.parametrize("held_out", [False, True])
def test_the_default_folder_is_named_after_the_data(
    capsys, data, file, tmp_path, monkeypatch, held_out
):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, file, "--data", data, *["--held-out"] * held_out)[0] == 0
    name = "study-corners-study" + "-held-out" * held_out
    assert (tmp_path / "runs" / name / "study.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workers", "0"], ["--workers is 0, expected a whole number from 1"]),
        (["--workers", "100000"], ["--workers is 100000, expected a whole number from 1 to 1024"]),
        (["--threads", "2000"], ["--threads is 2000, expected a whole number from 1 to"]),
        (["--threads", "0"], ["--threads is 0, expected a whole number from 1"]),
        (["--workers", "few"], ["--workers", "few"]),
        (["--seeds", "-1"], ["--seeds is -1, expected a whole number from 0"]),
        (["FILE", "--seeds", "1", "1"], ["study.toml: seeds are [1, 1], expected", "each once"]),
        (["FILE", "--seeds", str(2**63)], [f"--seeds is {2**63}, expected a whole number"]),
        (["--seeds", "9" * 5000], ["--seeds"]),
        (["--seeds"], ["--seeds"]),
        (["--data", "no/such/place"], ["no/such/place"]),
        (["--size", "0"], ["--size is 0; expected a multiple of 4 from 8 to 512"]),
        (["no/such.toml"], ["no/such.toml: No such file", "expected a study"]),
        (["."], [".: not a regular file"]),
        (["--dask", "x", "--mpi"], ["--mpi", "not allowed with"]),
        (["--colour", "red"], ["--colour"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(
    capsys, data, file, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    arguments = [file if argument == "FILE" else argument for argument in arguments]
    where = [] if "--data" in arguments else ["--data", data]
    result = run(capsys, *arguments, *where)
    assert_one_line(result, *words)
    assert [str(path) for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "not a text in UTF-8"),
        (b"seeds = [", "not TOML"),
        (b"", "expected one [[setting]] or more"),
        (b"[[setting]]\nepochs = 0", "setting 1: epochs is 0"),
        (b"[[setting]]\nloss = 'kl temperature=1e-320 + l3'", "loss is 'l3', expected one of"),
        (b"#" * (command.MOST_BYTES + 1), "1,048,577 bytes; expected a study of 1,048,576 at most"),
    ],
)
def test_a_file_that_is_no_study_is_named_in_one_line(capsys, data, tmp_path, content, words):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    result = run(capsys, path, "--data", data, "--out", tmp_path / "out")
    assert_one_line(result, f"{path}: ", words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "package"), [("--dask=x", "distributed"), ("--mpi", "mpi4py")])
def test_what_is_not_installed_is_named_in_one_line(
    capsys, data, file, tmp_path, monkeypatch, option, package
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.futures", None)
    result = run(capsys, file, "--data", data, "--out", tmp_path / "out", option)
    assert_one_line(result, option.split("=")[0], "pip install")
    assert not (tmp_path / "out").exists()


def test_print_shows_a_file_that_reads_back(capsys, data, file, tmp_path):
    status, text, err = run(capsys, "--data", data, "--print")
    assert (status, err) == (0, "")
    assert text == shipped.text("digits", tiny.dataset())
    assert tomllib.loads(text)["setting"]
    assert run(capsys, file, "--data", data, "--print") == (0, studies.TEXT, "")
    path = tmp_path / "again.toml"
    path.write_text(text, "utf-8-sig")
    assert run(capsys, path, "--data", data, "--print") == (0, text, "")


def test_a_study_that_comes_with_npkd_is_meant_unless_a_file_has_its_name(
    capsys, data, file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    resnets = shipped.text("resnets", tiny.dataset())
    (tmp_path / "resnets").mkdir()  # what another study made, say
    assert run(capsys, "resnets", "--data", data, "--print") == (0, resnets, "")
    (tmp_path / "digits").write_text(studies.TEXT)
    assert run(capsys, "digits", "--data", data, "--print") == (0, studies.TEXT, "")
    assert run(capsys, "--data", data, "--print") == (0, shipped.text("digits", tiny.dataset()), "")


def test_list_says_what_each_study_asks(capsys, data):
    status, out, err = run(capsys, "--data", data, "--list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped.NAMES)
    assert all(line.endswith("?") for line in lines)


def test_a_folder_that_holds_a_study_needs_resume(capsys, data, file, tmp_path, executors):
    out = tmp_path / "out"
    assert run(capsys, file, "--data", data, "--out", out)[0] == 0
    before = (out / "study.json").read_bytes()
    assert_one_line(run(capsys, file, "--data", data, "--out", out), "already holds a study")
    status, shown, _ = run(capsys, file, "--data", data, "--out", out, "--resume")
    assert status == 0
    assert "\n5 trainings, 5 of them done before\n" in shown
    assert "    5/5" not in shown
    assert executors[-1].jobs == []
    assert (out / "study.json").read_bytes() == before
    (path,) = (out / running.FOLDER).glob("large-*")
    path.write_bytes(path.read_bytes()[:-1])
    status, shown, _ = run(capsys, file, "--data", data, "--out", out, "--resume")
    assert f"\nnote: {path}: cut off or altered since it was written; made anew\n" in shown
    assert "    5/5 large, seed 3, L2, teacher_input low: accuracy" in shown
    assert (out / "study.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_one_line(capsys, data, file, tmp_path):
    (tmp_path / "cells").write_text("")
    where = ["--data", data, "--out", tmp_path]
    assert_one_line(run(capsys, file, *where), "already holds a study (cells)")
    status, _, err = run(capsys, file, *where, "--resume")
    assert (status, err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'cells'}: Not a directory; expected the folder of a study" in err
    assert_one_line(run(capsys, file, "--data", data, "--out", file), "is not a folder")
    (tmp_path / "new" / "study.html").mkdir(parents=True)
    result = run(capsys, file, "--data", data, "--out", tmp_path / "new")
    assert_one_line(result, f"{tmp_path / 'new' / 'study.html'}: is a folder")


def other_test_images(data, folder):
    """The data set with the test images turned upside down, and other labels."""
    with np.load(data) as arrays:
        changed = dict(arrays)
    changed["test_images"] = changed["test_images"][::-1, :, ::-1]
    changed["test_labels"] = (changed["test_labels"] + 1) % 4
    np.savez(folder / "corners.npz", **changed)
    return str(folder / "corners.npz")


@pytest.mark.parametrize("held_out", [True, False])
def test_held_out_does_not_touch_the_test_images(capsys, data, file, tmp_path, held_out):
    option = ["--held-out"] * held_out
    reports = []
    for number, path in enumerate((data, other_test_images(data, tmp_path))):
        out = tmp_path / str(number)
        assert run(capsys, file, "--data", path, "--out", out, *option)[0] == 0
        reports.append((out / "study.json").read_bytes())
    assert (reports[0] == reports[1]) == held_out
    about = json.loads(reports[0])["data"]
    assert (about["train"], about["test"]) == ((18, 4) if held_out else (22, 12))
    assert about["held_out"] == held_out


def test_too_few_images_to_hold_some_out_is_one_line(capsys, data, file, tmp_path):
    with np.load(data) as arrays:
        few = {name: values[:8] for name, values in arrays.items()}
    np.savez(tmp_path / "few.npz", **few)
    result = run(capsys, file, "--data", tmp_path / "few.npz", "--held-out")
    assert_one_line(result, "few.npz: too few images of each class to hold a fifth out")


def test_a_training_that_diverges_is_said_and_ends_with_1(capsys, data, file, tmp_path):
    text = studies.TEXT + "[[setting]]\nname = 'wild'\nlearning_rate = 1e30\n"
    (tmp_path / "wild.toml").write_text(text)
    where = ["--data", data, "--out", tmp_path / "out"]
    status, shown, err = run(capsys, tmp_path / "wild.toml", *where)
    assert (status, err) == (1, "")
    (line,) = [line for line in shown.splitlines() if "FAILED: " in line]
    assert re.match(r"    \d/6 small, distilled, seed 3, wild: FAILED: small: ", line)
    assert line.endswith("try --learning-rate below 1e+30")
    assert "\nfailed, and left out:\n    small, distilled, seed 3, of wild: " in shown
    settings = json.loads((tmp_path / "out" / "study.json").read_text())["settings"]
    assert [bool(one["failed"]) for one in settings] == [False, False, False, True]


def test_an_interruption_says_how_to_go_on(capsys, data, file, tmp_path, monkeypatch):
    def interrupted(job):
        if job.cell.net == "small":
            raise KeyboardInterrupt
        return invented(job)

    monkeypatch.setattr(command, "Processes", lambda *_, **__: AtOnce(interrupted))
    arguments = [file, "--data", data, "--out", tmp_path / "my out"]
    for more in ([], ["--resume"]):
        status, _, err = run(capsys, *arguments, *more)
        assert status == 130
        again = shlex.join(["npkd", "study", *map(str, arguments), "--resume"])
        assert err == f"npkd study: interrupted; go on with: {again}\n"
    assert list((tmp_path / "my out" / running.FOLDER).glob("large-*"))


def test_an_executor_that_breaks_at_once_is_no_traceback(capsys, data, file, tmp_path, monkeypatch):
    class Broken(AtOnce):
        def submit(self, train, /, job):
            raise running.BrokenExecutor("no process can be started")

    monkeypatch.setattr(command, "Processes", lambda *_, **__: Broken())
    status, shown, err = run(capsys, file, "--data", data, "--out", tmp_path / "out")
    assert (status, err) == (1, "")
    assert shown.count("FAILED: not begun, as the executor broke: no process") == studies.CELLS
    assert "Nothing can be said, as trainings failed." in shown


def test_what_is_given_to_dask_while_its_scheduler_is_gone_does_not_wait():
    client = SimpleNamespace(status="running", get_executor=lambda: AtOnce(abs))
    executor = command._OfDask(client)
    assert executor.submit(None, -3).result() == 3
    client.status = "connecting"
    with pytest.raises(running.Gone, match="the scheduler has gone"):
        executor.submit(None, -3)


def test_help_fits_into_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, shown, _ = run(capsys, "--help")
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80
    for option in ("--seeds", "--held-out", "--print", "--dask", "--mpi", "--resume"):
        assert f"  {option}" in shown


def test_the_command_gives_the_figures_of_distill(capsys, data, file, tmp_path, monkeypatch):
    """In all, from the file of the study to study.json."""
    monkeypatch.setattr("npkd.distill.evaluate.latency_ms", lambda *_: 1.0)
    assert run(capsys, file, "--data", data, "--out", tmp_path / "out")[0] == 0
    setting = json.loads((tmp_path / "out" / "study.json").read_text())["settings"][0]
    options = ["--data", data, "--seed", 3, "--large-epochs", 1, "--epochs", 2, "--batch-size", 11]
    assert cli.main(["distill", *map(str, options), "--out", str(tmp_path / "run")]) == 0
    models = json.loads((tmp_path / "run" / "report.json").read_text())["models"]
    for net, name in (("small", "small"), ("labels", "small_from_labels"), ("large", "large")):
        assert setting[net]["accuracy"]["values"] == {"3": models[name]["accuracy"]}
