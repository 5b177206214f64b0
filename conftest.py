# SPDX-License-Identifier: MIT
"""What passes leaves nothing behind, not even pytest's own folder."""

import secrets
import shutil
import tempfile
from pathlib import Path

import pytest

_FOLDER = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)  # pytest reads the option in its own
def pytest_configure(config: pytest.Config) -> None:
    if config.option.basetemp is None:
        # Named only: pytest makes it for the first test that wants it.
        folder = Path(tempfile.gettempdir()) / f"recorder-tests-{secrets.token_hex(8)}"
        config.option.basetemp = str(folder)
        config.stash[_FOLDER] = folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    folder = session.config.stash.get(_FOLDER, None)
    if folder is not None and not session.testsfailed:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    folder = config.stash.get(_FOLDER, None)
    if folder is not None and folder.exists():
        terminalreporter.write_line(f"the files of these tests are in {folder}")
