# SPDX-License-Identifier: MIT
"""Gets an Asterisk into build/asterisk, beside the system: nothing is installed.

Few distributions have one that is new enough. Debian testing's comes with all its libraries, the
C library included, and runs by their own loader on any Linux that has apt.

Run: python -m tests.asterisk.installing
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / "build" / "asterisk"
KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCE: Final = f"deb [signed-by={KEYS}] http://deb.debian.org/debian forky main\n"
_SECONDS: Final = 600.0

# Read by apt after the machine's own settings, such as its proxy, of which all else remains. No
# package counts as installed, so that the C library is fetched too.
SETTINGS: Final = """\
#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::Cache "{apt}/cache";
Dir::Etc::sourcelist "{apt}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{apt}/state";
Dir::State::status "{apt}/status";
"""


class NotToBeHadError(Exception):
    """Why there is no Asterisk."""


class Installed:
    """An Asterisk in a folder, as its packages have it."""

    def __init__(self, root: Path) -> None:
        (loader,) = root.glob("usr/lib/*-linux-gnu/ld-linux-*")
        self.libraries = loader.parent
        self.modules = loader.parent / "asterisk" / "modules"
        self.data = root / "usr/share/asterisk"
        self.command = [
            *(str(loader), "--library-path", str(loader.parent)),
            str(root / "usr/sbin/asterisk"),
        ]

    @property
    def version(self) -> str:
        done = subprocess.run(
            [*self.command, "-V"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        found = re.match(r"Asterisk (\d[\d.]*)", done.stdout)
        if found is None:
            raise NotToBeHadError(f"it does not run here: {done.stderr.strip() or done}")
        return found[1]


def installed() -> Installed | None:
    """The Asterisk that is there, if one is."""
    root = FOLDER / "root"
    return Installed(root) if root.exists() else None


def install() -> Installed:
    """Get an Asterisk unless it is there; NotToBeHadError where that cannot be done."""
    found = installed()
    if found is not None:
        return found
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NotToBeHadError(f"there is no {tool}")
    if not KEYS.exists():
        raise NotToBeHadError(f"Debian's keys are not in {KEYS}: install debian-archive-keyring")
    part, apt = FOLDER / "part", FOLDER / "apt"
    for folder in (part, apt):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir(parents=True)
    for package in _download(apt):
        _run(["dpkg", "-x", str(package), str(part)])
    Installed(part).version  # noqa: B018  # raises if it cannot run
    shutil.rmtree(apt)
    part.rename(FOLDER / "root")
    return Installed(FOLDER / "root")


def _download(apt: Path) -> list[Path]:
    """The packages of Asterisk, and all that they need."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(SOURCE)
    (apt / "settings").write_text(SETTINGS.format(apt=apt))
    # The machine's own settings come between this file and the one that it names.
    (apt / "first").write_text(f'Dir::Etc::main "{apt}/settings";\n')
    environment = {**os.environ, "APT_CONFIG": str(apt / "first"), "LC_ALL": "C"}
    # A list that cannot be fetched is but a warning otherwise.
    _run(["apt-get", "update", "-q", "--error-on=any"], environment)
    _run(["apt-get", "install", "-qy", "--download-only", "asterisk"], environment)
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Run a command; NotToBeHadError with the first line that says why it failed."""
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
        raise NotToBeHadError(f"{command[0]} took longer than {_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr + error.stdout).splitlines()
        why = next((line for line in said if line.startswith("E:")), "".join(said[-1:]))
        raise NotToBeHadError(f"{command[0]} failed: {why}") from error


def main() -> None:
    """Get it, and print which it is; end with 1 where it cannot be had."""
    try:
        print(f"Asterisk {install().version} in {FOLDER}")
    except (NotToBeHadError, OSError) as error:
        sys.exit(f"no Asterisk: {error}")


if __name__ == "__main__":
    main()
