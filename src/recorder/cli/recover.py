# SPDX-License-Identifier: MIT
"""`recorder recover`: finish what a crash left."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from recorder.cli.console import Console, console_options, print_result
from recorder.publishing.agent import finish
from recorder.writing.recovery import recover


@click.command("recover")
@click.argument(
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    shell_complete=lambda _, __, begun: [CompletionItem(begun, type="dir")],
)
@console_options
def recover_command(directory: Path, *, quiet: bool, verbose: int) -> None:
    """Finish the recordings that a crash left in a folder.

    They are completed and get their names; nothing is overwritten, and what is still being
    recorded is left alone. Then what was to be stored or POSTed is sent. Prints one JSON object for
    each file found, and for each recording that was to be sent. Exits with 1 when a file cannot be
    read, or something is still to be sent.
    """
    Console(quiet=quiet, verbose=verbose)
    found = recover(directory)
    for file in found:
        fields = asdict(file) | {"staged": str(file.staged), "path": file.path and str(file.path)}
        print_result(json.dumps(fields))
    unsent = finish(directory)
    for one in unsent:
        print_result(json.dumps(asdict(one) | {"path": one.path and str(one.path)}))
    is_left = any(one.unsent_events or one.upload in {"pending", "failed"} for one in unsent)
    if is_left or any(file.outcome == "unreadable" for file in found):
        sys.exit(1)
