# SPDX-License-Identifier: MIT
"""All that follows the legs of one call: its recordings, and listeners for voice and digits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from recorder.detection.digits import DigitMerger
from recorder.detection.watch import Report, VoiceWatch
from recorder.errors import ControlIdError
from recorder.options import whole_samples
from recorder.placement.legs import LEGS, Legs

if TYPE_CHECKING:
    from recorder.detection.core import Edge
    from recorder.placement.playout import Queued
    from recorder.placement.timeline import Leg
    from recorder.recording.session import Session
    from recorder.recording.state import PauseBehavior

CommandName = Literal["stop", "pause", "resume"]

# A tone and the out-of-band digit of the same press are at most this far apart.
_TWIN_SECONDS: Final = 0.5
_NEVER: Final = 1 << 60


class Recordings:
    """The running recordings of a call. The call's lock is held for all methods.

    `report_digit` is called with each press: the digit, its position, and whether it was in band.
    """

    def __init__(self, legs: Legs, report_digit: Callable[[str, int, bool], None]) -> None:
        self._legs = legs
        self._report_digit = report_digit
        self._running: list[Session] = []
        # Who takes the edges of a detector, by its source, and which leg it is on.
        self._takers: dict[int, tuple[Callable[[Leg, list[Edge]], None], Leg]] = {}
        self._beeps: dict[Session, Queued] = {}
        self._digits = DigitMerger(whole_samples(_TWIN_SECONDS, legs.sample_rate))

    def __len__(self) -> int:
        return len(self._running)

    def check_control_id(self, control_id: str) -> None:
        """Raise ControlIdError if a running recording has this name."""
        if self.find(control_id) is not None:
            raise ControlIdError(f"control_id {control_id!r} belongs to a running recording")

    def find(self, control_id: str) -> "Session | None":
        """Return the running recording of a name."""
        for session in self._running:
            if session.identity.control_id == control_id and not session.has_ended:
                return session
        return None

    # -- what begins -----------------------------------------------------------------------

    def attach(self, session: "Session") -> None:
        """Start a recording at the present, or behind its beep."""
        self.settle()
        start = self._legs.now
        if session.options.beep:
            self._beeps[session] = queued = self._legs.beep()
            start = self._legs.call_position(queued.end)
        session.attach(start)
        for source, leg in session.sources:
            self._takers[source] = (session.voice, leg)
        self._running.append(session)
        self.judge()

    def watch(self, report: Report, input_sensitivity: float) -> None:
        """Report when voice begins and ends on the legs from here on."""
        self._legs.release()
        for leg in LEGS:
            tap = self._legs.attach(leg, self._legs.placed(leg), input_sensitivity)
            self._takers[tap.source] = (VoiceWatch(report).take, leg)

    def play(self, pcm: bytes, rate: int) -> int:
        """Queue audio that the party is still to hear; return where on the call it ends.

        Paused recordings never keep it.
        """
        start, end = self._legs.play(pcm, rate)
        for session in self._running:
            session.hide_playing(start, end)
        return end

    def clear(self) -> int:
        """Take back what was played; beeps move up, and with them their recordings' starts."""
        cleared, position = self._legs.clear()
        for session in self._running:
            session.recording.clear_playing(position)
        for session, queued in self._beeps.items():
            if session.state == "created":
                session.begin_at(self._legs.call_position(queued.end))
        self._wait_for_due()
        return cleared

    # -- commands --------------------------------------------------------------------------

    def command(self, session: "Session", name: CommandName, behavior: "PauseBehavior") -> bool:
        """Carry out a command at the present; False when the recording has ended."""
        if name != "stop":
            self._legs.level()
        self.settle()
        if session not in self._running or session.has_ended:
            return False
        if name == "stop":
            session.stop(self._legs.now, "stopped")
        elif name == "pause" and not session.recording.paused:
            session.pause(behavior)
        elif name == "resume" and session.recording.paused:
            session.resume()
        self._end()
        return True

    def press(self, digit: str) -> None:
        """Take a digit that was reported out of band, at the present."""
        self.settle()
        now = self._legs.now
        # Beside the tones of its leg.
        if self._digits.out_of_band(digit, self._legs.placed("speak"), now):
            for session in self._running:
                session.press_now(digit, now)
            self._end()
            self._report_digit(digit, now, False)

    def hang_up(self) -> None:
        """End all of them: the call has ended."""
        self._legs.finish()
        self.judge()
        for session in self._running:
            session.stop(self._legs.now, "hangup")
        self._end()

    def fail(self, session: "Session") -> None:
        """End one whose file cannot be written any more."""
        if session in self._running:
            session.fail()
            self._end()

    # -- judging ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Before a command: place what is held, and decide all that can be."""
        self._legs.release()
        for session in self._running:
            session.due = 0
        self.judge()

    def judge(self) -> None:
        """Take the edges that were found; judge and hand on where it is due."""
        found = self._legs.edges()
        if found:
            self._route(found)
        now = self._legs.processed_by_any
        ended = False
        for session in self._running:
            if now >= session.due:
                session.judge(now)
                if session.has_ended:
                    session.due = 0
                    ended = True
        if ended:
            self._end()
        else:
            self._wait_for_due()

    def _route(self, found: "list[tuple[int, Edge]]") -> None:
        """Pass each edge to those that follow its leg."""
        if len(found) == 1:
            of_source = {found[0][0]: [found[0][1]]}
        else:
            of_source = {}
            for source, edge in found:
                of_source.setdefault(source, []).append(edge)
        for source, edges in of_source.items():
            if source < len(LEGS):
                self._take_digits(LEGS[source], edges)
            elif source in self._takers:
                take, leg = self._takers[source]
                take(leg, edges)

    def _take_digits(self, leg: "Leg", edges: "list[Edge]") -> None:
        for session in self._running:
            session.tones(leg, edges)
        if leg != "speak":
            return
        for edge in edges:
            if edge.kind == "digit_end":
                self._digits.tone_ended(edge.digit, edge.position)
            elif self._digits.tone(edge.digit, edge.position):
                for session in self._running:
                    session.press(edge.digit, edge.position)
                self._report_digit(edge.digit, edge.position, True)

    def _end(self) -> None:
        for session in [session for session in self._running if session.can_complete]:
            session.complete()
            # Last: what was interrupted (Ctrl-C) is done again, which does no harm.
            self.remove(session)
        self._wait_for_due()

    def remove(self, session: "Session") -> None:
        """Forget one, which has ended or could not begin."""
        if session not in self._running:
            return
        for source, _ in session.sources:
            self._takers.pop(source, None)
        session.detach()
        queued = self._beeps.pop(session, None)
        if queued is not None and session.start_time is None:
            self._legs.cancel_beep(queued)
        self._running.remove(session)

    def _wait_for_due(self) -> None:
        due = _NEVER
        written: int | None = None
        for session in self._running:
            due = min(due, session.due)
            written = session.written if written is None else min(written, session.written)
        self._legs.wait_until(due)
        self._legs.keep_from(written)

    def leave_to_parent(self) -> None:
        """After a fork: forget all of them, and touch nothing of theirs."""
        self._running.clear()
        self._takers.clear()
        self._beeps.clear()
