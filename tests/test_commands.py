"""What the commands share: what they print, and what their exit statuses mean."""

import argparse
import ast
import contextlib
import os
import shlex
import sys
import warnings
from pathlib import Path

import commands as tests_commands
import pytest
import tiny

import npkd
from npkd import commands, data
from npkd.files import BadInput, Damaged, OtherVersion, Unreadable

HOSTILE = "\x1b[2J\x1b]0;mine\x07\r\x08\x00\x9b31m\u202egnp.exe\u2028\udcff\x85"


def test_what_is_said_has_nothing_that_a_terminal_obeys(capsys):
    commands.say(f"{HOSTILE}end", "one\nline", "a\ttab")
    commands.say("×½‖y‖²", error=True)
    out, err = capsys.readouterr()
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert out.splitlines()[1:] == ["one line", "a       tab"]
    assert err == "×½‖y‖²\n"


def test_nothing_but_say_prints():
    """So text from outside has one way to a terminal. Progress bars have titles of our own."""
    for path in Path(npkd.__file__).parent.rglob("*.py"):
        if path.name in ("commands.py", "answer.py"):  # which stands beside cases without npkd
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                assert node.id != "print", f"{path}, line {node.lineno}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                assert (node.value.attr, node.attr) not in STREAMS, f"{path}, line {node.lineno}"


STREAMS = {(stream, "write") for stream in ("stdout", "stderr", "__stdout__", "__stderr__")}


def run(command, **options):
    return commands.run(command, argparse.Namespace(command="try", **options))


def raising(error):
    def command(*_, **__):
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (BadInput(f"a{HOSTILE}\nb"), 2, None),
        (Damaged("cut off"), 2, "npkd try: cut off"),
        (Unreadable("not now"), 2, "npkd try: not now"),
        (OtherVersion("of 9"), 2, "npkd try: of 9"),
        (MemoryError("of 8 TB"), 2, "npkd try: not enough memory: of 8 TB"),
        (OSError(28, "No space left on device"), 2, "npkd try: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), 130, "npkd try: interrupted"),
        (commands.Terminated(), 143, "npkd try: interrupted"),
        (BrokenPipeError(), 141, ""),
    ],
    ids=repr,
)
def test_what_a_command_raises_is_one_line_and_a_status(capsys, monkeypatch, error, status, line):
    with open(os.devnull, "w") as nowhere, monkeypatch.context() as patch:
        patch.setattr(commands, "nowhere", lambda: nowhere)
        patch.setattr(sys, "stdout", sys.stdout)  # and set back what some replace
        assert run(raising(error)) == status
    shown = capsys.readouterr().err
    assert shown.count("\n") == (line != "")
    assert all(letter.isprintable() for letter in shown[:-1])
    if line is not None:
        assert shown.rstrip("\n") == line


def test_every_interruption_names_the_command_that_goes_on(capsys):
    for error in (KeyboardInterrupt(), commands.Terminated(), MemoryError()):
        run(raising(error), to_resume="npkd try --resume")
        assert capsys.readouterr().err.endswith("; go on with: npkd try --resume\n")


def test_warnings_are_notes_of_one_line(capsys):
    def command(args):
        warnings.warn("only 3 of\n1024 threads", RuntimeWarning, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run(command) == 0
    assert capsys.readouterr().err == "note: only 3 of 1024 threads\n"


def test_names_made_by_others_reach_the_terminal_as_text(capsys, tmp_path, monkeypatch):
    """The name of a data set, of a folder, of an option's value."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    home = tmp_path / "a\x1b[2J\nb"
    home.mkdir()
    data = Path(tiny.file(home)).rename(home / "c\x1b[2J\u202e.npz")
    few = ["--large-epochs", "1", "--epochs", "1", "--batch-size", "8"]
    for arguments, expected in (
        (("distill", "--data", data, *few, "--out", home / "run"), 0),
        (("distill", "--data", data, *few, "--out", home / "run"), 2),
        (("distill", "--data", data, "--loss", "kl\x1b[2J"), 2),
        (("distill", "--data", f"{data}\x1b\n"), 2),
        (("report", home), 2),
        (("study", home / "none"), 2),
        (("validate", "check", home, data), 2),
        (("gradcheck", "relu\x1b[2J\n"), 2),
        (("losses", "l2\x1b[2J\n"), 2),
    ):
        status, out, err = tests_commands.run(capsys, *arguments)
        assert status == expected, err
        assert all(letter.isprintable() or letter == "\n" for letter in out + err)
        assert err.count("\n") == (status == 2)


def test_a_command_that_cannot_be_copied_from_a_terminal_is_described(capsys, tmp_path):
    options = ["--data", str(tmp_path), "--out"]
    for out, named in (("a b'$(c)é", True), ("a\tb", False), ("a\N{NO-BREAK SPACE}b", False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(data, "load", raising(KeyboardInterrupt()))
            status, _, err = tests_commands.run(capsys, "distill", *options, str(tmp_path / out))
        assert status == 130
        go_on = err.removesuffix("\n").split("go on with: ")[1]
        if named:
            words = ["npkd", "distill", *options, str(tmp_path / out), "--resume"]
            assert shlex.split(go_on) == words
        else:
            assert go_on == "the same arguments and --resume"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_that_nobody_can_read_has_its_status_all_the_same(monkeypatch):
    with open("/dev/full", "w") as full:
        for error, status in ((BadInput("x"), 2), (KeyboardInterrupt(), 130), (MemoryError(), 2)):
            monkeypatch.setattr(sys, "stderr", full)
            assert run(raising(error)) == status
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
