"""`python -m tensortab COMMAND`: what a model file is, a chat in the terminal, models in shards."""

import argparse
import sys

from . import commands
from .errors import Error


def main(arguments: list[str] | None = None) -> int:
    """Runs a command. 0, or 1 after an error that it has told."""
    parser = argparse.ArgumentParser(prog="python -m tensortab", description=__doc__)
    names = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in commands.NAMES:
        command = commands.load(name)
        about = (command.__doc__ or "").strip()
        options = names.add_parser(name, help=about.splitlines()[0], description=about)
        command.options(options)
        options.set_defaults(run=command.run)
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except Error as error:
        print(f"tensortab: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
