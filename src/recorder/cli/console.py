# SPDX-License-Identifier: MIT
"""What the commands print: results on standard output, all else on standard error."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


def fail(message: str, status: int) -> NoReturn:
    """End the command."""
    report(message)
    sys.exit(status)


def report(message: str) -> None:
    """Print what went wrong."""
    click.echo(f"recorder: {message}", err=True)


def print_result(text: str) -> None:
    """Print on standard output; where that fails, end the command with 1."""
    try:
        click.echo(text)  # which flushes
    except OSError as error:
        give_up_output(error)


def give_up_output(error: OSError) -> NoReturn:
    """End the command, whose output cannot be written: its disk is full, or its reader is gone."""
    # What is still in the buffer would fail again when the interpreter exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # `| head`: it has what it wanted
        sys.exit(1)
    fail(f"cannot write to standard output: {error.strerror or error}", 1)


class Console:
    """Standard error of a command: remarks, warnings and progress, each as far as wanted."""

    def __init__(self, *, quiet: bool, verbose: int) -> None:
        if quiet and verbose:
            raise click.UsageError("--quiet and --verbose exclude each other")
        self._quiet = quiet
        self._shows_progress = not quiet and not verbose and sys.stderr.isatty()
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter())
        logger = logging.getLogger("recorder")
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR if quiet else _LEVELS[min(verbose, len(_LEVELS) - 1)])

    def say(self, line: str) -> None:
        """Print a line for people."""
        if not self._quiet:
            click.echo(line, err=True)

    @contextmanager
    def progress(self, label: str, length: int | None) -> Iterator[Callable[[int], object]]:
        """Show, on a terminal, how far a file of that length is read: call it with what was."""
        if not self._shows_progress or not length:
            yield _show_nothing
            return
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            yield bar.update


def _show_nothing(_: int) -> None:
    pass


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        kind = f"{record.levelname.lower()}: " if record.levelno == logging.WARNING else ""
        return f"recorder: {kind}{super().format(record)}"


def console_options(command: Any) -> Any:
    """Add -q and -v: they arrive as `quiet` and `verbose`."""
    verbose = click.option(
        "-v", "--verbose", count=True, help="Report what is done; twice: in detail."
    )
    quiet = click.option("-q", "--quiet", is_flag=True, help="Report nothing but errors.")
    return quiet(verbose(command))
