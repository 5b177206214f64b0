# SPDX-License-Identifier: MIT
"""The `recorder` command; a file for each of its commands."""

from typing import Any

import click

from recorder.cli.certificate import certificate_command
from recorder.cli.console import fail, give_up_output
from recorder.cli.detect import detect_command
from recorder.cli.record import record_command
from recorder.cli.recover import recover_command
from recorder.cli.serve import serve_command
from recorder.errors import OptionError, RecorderError


class _Group(click.Group):
    """Names the file and the reason when something fails, without a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except OSError as error:  # of --help and --version, which click prints
            give_up_output(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OptionError as error:
            fail(str(error), click.UsageError.exit_code)
        except RecorderError as error:
            fail(str(error), 1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recorder-telephony", prog_name="recorder")
def main() -> None:
    """Record telephone audio as a cloud's call.record would, and report what is in it."""


for command in (
    record_command,
    detect_command,
    recover_command,
    serve_command,
    certificate_command,
):
    main.add_command(command)
