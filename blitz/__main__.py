"""``python -m blitz``: the tutorial's classifier and this machine's devices, as commands."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from blitz.base.errors import BlitzError

COMMANDS: dict[str, str] = {
    "train": "train the tutorial's classifier, test it and keep it, pictures included",
    "test": "test a classifier that was kept",
    "predict": "name what is in image files, with probabilities",
    "download": "fetch the official CIFAR-10 from its slow server, or from a mirror",
    "doctor": "try this machine's devices and say what to do about a bad one",
    "compare": "say what changed between two results of the specification",
    "gaps": "write the known gaps of a backend from a result, to be read by hand",
    "backends": "print a table of devices from their results",
    "plot-benchmark": "draw how fast devices train over the width of the net",
}
"""Each command and what it is for. ``a-b`` lives in ``blitz/commands/a_b.py``."""

FAILED, INTERRUPTED = 1, 130

EXIT_CODES = """exit codes:
  0    it is done, or the answer is yes
  1    it failed on the way, or the answer is no
  2    an argument or an input cannot be used
  130  interrupted from the keyboard
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, without importing torch."""
    root = argparse.ArgumentParser(
        prog="python -m blitz",
        description="The executable 60 Minute Blitz.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("spec", help="run the specification; takes pytest's own arguments")
    for name, purpose in COMMANDS.items():
        module = importlib.import_module(f"blitz.commands.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=purpose,
            description=module.__doc__,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors a user can mend are a line on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["spec"]:  # all that follows is pytest's, its --help too
        from blitz.commands import spec

        return spec.run(given[1:])
    asked = parser().parse_args(given)
    if isinstance(sys.stdout, TextIOWrapper):  # a file may have a name that it cannot print
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = asked.run(asked)
        return code
    except BlitzError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        print("error: output pipe closed", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is in the buffer
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
