"""The command `teleop`, with subcommands."""

import argparse
import sys

from .push import command as push


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="teleop", description="Commands of LeRobot Backend for a robot's computer.")
    push.add_to(parser.add_subparsers(required=True, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
