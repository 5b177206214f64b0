# SPDX-License-Identifier: MIT
"""Folders that go, that nobody may write to, and who may read what is in them."""

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorder import (
    Call,
    recover,
)
from tests.conftest import Events, settle
from tests.faults.running import event_of, linux, output_of, root
from tests.marks import mostly_slow
from tests.recordings import (
    AUDIO,
    NO_LIMITS,
    check_finished,
    feed_frames,
    path_of,
    result_of,
)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved there")
@pytest.mark.parametrize("moment", ["while", "publish"])
@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_folder_that_goes(events: Events, tmp_path: Path, how: str, moment: str) -> None:
    call = events.call
    action = call.record(NO_LIMITS)
    other = call.record(NO_LIMITS, path=tmp_path / "other.wav")
    feed_frames(call, AUDIO[:8000])
    settle()
    rest = AUDIO[8000:] if moment == "while" else AUDIO[:0]
    moved = tmp_path / "moved"
    if how == "removed":
        shutil.rmtree(call.directory)
    else:
        call.directory.rename(moved)
    feed_frames(call, rest) if len(rest) else None
    call.hangup()
    event = result_of(action)
    assert (event.state, event.size) == ("error", 0)
    assert "No such file or directory" in event.record["error"]
    assert path_of(event).parent == call.directory
    check_finished(other.join(10), np.concatenate([AUDIO[:8000], rest]))
    assert events.states.count("error") == 1
    if how == "renamed":  # all of it is there
        (found,) = recover(moved)
        assert found.duration == event.duration == 1 + len(rest) / 8000


def test_a_folder_that_went_before_is_made_again(call: Call) -> None:
    for _ in range(2):
        action = call.record(NO_LIMITS)
        feed_frames(call, AUDIO)
        action.stop()
        check_finished(action.join(10), AUDIO)
        shutil.rmtree(call.directory)


@linux
@root
@pytest.mark.parametrize("moment", mostly_slow(["before", "while", "publish"], "publish"))
def test_a_folder_without_permission(moment: str) -> None:
    # Where nobody may go: pytest's own folder is root's, and so may be that for temporary files.
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    open_to_all = [
        place
        for place in places
        if all(above.stat().st_mode & stat.S_IXOTH for above in [place, *place.parents])
    ]
    if not open_to_all:
        pytest.skip("nobody may go to any folder for temporary files")
    with tempfile.TemporaryDirectory(dir=open_to_all[0]) as name:
        folder = Path(name)
        os.chown(folder, 65534, 65534)
        *refused, params, recovered = output_of("no_permission", folder, moment)
        if moment == "before":
            assert ["Permission denied" in error for error in refused] == [True]
            check_finished(event_of(params), AUDIO)
            assert recovered == []
            return
        assert refused == []
        assert params["state"] == "error"
        assert "Permission denied" in params["record"]["error"]
        assert (params["duration"], params["size"]) == (3.0, 80 + 2 * len(AUDIO))
        ((path, duration),) = recovered
        assert duration == 3.0
        assert np.array_equal(soundfile.read(path, dtype="int16")[0], AUDIO)
