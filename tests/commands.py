"""The command, called within the tests' own process."""

from npkd import cli


def run(capsys, command, *arguments):
    """The command's exit status, standard output and standard error."""
    try:
        status = cli.main([command, *map(str, arguments)])
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()
