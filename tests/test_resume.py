"""Runs that are stopped, killed, or find their checkpoints damaged, and go on all the same."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import studies
import tiny
from conftest import KILLED

from npkd import cli, distill, files, optim, weights
from npkd.distill import checkpoint
from npkd.files import BadInput, Damaged, OtherVersion

TIMES = {"seconds", "train_seconds", "latency_ms", "latency", "threads"}
ARGUMENTS = ["--large-epochs", "1", "--epochs", "2", "--batch-size", "8", "--seed", "3"]


def without_times(report):
    """A report less the fields that are times."""
    if isinstance(report, dict):
        return {key: without_times(value) for key, value in report.items() if key not in TIMES}
    return report


def bits(networks):
    return {
        f"{name}/{key}": theta.tobytes()
        for name, network in networks.items()
        for key, theta in network.state_dict().items()
    }


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    """They take longer than these small runs, and a run is the same without them."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def small_nets():
    """For runs in this process."""
    with studies.small_nets():
        yield


@pytest.fixture(scope="module")
def finished():
    with studies.small_nets():
        return tiny.finish(augment=True, versions=2)[1]


# Updates, of which three are an epoch, after which a run is gone on with; and after which it is
# stopped again at once, or its state altered.
GONE_ON_WITH = [
    ("large", 0),
    ("large", 2),
    ("small", 1),
    ("small", 2),
    ("small", 3),
    ("small", 5),
    ("small_from_labels", 4),
    ("small_from_labels", 5),
]
OTHERS = [("large", 1), ("small", 0), ("small_from_labels", 5)]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Of one run: folders with a checkpoint right after each of these updates, and no other."""
    with studies.small_nets():
        run = distill.Run(tiny.dataset(), tiny.config(augment=True, versions=2))
    folders = {}
    for event in run.steps():
        if not isinstance(event, distill.Training):
            continue
        if (update := (event.net, event.update.step)) in GONE_ON_WITH + OTHERS:
            folders[update] = tmp_path_factory.mktemp("stopped")
            state = vars(run.state())
            arrays = state.pop("arrays")
            checkpoint.save(folders[update], 1, state, arrays)
    return folders


@pytest.mark.parametrize(("net", "step"), GONE_ON_WITH)
def test_a_run_that_goes_on_ends_as_if_it_had_never_been_stopped(
    finished, checkpoints, small_nets, net, step
):
    state, arrays = checkpoint.load(checkpoint.found(checkpoints[net, step])[0])
    run = distill.Run(
        tiny.dataset(),
        tiny.config(augment=True, versions=2),
        distill.State(**state, arrays=arrays),
    )
    *_, last = run.steps()
    assert bits(last.networks) == bits(finished.networks)
    assert without_times(last.report) == without_times(finished.report)


@pytest.mark.parametrize(("net", "step"), OTHERS)
def test_stopped_again_before_it_has_caught_up_a_run_is_where_it_was(
    checkpoints, small_nets, net, step
):
    state, arrays = checkpoint.load(checkpoint.found(checkpoints[net, step])[0])
    resumed = distill.State(**state, arrays=arrays)
    run = distill.Run(tiny.dataset(), tiny.config(augment=True, versions=2), resumed)
    for event in run.steps():
        if isinstance(event, distill.Training | distill.Finished):
            break
        found = run.state()
        assert found.updates == resumed.updates
        assert (found.loss, found.samples) == (resumed.loss, resumed.samples)
        assert found.history == resumed.history
        assert {k: v.tobytes() for k, v in found.arrays.items()} == {
            k: v.tobytes() for k, v in arrays.items()
        }


@pytest.mark.parametrize(
    "change",
    [
        {"updates": {"small": 1}},
        {"updates": {"large": 0}},
        {"updates": {"large": 4}},
        {"updates": {"large": 2.0}},
        {"updates": {"large": 2, "small": 1}},
        {"history": {"large": [{}]}},
        {"arrays": {}},
    ],
)
def test_a_state_that_does_not_fit_the_run_is_refused(checkpoints, small_nets, change):
    state, arrays = checkpoint.load(checkpoint.found(checkpoints["large", 1])[0])
    wrong = distill.State(**(state | {"arrays": arrays} | change))
    with pytest.raises(ValueError, match=r"\bits?\b|large"):
        distill.Run(tiny.dataset(), tiny.config(augment=True, versions=2), wrong)


@pytest.mark.parametrize(
    "optimiser",
    [{"optimiser": "adam"}, {"optimiser": "adamw"}, {"nesterov": True}, {"momentum": 0.0}],
    ids=str,
)
def test_whatever_the_optimiser_remembers_a_run_goes_on_with_it(small_nets, optimiser):
    config = tiny.config(decay_biases=False, learning_rate=1e-3, **optimiser)
    run, states = distill.Run(tiny.dataset(), config), []
    for event in run.steps():
        if isinstance(event, distill.Training) and event.update.step == 3:
            states.append(deepcopy(run.state()))
    for state in states:
        *_, last = distill.Run(tiny.dataset(), config, state).steps()
        assert bits(last.networks) == bits(event.networks)
        assert without_times(last.report) == without_times(event.report)
    (of_small, _) = states  # the large net has had three updates in all
    kept = {name.split("/")[2] for name in of_small.arrays if name.startswith("optimiser/")}
    expected = {"m", "v"} if "optimiser" in optimiser else {"velocity"}
    assert kept == (set() if "momentum" in optimiser else expected)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_what_batch_norm_remembers_goes_on_too(small_nets, tmp_path, optimiser):
    config = tiny.config(**tiny.RESNETS, augment=True, versions=2, optimiser=optimiser)
    run, folders = distill.Run(tiny.dataset(), config), []
    for event in run.steps():
        if isinstance(event, distill.Training) and event.update.step == 1:
            folders.append(tmp_path / event.net)
            folders[-1].mkdir()
            state = vars(run.state())
            checkpoint.save(folders[-1], 1, state, state.pop("arrays"))
    for folder in folders:
        state, arrays = checkpoint.load(checkpoint.found(folder)[0])
        assert arrays[f"{folder.name}/bn1.num_batches_tracked"] == 2
        resumed = distill.State(**state, arrays=arrays)
        *_, last = distill.Run(tiny.dataset(), config, resumed).steps()
        assert bits(last.networks) == bits(event.networks)
        assert without_times(last.report) == without_times(event.report)
    remembered = last.networks["small"].state
    assert remembered["bn1.num_batches_tracked"] == 6
    assert np.any(remembered["bn1.running_mean"])


# Checkpoints on disk


def save(folder, number):
    checkpoint.save(folder, number, {"number": number}, {"w": np.arange(number + 5.0)})


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    half = tmp_path / ".checkpoint-0000000001.npkd.00ff00ff00ff00ff"  # from a kill
    half.write_text("half of one")
    for number in (1, 2, 30):
        save(tmp_path, number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-0000000002.npkd",
        "checkpoint-0000000030.npkd",
    ]
    about, arrays = checkpoint.load(checkpoint.found(tmp_path)[0])
    assert about == {"number": 30}
    np.testing.assert_array_equal(arrays["w"], np.arange(35.0))


def test_what_only_looks_like_a_checkpoint_is_left_alone(tmp_path):
    (tmp_path / "checkpoint-0000000007.npkd").mkdir()
    for name in ("checkpoint-zzz.npkd", "checkpoint-7.npkd", "checkpoint-0000000007.npkd.bak"):
        (tmp_path / name).write_text("mine")
    for number in (1, 2, 3):
        save(tmp_path, number)
    assert len(checkpoint.found(tmp_path)) == 2
    checkpoint.remove(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_checkpoint_of_a_higher_number_does_not_outlive_the_new_ones(tmp_path):
    for number in (900, 901):
        (tmp_path / f"checkpoint-{number:010}.npkd").write_text("damaged")
    for number in (1, 2, 3):
        save(tmp_path, number)
        assert checkpoint.load(checkpoint.found(tmp_path)[0])[0] == {"number": number}


def test_a_checkpoint_with_any_byte_altered_or_missing_is_recognised(tmp_path):
    save(tmp_path, 1)
    (path,) = checkpoint.found(tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        form = len("npkd checkpoint ")  # one digit; another one is that of another version
        with pytest.raises(OtherVersion if whole[form] != damaged[form] else Damaged):
            checkpoint.load(path)
    for damaged in (whole[:-1], whole + b"\0", b"", whole[: int(rng.integers(len(whole)))]):
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match="cut off or altered"):
            checkpoint.load(path)


# The command


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.file(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start(data, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return result(folder)


def result(folder: Path):
    """What a finished run leaves: its files, their weights, its report less times."""
    names = sorted(path.name for path in folder.iterdir())
    weights = {name: (folder / name).read_bytes() for name in names if name.endswith(".npz")}
    return names, weights, without_times(json.loads((folder / "report.json").read_text()))


def start(data, folder, *more, before=""):
    """The command in a process of its own, which does this before it begins."""
    code = QUICKLY + before + THE_COMMAND
    return subprocess.Popen(
        [
            *(sys.executable, "-c", code, "distill", "--data", data, *ARGUMENTS),
            *("--out", str(folder), *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Up to so many seconds after a step has begun; a kill then falls into it, or soon after. Step 3 is
# over in less time than it takes to hear of it, so there the process kills itself.
DURATION = {1: 0.7, 2: 0.05, 3: 0.0, 4: 0.02, 5: 0.9, 6: 0.4}
QUICKLY = (  # without pictures, and as conftest.py has latencies
    "import os, sys; sys.modules['matplotlib'] = None; "
    "from npkd import cli; from npkd.distill import evaluate; "
    "evaluate.WARM_UP_RUNS = evaluate.LATENCY_RUNS = 1; "
)
SHRUNK = f"sys.path.insert(0, {os.path.dirname(__file__)!r}); import studies; studies.shrink(); "
THE_COMMAND = "sys.exit(cli.main(sys.argv[1:]))"
KILLED_IN_STEP_3 = (
    "from npkd import commands; commands.print = lambda *shown, **how: print(*shown, **how) or ("
    "str(shown[0]).startswith('step 3') and os.kill(os.getpid(), 9)); "
)


@pytest.mark.parametrize("step", distill.STEPS)
def test_a_run_killed_in_any_step_ends_with_the_same_bits(
    data, uninterrupted, tmp_path, step, request
):
    rng = np.random.default_rng(step)
    kills = request.config.stash.setdefault(KILLED, Counter())
    for number in range(step, request.config.getoption("--kills") + 1, len(distill.STEPS)):
        folder = tmp_path / str(number)
        before = KILLED_IN_STEP_3 if step == 3 else ""
        process = start(data, folder, "--checkpoint-every", "1", before=before)
        reached = next(line for line in process.stdout if line.startswith(f"step {step}"))
        time.sleep(rng.uniform(0, DURATION[step]))
        process.kill()
        shown, _ = process.communicate()
        reached = [line for line in [reached, *shown.splitlines()] if line.startswith("step ")][-1]
        kills[reached.split(" of ")[0] if process.returncode < 0 else "had just ended"] += 1
        process = start(data, folder, "--resume", "--checkpoint-every", "1")
        _, errors = process.communicate()
        assert process.returncode == 0 or "holds a run that is finished" in errors, errors
        assert result(folder) == uninterrupted
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "nets", [(), ("--large", "resnet8", "--small", "resnet8")], ids=["document's", "resnets"]
)
def test_a_run_by_adam_killed_in_step_5_ends_with_the_same_bits(data, tmp_path, nets):
    adam = *nets, "--optimiser", "adam", "--no-decay-biases", "--learning-rate", "1e-3"
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(data, killed, *adam, "--checkpoint-every", "1", before=SHRUNK)
    assert any("epoch 1 of 2" in line for line in process.stdout)  # the large net has one
    process.kill()
    process.communicate()
    assert checkpoint.found(killed)
    for folder, *more in ((killed, "--resume"), (whole,)):
        process = start(data, folder, *adam, *more, before=SHRUNK)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert result(killed) == result(whole)
    config = json.loads((killed / "report.json").read_text())["config"]
    assert (config["optimiser"], config["decay_biases"]) == ("adam", False)
    assert ("bn1.running_var" in np.load(killed / "small.npz")) == bool(nets)


# Trouble in the folder of a killed run: each gives code for a process that finds it, and undoes it.


@contextmanager
def of_another_user(folder):
    for path in checkpoint.found(folder):
        path.chmod(0)
    yield LETTING_GO
    for path in checkpoint.found(folder):
        path.chmod(0o644)


@contextmanager
def full_disk(folder):
    """The system itself refuses: no file may grow beyond a limit, as on a full disk."""
    yield (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
    )


@contextmanager
def too_little_memory(folder):
    """For a checkpoint of some 70 MB, on top of what the process has already."""
    yield (
        "import resource; pages = int(open('/proc/self/statm').read().split()[0]); "
        "limit = pages * resource.getpagesize() + (30 << 20); "
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); "
    )


@contextmanager
def another_version(folder):
    newest = checkpoint.found(folder)[0]
    data = newest.read_bytes()
    newest.write_bytes(data.replace(b"npkd checkpoint 1", b"npkd checkpoint 2", 1))
    yield ""
    newest.write_bytes(data)


LETTING_GO = (  # of root's power over files
    "import ctypes; "
    "ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()); "
)
TROUBLES = {
    of_another_user: "cannot be read just now: Permission denied",
    full_disk: "File too large",
    too_little_memory: "not enough memory",
    another_version: "is of format 2, and this is npkd",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
def test_trouble_in_the_folder_of_a_killed_run_loses_nothing(
    data, uninterrupted, unfinished, tmp_path, request
):
    rng = np.random.default_rng(0)
    kills = request.config.stash.setdefault(KILLED, Counter())
    folders = [unfinished]
    for number in range(2 * request.config.getoption("--kills") // 5):
        folders.append(tmp_path / str(number))
        step = (5, 2, 4)[number % 3]
        process = start(data, folders[-1], "--checkpoint-every", "1")
        next(line for line in process.stdout if line.startswith(f"step {step}"))
        time.sleep(rng.uniform(0, DURATION[step]))
        process.kill()
        process.communicate()
    for folder in folders:
        before = contents(folder)
        for trouble, words in TROUBLES.items():
            with trouble(folder) as code:
                process = start(data, folder, "--resume", before=code)
                _, errors = process.communicate()
            (line,) = errors.splitlines()
            assert process.returncode == 2, line
            assert words in line
            assert contents(folder) == before, trouble
            kills[f"then {trouble.__name__.replace('_', ' ')}"] += 1
        assert start(data, folder, "--resume").communicate()[1] == ""
        assert result(folder) == uninterrupted
        shutil.rmtree(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(data, uninterrupted, tmp_path):
    folder = tmp_path / "run"
    process = start(data, folder)
    for line in process.stdout:
        if line.startswith("step 5"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    (line,) = errors.splitlines()
    assert "interrupted; go on with: npkd distill" in line
    assert line.endswith("--resume")
    assert checkpoint.found(folder)
    assert cli.main(["distill", *line.split("npkd distill ")[-1].split()]) == 0
    assert result(folder) == uninterrupted


@pytest.fixture(scope="module")
def killed(data, tmp_path_factory):
    """A folder with two checkpoints of a run."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    process = start(data, folder, "--checkpoint-every", "1")
    for line in process.stdout:
        if line.startswith("step 5"):
            break
    process.kill()
    process.communicate()
    assert len(checkpoint.found(folder)) == 2
    return folder


@pytest.fixture
def unfinished(killed, tmp_path):
    """Another such folder."""
    return Path(shutil.copytree(killed, tmp_path / "run"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    data, uninterrupted, unfinished, capsys
):
    folder = unfinished
    newest, before = checkpoint.found(folder)
    newest.write_bytes(newest.read_bytes()[:-100])
    assert cli.main(["distill", "--data", data, *ARGUMENTS, "--out", str(folder), "--resume"]) == 0
    shown = capsys.readouterr().out
    assert f"note: {newest}: cut off or altered" in shown
    assert f"going on from {before}" in shown
    assert result(folder) == uninterrupted


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        MemoryError(),
    ],
    ids=repr,
)
def test_what_cannot_be_read_just_now_is_kept(data, tmp_path, monkeypatch, capsys, error):
    """The newest of two: the one before is whole, and not gone on from either."""
    for number in (1, 2):
        save(tmp_path, number)
    before = contents(tmp_path)

    def failing(path, mode):
        if "checkpoint-0000000002" in str(path):
            raise error
        return open(path, mode)

    monkeypatch.setattr(files, "open", failing, raising=False)
    assert resumed(data, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read just now" in line or "not enough memory to read it" in line
    assert "checkpoint-0000000002" in line
    assert contents(tmp_path) == before


def resumed(data, folder):
    return cli.main(["distill", "--data", data, *ARGUMENTS, "--out", str(folder), "--resume"])


def test_a_checkpoint_that_is_a_link_to_nothing_just_now_is_kept(data, tmp_path, capsys):
    link = tmp_path / "checkpoint-0000000002.npkd"
    link.symlink_to("/not/mounted/now")
    assert resumed(data, tmp_path) == 2
    assert "No such file or directory; expected a checkpoint" in capsys.readouterr().err
    assert link.is_symlink()
    assert list(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize("content", [b"of format 2", b"by npkd 9", b"not a run's", b"damaged"])
def test_a_checkpoint_that_cannot_be_used_is_kept(data, tmp_path, monkeypatch, capsys, content):
    words = "no other checkpoint can be gone on from"
    save(tmp_path, 1)
    (path,) = checkpoint.found(tmp_path)
    match content:
        case b"of format 2":
            path.write_bytes(path.read_bytes().replace(b"npkd checkpoint 1", b"npkd checkpoint 2"))
            words = "is of format 2"
        case b"by npkd 9":
            with monkeypatch.context() as patch:
                patch.setattr(checkpoint, "__version__", "9\x1b[2J")
                save(tmp_path, 1)
            words = "was written by npkd 9\N{REPLACEMENT CHARACTER}[2J"
        case b"not a run's":
            words = "cannot be gone on from, and nothing is touched: 'state'"
        case b"damaged":
            path.write_bytes(content)
    before = contents(tmp_path)
    assert resumed(data, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert contents(tmp_path) == before


def test_nothing_is_written_that_would_be_too_large_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "MOST_BYTES", 1 << 21)
    for size, fits in ((1 << 19, True), (1 << 21, False)):
        arrays = {"w": np.zeros(size, np.uint8)}
        for write, read in (
            (lambda path, arrays=arrays: checkpoint.write(path, {}, arrays), checkpoint.load),
            (
                lambda path, arrays=arrays: weights.save_weights(path, arrays),
                weights.load_weights,
            ),
        ):
            path = tmp_path / "file"
            if fits:
                write(path)
                read(path)
                path.unlink()
            else:
                with pytest.raises(BadInput, match="to be written; npkd reads 2,097,152 at most"):
                    write(path)
                assert not path.exists()


# Ctrl-C and SIGTERM


def interrupted(data, folder, capsys):
    """The status, where the run stood, and whether the one line names the command that goes on."""
    arguments = ["distill", "--data", data, *ARGUMENTS, "--out", str(folder)]
    status = cli.main(arguments)
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line == f"npkd distill: interrupted; go on with: npkd {' '.join(arguments)} --resume"
    steps = [text for text in shown.out.splitlines() if text.startswith("step ")]
    return status, steps[-1].split(" of ")[0]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
@pytest.mark.parametrize(
    ("step", "name"),
    [(2, "steps.Run.teacher_outputs"), (3, "evaluate.against_truth"), (6, "evaluate.models")],
)
def test_where_nothing_is_trained_a_run_stops_at_once(
    data, small_nets, tmp_path, capsys, monkeypatch, number, status, step, name
):
    """At the first signal, and the checkpoint after the training before is what it goes on from."""

    def asked(*_):
        signal.raise_signal(number)
        raise AssertionError("went on")

    monkeypatch.setattr(f"npkd.distill.{name}", asked)
    folder = tmp_path / "run"
    assert interrupted(data, folder, capsys) == (status, f"step {step}")
    about, _ = checkpoint.load(checkpoint.found(folder)[0])
    nets = list(about["state"]["updates"])
    assert nets == (["large"] if step < 6 else ["large", "small", "small_from_labels"])


@pytest.mark.parametrize("signals", [1, 2])
def test_where_nets_are_trained_an_update_is_ended_first(
    data, small_nets, tmp_path, capsys, monkeypatch, signals
):
    """Unless it is asked twice."""
    step = optim.SGD.step

    def asked(sgd, *arguments):
        for _ in range(signals):
            signal.raise_signal(signal.SIGINT)
        step(sgd, *arguments)

    monkeypatch.setattr(optim.SGD, "step", asked)
    assert interrupted(data, tmp_path / "run", capsys) == (130, "step 1")
    if signals == 1:
        (path,) = checkpoint.found(tmp_path / "run")
        assert checkpoint.load(path)[0]["state"]["updates"] == {"large": 1}
    else:
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "holds an unfinished run"),
        (["--resume", "--epochs", "3"], "--epochs is 3, but the run in .* has 2"),
        (["--resume", "--learning-rate", "0.01"], "--learning-rate is 0.01, but .* has 0.015"),
        (["--resume", "--data", "mnist5k"], "--data: mnist5k is not what the run .*corners"),
        (["--resume", "--checkpoint-every", "0"], "--checkpoint-every is 0"),
    ],
)
def test_going_on_otherwise_than_it_began_is_refused(data, tmp_path, capsys, change, message):
    folder = tmp_path / "run"
    folder.mkdir()
    config = tiny.config()
    about = {
        "config": asdict(config) | {"large_epochs": 1, "epochs": 2, "batch_size": 8, "seed": 3},
        "name": "corners",
        "data": "of other images",
        "state": {"updates": {}, "loss": 0.0, "samples": 0, "history": {}, "seconds": {}},
    }
    checkpoint.save(folder, 0, about, {})
    before = checkpoint.found(folder)[0].read_bytes()
    arguments = ["distill", "--data", data, *ARGUMENTS, "--out", str(folder), *change]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert checkpoint.found(folder)[0].read_bytes() == before


def test_a_run_that_diverges_keeps_the_checkpoints_before_it(data, small_nets, tmp_path, capsys):
    folder = tmp_path / "run"
    more = ["--learning-rate", "1e30", "--out", str(folder)]
    assert cli.main(["distill", "--data", data, *ARGUMENTS, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "small: " in line
    assert "the largest weight is" in line or "outputs are no longer finite" in line
    (path,) = checkpoint.found(folder)
    about, arrays = checkpoint.load(path)
    assert about["state"]["updates"] == {"large": 3}
    assert all(np.isfinite(theta).all() for theta in arrays.values())


def test_a_finished_run_is_not_gone_on_with(data, uninterrupted, tmp_path, capsys):
    (tmp_path / "report.json").write_text("{}")
    arguments = ["distill", "--data", data, *ARGUMENTS, "--out", str(tmp_path), "--resume"]
    assert cli.main(arguments) == 2
    assert "already holds a run that is finished" in capsys.readouterr().err


def test_results_without_a_checkpoint_to_go_on_from_are_kept(data, tmp_path, capsys):
    (tmp_path / "small.npz").write_text("precious")
    (tmp_path / "checkpoint-0000000001.npkd").write_text("damaged")
    arguments = ["distill", "--data", data, *ARGUMENTS, "--out", str(tmp_path), "--resume"]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cut off or altered since it was written; no other checkpoint" in line
    assert (tmp_path / "small.npz").read_text() == "precious"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
def test_a_folder_turned_read_only_is_one_line_and_the_last_checkpoint_stays(
    data, uninterrupted, tmp_path
):
    """The system itself refuses, root too: the process lets go of root's power over files."""
    folder = tmp_path / "run"
    process = start(data, folder, "--checkpoint-every", "1", before=LETTING_GO)
    next(line for line in process.stdout if line.startswith("step 5"))
    folder.chmod(0o555)
    try:
        _, errors = process.communicate()
        kept = checkpoint.found(folder)
    finally:
        folder.chmod(0o755)
    assert process.returncode == 2
    (line,) = errors.splitlines()
    assert f"{folder}: a checkpoint cannot be written: Permission denied" in line
    assert f"the last good one is {kept[0].name}" in line
    _, errors = start(data, folder, "--resume").communicate()
    assert errors == ""
    assert result(folder) == uninterrupted
