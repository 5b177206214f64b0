# SPDX-License-Identifier: MIT
"""Gets SignalWire's SDK for JavaScript into build/node, by npm.

Run: python -m tests.relay_js_installing
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "build" / "node"
NAME: Final = "@signalwire/realtime-api"
VERSION: Final = "4.2.1"
_SECONDS: Final = 120.0


class NotToBeHadError(Exception):
    """Why the SDK is not there."""


def modules() -> Path:
    """Where Node finds the SDK; NotToBeHadError where it is not installed, or Node is not."""
    if shutil.which("node") is None:
        raise NotToBeHadError("there is no node")
    found = FOLDER / "node_modules"
    package = found / NAME / "package.json"
    if not package.exists() or json.loads(package.read_text())["version"] != VERSION:
        raise NotToBeHadError(f"{NAME} {VERSION} is not in build/node")
    return found


def install() -> Path:
    """Get the SDK unless it is there; NotToBeHadError where that cannot be done."""
    try:
        return modules()
    except NotToBeHadError:
        pass
    npm = shutil.which("npm")
    if npm is None:
        raise NotToBeHadError("there is no npm")
    part = FOLDER.with_name("node.part")
    for folder in (part, FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir(parents=True)
    command = [
        *(npm, "install", "--prefix", str(part), "--cache", str(part / "cache")),
        *("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"),
        f"{NAME}@{VERSION}",
    ]
    environment = {**os.environ, "NODE_DISABLE_COMPILE_CACHE": "1"}
    try:
        subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NotToBeHadError(f"npm took longer than {_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.splitlines()
        raise NotToBeHadError(f"npm failed: {' '.join(said[:2])}") from error
    shutil.rmtree(part / "cache", ignore_errors=True)
    part.rename(FOLDER)
    return modules()


def main() -> None:
    """Get it, and print where it is; end with 1 where it cannot be had."""
    try:
        print(f"{NAME} {VERSION} in {install()}")
    except (NotToBeHadError, OSError) as error:
        sys.exit(f"no {NAME}: {error}")


if __name__ == "__main__":
    main()
