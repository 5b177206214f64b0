# SPDX-License-Identifier: MIT
"""The processor of examples/pipecat_processor.py, in a real Pipecat pipeline on a clock of its own.

`python -m benchmarks.pipecat_offset` measures the same in real time, beside Pipecat's own.
"""

import asyncio
import importlib.util
import selectors
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import Call
from tests.recordings import STEREO, audio_of, result_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "pipecat_processor.py"
CUSHION = 0.01


class Jumping(selectors.DefaultSelector):
    """Does not wait: where nothing else is to be done, the time of the next timer has come."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(None if timeout is None else 0)
        if not events and timeout:
            self.now += timeout
        return events


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once."""

    def __init__(self) -> None:
        self._jumping = Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture(scope="module")
def pipecat() -> Any:
    """tests.pipecat_calls, and the example as `.example`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        pytest.importorskip("pipecat", reason="needs pipecat: pip install 'pipecat-ai>=1.14,<2'")
        from tests import pipecat_calls

        spec = importlib.util.spec_from_file_location("pipecat_processor", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
    vars(pipecat_calls)["example"] = example
    return pipecat_calls


def held(pipecat: Any, make_call: Callable[..., Call], utterances: Any, ahead: float) -> Any:
    """The conversation, and where a recording has it."""

    async def main() -> Any:
        call = make_call(live=asyncio.get_running_loop().time)
        action = await call.record(STEREO)
        conversation = await pipecat.hold(
            utterances, ahead=ahead, processors=lambda: [pipecat.example.RecordedCall(call)]
        )
        call.hangup()
        return conversation, action

    with asyncio.Runner(loop_factory=Loop) as runner:
        conversation, action = runner.run(main())
    speak, listen = audio_of(result_of(action)).T
    return conversation, pipecat.placed(conversation, speak, listen)


@pytest.mark.parametrize("ahead", ["PACED", "AHEAD"])
def test_the_bot_lies_where_the_party_heard_it(
    pipecat: Any, make_call: Callable[..., Call], ahead: str
) -> None:
    utterances = [pipecat.Utterance(at=0.5 + 2.77 * n, seconds=2.0) for n in range(6)]
    _, found = held(pipecat, make_call, utterances, getattr(pipecat, ahead))
    assert np.allclose([found.offsets, found.across], CUSHION, atol=2e-4)
    assert (found.gaps, found.unheard) == (0, 0)


def test_what_an_interruption_cuts_is_not_in_the_file(
    pipecat: Any, make_call: Callable[..., Call]
) -> None:
    utterances = [
        pipecat.Utterance(at=0.5, seconds=4.0, interrupted_at=1.53),
        pipecat.Utterance(at=3.0, seconds=1.0),
    ]
    conversation, found = held(pipecat, make_call, utterances, pipecat.AHEAD)
    heard = sum(len(chunk.audio) for chunk in conversation.heard) / 2 / pipecat.RATE
    assert abs(heard - 2.03) < 1e-3
    assert np.allclose(found.offsets, CUSHION, atol=2e-4)
    # Less the cushion, and the chunk that was just being written.
    assert -CUSHION - 1e-3 < found.unheard < pipecat.CHUNK_SECONDS
