# SPDX-License-Identifier: MIT
"""Where recordings and their events go, on the command line."""

from typing import Any

import click

from recorder.publishing.destinations import KEY_VARIABLE, Destinations


def publishing_options(command: Any) -> Any:
    """Add the options that `destinations` takes."""
    for option in (
        click.option(
            "--allow-private", is_flag=True, help="--status-url may be a private address."
        ),
        click.option("--keep-local", is_flag=True, help="Keep a file that --storage has."),
        click.option(
            "--status-url",
            metavar="URL",
            help=f"POST the events of recordings there, signed by {KEY_VARIABLE}.",
        ),
        click.option(
            "--storage", metavar="URL", help="Store the files there, such as s3://bucket/prefix."
        ),
    ):
        command = option(command)
    return command


def destinations(options: dict[str, Any]) -> Destinations:
    """Take those options out of a command's."""
    names = ("storage", "status_url", "keep_local", "allow_private")
    return Destinations(**{name: options.pop(name) for name in names})
