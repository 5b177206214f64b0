# SPDX-License-Identifier: MIT
"""A call's two legs: what is fed and played becomes their audio, in one call into C a tick."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from recorder.detection.core import ASK, CONTINUES, DIGITS, QUIET, Edge, Line
from recorder.errors import FrameError
from recorder.options import whole_samples
from recorder.placement.beep import tone as beep_tone
from recorder.placement.frames import SAMPLE_BYTES, add
from recorder.placement.inputs import LegInput, Payload
from recorder.placement.playout import Playout, Queued
from recorder.placement.timeline import CallStats, Leg, Loss, Stretch, Timeline

if TYPE_CHECKING:
    from recorder.detection.core import VoiceTap

_LOG: Final = logging.getLogger("recorder")
# A leg that was quiet longer than the skew, and then continues, is watched for so long.
_HOLD_SECONDS: Final = 0.2
# A position further ahead than this is a mistake.
_MOST_GAP_SECONDS: Final = 3600
# Longer frames and silences are laid in pieces: what ends a recording in mid-frame is seen soon.
_PIECE_SECONDS: Final = 1
_ADVANCE_SECONDS: Final = 60  # at once

LEGS: Final[tuple[Leg, Leg]] = ("speak", "listen")
INDEX: Final[dict[Leg, int]] = {"speak": 0, "listen": 1}
_MODES: Final = {"ask": ASK, "continues": CONTINUES, "quiet": QUIET}


class Legs:
    """Both legs on the call's clock.

    - `clock`: the position of a live call's clock, None for a call whose time is what is fed.
    - `due`: called when edges were found, or the position for which `wait_until` asked was reached.
    - `on_loss`: called with what is dropped.

    Positions are in samples of the call's rate. A leg is *placed* up to where its next frame
    continues, and *processed* up to where detectors have its audio: at a rate of its own some is
    in the resampler.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        max_skew: float,
        speak_rate: int | None,
        listen_rate: int | None,
        clock: Callable[[], int] | None,
        due: Callable[[], None],
        on_loss: Callable[[Leg, Loss, int], None],
    ) -> None:
        self.sample_rate = sample_rate
        self._clock = clock
        self._due = due
        skew = whole_samples(max_skew, sample_rate)
        self._hold = whole_samples(_HOLD_SECONDS, sample_rate)
        self._advance_step = _ADVANCE_SECONDS * sample_rate
        self._timeline: Timeline[Payload] = Timeline(
            max_skew=skew,
            hold=self._hold,
            piece=_PIECE_SECONDS * sample_rate,
            most_gap=_MOST_GAP_SECONDS * sample_rate,
            is_live=clock is not None,
            on_loss=on_loss,
        )
        self._speak = LegInput("speak", speak_rate, sample_rate)
        self._listen = LegInput("listen", listen_rate, sample_rate)
        self._inputs: dict[Leg, LegInput] = {"speak": self._speak, "listen": self._listen}
        self.playout = Playout(self._listen.rate)
        self._rates = self._speak.rate, self._listen.rate
        self._is_plain = all(leg.is_plain for leg in self._inputs.values())
        self._line = Line(sample_rate, skew)
        self._longest = self._line.longest
        self._due_at: int | None = None  # as last asked of C
        self._kept_from: int | None = None
        self._is_open = True
        self._is_steady = False  # whether `_feed_steady` may
        # Bytes of the last frames of both legs that it took, and what they were worth.
        self._steady_lengths, self._steady_n = (-1, -1), 0
        self._is_armed = False  # whether `line.feed` may take the common frame
        # feed(speak, bytes, listen, bytes, at) takes the common frame, without any of the rest:
        # 0; 1, when something is due; negative, when it took nothing.
        self.feed_common = self._line.feed if self._is_plain else _take_nothing

    # -- where everything is ---------------------------------------------------------------

    @property
    def now(self) -> int:
        """The call's position."""
        if self._clock is not None:  # then C takes no frames by itself
            return max(self._timeline.now, self._clock())
        if self._is_plain:
            line = self._line
            return max(line.position(0), line.position(1), self._timeline.now)
        return self._timeline.now

    def placed(self, leg: Leg) -> int:
        """Where a leg continues."""
        return self._line.position(INDEX[leg]) + self._inputs[leg].pending

    def processed(self, leg: Leg) -> int:
        """How far detectors have a leg's audio."""
        return self._line.position(INDEX[leg])

    @property
    def processed_by_any(self) -> int:
        """How far detectors have the leg that is furthest on."""
        return max(self._line.position(0), self._line.position(1))

    def came(self, leg: Leg) -> bool:
        """Whether a leg ever had audio."""
        return self._timeline.came(leg)

    def rate(self, leg: Leg) -> int:
        """The rate of a leg's frames."""
        return self._inputs[leg].rate

    @property
    def is_live(self) -> bool:
        """Whether time passes by itself."""
        return self._clock is not None

    @property
    def stats(self) -> CallStats:
        """What became of all audio so far."""
        self._catch_up()
        self._arm()
        return self._timeline.stats

    # -- incoming audio --------------------------------------------------------------------

    def check(self, speak: bytes | None, listen: bytes | None, at: object) -> int | None:
        """Return the position as an int; FrameError for one out of range, or unequal lengths."""
        if speak is not None and listen is not None:
            rates = self._rates
            if len(speak) * rates[1] != len(listen) * rates[0]:
                of = f" at {rates[0]} and {rates[1]} Hz" if rates[0] != rates[1] else ""
                raise FrameError(
                    "speak and listen: expected frames of the same length, got"
                    f" {len(speak) // SAMPLE_BYTES} samples and {len(listen) // SAMPLE_BYTES}{of}"
                )
        return None if at is None else self._timeline.check_at(at)

    def feed(
        self, speak: bytes | None, listen: bytes | None, at: int | None
    ) -> tuple[bytes | None, bytes | None]:
        """Place frames of PCM, each at its leg's rate, which `check` has passed.

        Returns the listen frame with what plays in it, and what plays during the speak frame;
        None where nothing plays.
        """
        if self._is_steady and at is None and speak and listen and self._feed_steady(speak, listen):
            return None, None
        self._catch_up()
        self.tick()
        mixed = during = None
        if not self.playout.is_empty or not self._is_plain:
            mixed, during = self._with_playing(speak, listen, at)
            listen = listen if mixed is None else mixed
        timeline = self._timeline
        if speak is not None and listen is not None:
            n, speak_pcm = self._speak.measure(speak)
            m, listen_pcm = self._listen.measure(listen)
            if n == m:
                self._lay_both(timeline.place_both(n, (n, speak_pcm), (n, listen_pcm), at))
            else:  # both at rates of their own, and no whole number of the call's samples
                self._lay(timeline.place("speak", n, (n, speak_pcm), at, slack=1))
                self._lay(timeline.place("listen", m, (m, listen_pcm), at, slack=1))
        else:
            for leg, pcm in zip(LEGS, (speak, listen), strict=True):
                if pcm is not None:
                    one = self._inputs[leg]
                    n, audio = one.measure(pcm)
                    slack = 0 if one.is_plain else 1
                    self._lay(timeline.place(leg, n, (n, audio), at, slack))
        self._follow_playing(self._hold)
        self._arm()
        return mixed, during

    def _feed_steady(self, speak: bytes, listen: bytes) -> bool:
        """Take the next frame of both legs, one at least at a rate of its own.

        What `feed` does with it, where nothing plays and both legs continue in step. False, and
        nothing taken, where the frames are no whole number of the call's samples.
        """
        lengths = len(speak), len(listen)
        if lengths != self._steady_lengths:
            n = self._speak.worth(lengths[0])
            if n != self._listen.worth(lengths[1]) or not 0 < n <= self._longest:
                return False
            self._steady_lengths, self._steady_n = lengths, n
        n = self._steady_n
        self._timeline.step(n)
        speak_pcm = self._speak.continue_with(speak, n)
        listen_pcm = self._listen.continue_with(listen, n)
        a, b = len(speak_pcm) // SAMPLE_BYTES, len(listen_pcm) // SAMPLE_BYTES
        if a > self._longest or b > self._longest:  # a resampler gave much at once
            self._process("speak", speak_pcm, 0)
            self._process("listen", listen_pcm, 0)
        elif self._line.process(speak_pcm, a, listen_pcm, b):
            self._due()
        return True

    def _with_playing(
        self, speak: bytes | None, listen: bytes | None, at: int | None
    ) -> tuple[bytes | None, bytes | None]:
        """The listen frame with what plays, and what plays during the speak frame."""
        mixed = during = None
        both = speak is not None and listen is not None
        if speak is not None:
            start = self._start_of("speak", len(speak) // SAMPLE_BYTES, at, both=both)
            if not both and not self.playout.is_empty:
                during = self.playout.overlay_at(
                    self._speak.rate, start, len(speak) // SAMPLE_BYTES
                )
        if listen is not None:
            n = len(listen) // SAMPLE_BYTES
            start = self._start_of("listen", n, at, both=both)
            found = None if self.playout.is_empty else self.playout.overlay(start, n)
            if found is not None:
                mixed = add(listen, found[0])
        return mixed, during

    def _start_of(self, leg: Leg, n: int, at: int | None, *, both: bool) -> int:
        """Where a frame of n samples will lie, in samples of its leg, and count it."""
        one = self._inputs[leg]
        length = max(1, n * self.sample_rate // one.rate)
        position = self._timeline.expected(leg, length, at, both=both)
        return one.count(position, n, continues=position == self._timeline.position(leg))

    def advance(self, to: int) -> None:
        """Let time pass without audio: both legs are silent up to `to`."""
        self._catch_up()
        self.tick()
        timeline = self._timeline
        while (behind := min(timeline.speak, timeline.listen)) < to:
            self._lay(timeline.advance(min(behind + self._advance_step, to)))
        self._arm()

    def tick(self) -> None:
        """Let a live call's time pass up to its clock."""
        if self._clock is not None:
            self._lay(self._timeline.tick(self._clock()))
            self._follow_playing(self._hold)

    def release(self) -> None:
        """Before a command: place frames that may be late at the present."""
        self._catch_up()
        self.tick()
        self._lay(self._timeline.release())
        self._follow_playing(0)
        self._arm()

    def level(self) -> None:
        """Before a pause or its end: legs on which nothing comes are silent up to now."""
        self.release()
        now = self._timeline.now
        for leg in LEGS:
            lag = now - self._timeline.position(leg)
            if self._timeline.is_quiet(leg) and (self._timeline.came(leg) or lag > self._hold):
                self._lay(self._timeline.fill(leg, now))
        self._arm()

    def finish(self) -> None:
        """The call has ended: what resamplers hold is the last of the legs. Takes no more."""
        self.release()
        for leg in LEGS:
            self._process(leg, self._inputs[leg].end_stream(), 0)
        self.close()

    def close(self) -> None:
        """Take no common frames any more; a live call's time ends."""
        self._catch_up()
        self._is_open = False
        self._clock = None
        self._arm()

    # -- what plays ------------------------------------------------------------------------

    def play(self, pcm: bytes, rate: int) -> tuple[int, int]:
        """Queue audio that the party is still to hear; from where to where on the call it is."""
        self._catch_up()
        self.tick()
        start, end = self.playout.play(pcm, rate, self._present())
        self._arm()
        return start * self.sample_rate // self.playout.rate, self.call_position(end)

    def clear(self) -> tuple[int, int]:
        """Take back what the party has not heard.

        Returns how many samples, at the listen leg's rate, and from where on the call.
        """
        self._catch_up()
        self.tick()
        cleared, position = self.playout.clear(self._present())
        self._arm()
        return cleared, self.call_position(position)

    def take_playout(self, n: int) -> bytes:
        """Give the next n samples, at the listen leg's rate, that the party is to hear."""
        if self.playout.is_empty:  # as nearly always: the legs have no part in it
            return self.playout.take(n)
        self._catch_up()
        self.tick()
        pcm = self.playout.take(n)
        self._forget_playing()
        self._arm()
        return pcm

    def beep(self) -> Queued:
        """Queue a beep behind what plays."""
        self._catch_up()
        self.tick()
        queued = self.playout.beep(beep_tone(self.playout.rate), self._present())
        self._arm()
        return queued

    def cancel_beep(self, queued: Queued) -> None:
        """Take a beep back whose recording has ended."""
        self._catch_up()
        self.playout.cancel(queued)
        self._arm()

    def call_position(self, position: int) -> int:
        """A position of the playout as one of the call."""
        rate = self._listen.rate
        return -(-position * self.sample_rate // rate)

    def _present(self) -> int:
        """What the party hears now, as a position of the playout."""
        return self._listen.position_of(self._timeline.present)

    def _follow_playing(self, lag: int) -> None:
        """What plays becomes the listen leg's audio as time passes, unless that leg is fed.

        It lags behind by `lag`, so that a frame of that leg can come after one of the other.
        """
        if self.playout.is_empty:
            return
        if self._timeline.is_quiet("listen"):
            now = self._timeline.present - lag
            for start, end in self.playout.stretches():
                if (
                    self.call_position(start) < now
                    and self.call_position(end) > self._timeline.listen
                ):
                    self._lay(self._timeline.fill("listen", min(now, self.call_position(end))))
        self._forget_playing()

    def _forget_playing(self) -> None:
        self.playout.forget(self._listen.position_of(self._timeline.listen))

    # -- laying ----------------------------------------------------------------------------

    def _lay_both(self, stretches: Sequence[Stretch[Payload]]) -> None:
        """The same as `_lay`, but the next frame of both legs is one call into C."""
        if len(stretches) == 2 and self._is_plain:
            speak, listen = stretches
            n = speak.n
            if speak.payload and listen.payload and n == listen.n <= self._longest:
                speak_pcm = self._speak.audio(speak)
                if self._line.process(speak_pcm, n, self._listen.audio(listen), n):
                    self._due()
                return
        self._lay(stretches)

    def _lay(self, stretches: Sequence[Stretch[Payload]]) -> None:
        for stretch in stretches:
            leg, n = stretch.leg, stretch.n
            if stretch.payload is not None:
                pcm = self._inputs[leg].audio(stretch)
                self._process(leg, pcm, 0)
                continue
            self._process(leg, self._inputs[leg].end_stream(), 0)
            self._inputs[leg].lose_count()
            if leg == "listen" and not self.playout.is_empty and self._lay_playing(stretch):
                continue
            if _LOG.isEnabledFor(logging.DEBUG):
                _LOG.debug("%s: %d samples of silence at %d", leg, n, stretch.position)
            self._process(leg, b"", n)

    def _lay_playing(self, stretch: Stretch[Payload]) -> bool:
        """Lay what plays where nothing was fed; False when nothing does."""
        one = self._listen
        start, end = (
            one.position_of(stretch.position),
            one.position_of(stretch.position + stretch.n),
        )
        found = self.playout.overlay(start, end - start)
        if found is None:
            return False
        pcm, sounding, last = found
        self._timeline.played(
            min(stretch.n, self.call_position(sounding)),
            min(stretch.position + stretch.n, self.call_position(last)),
        )
        self._process("listen", one.resampled(pcm, stretch.n), 0)
        return True

    def _process(self, leg: Leg, pcm: bytes, silence: int) -> None:
        """Hand a leg's next samples to C: PCM, then silence."""
        process, longest = self._line.process, self._longest
        samples = len(pcm) // SAMPLE_BYTES
        for start in range(0, samples + silence, longest):
            n = min(longest, samples + silence - start)
            part: bytes | None = None
            if samples:
                part = pcm
                if n != samples:
                    part = pcm[start * SAMPLE_BYTES : (start + n) * SAMPLE_BYTES]
            if process(part, n, None, 0) if leg == "speak" else process(None, 0, part, n):
                self._due()

    def _catch_up(self) -> None:
        """Take over from C what `feed_common` took; until `_arm` it takes no more."""
        line, timeline = self._line, self._timeline
        if self._is_armed:
            self._is_armed = False
            for index, leg in enumerate(LEGS):
                line.set_mode(index, _MODES["ask"])
                timeline.took(leg, line.position(index), line.alone(index))
        else:  # where C is, also after an interrupt in the middle
            for leg in LEGS:
                timeline.moved(leg, self.placed(leg))
        if self._is_steady:
            self._is_steady = False
            for one in self._inputs.values():
                one.lose_count()

    def _arm(self) -> None:
        """Let C take the common frame, where there is no more to it."""
        line, timeline = self._line, self._timeline
        armed = self._is_open and self._is_plain and self.playout.is_empty and self._clock is None
        if armed:
            for index, leg in enumerate(LEGS):
                line.set_mode(index, _MODES[timeline.mode(leg)])
                line.set_alone(index, timeline.alone(leg))
        self._is_armed = armed
        # The same for legs at rates of their own, which C does not know.
        self._is_steady = (
            not self._is_plain
            and self._is_open
            and self._clock is None
            and self.playout.is_empty
            and timeline.speak == timeline.listen
            and not any(one.carries for one in self._inputs.values())
            and all(timeline.mode(leg) == "continues" for leg in LEGS)
        )

    # -- for those who follow a leg --------------------------------------------------------

    def wait_until(self, position: int) -> None:
        """Ask for `due` once a leg is there."""
        if position != self._due_at:
            self._due_at = position
            self._line.set_due(position)

    def keep_from(self, position: int | None) -> None:
        """Keep the audio from a position on for `read`; None: keep nothing."""
        if position != self._kept_from:
            self._kept_from = position
            self._line.keep_from(position)

    def read(self, leg: Leg, start: int, end: int) -> bytes:
        """Return a leg's audio; what it has not got is silence."""
        processed = self._line.position(INDEX[leg])
        if end <= processed:
            return self._line.read(INDEX[leg], start, end)
        pcm = self._inputs[leg].peek()[max(0, start - processed) * SAMPLE_BYTES :]
        if start < processed:
            pcm = self._line.read(INDEX[leg], start, processed) + pcm
        length = (end - start) * SAMPLE_BYTES
        return pcm[:length].ljust(length, b"\0")

    def edges(self) -> "list[tuple[int, Edge]]":
        """Return what was found since: whose edge it is, and the edge."""
        return self._line.take()

    def attach(
        self,
        leg: Leg,
        start: int,
        input_sensitivity: float,
        *,
        noise_tracking: bool = True,
        voice_only: bool = False,
        quiet_blocks: int = 4,
    ) -> "VoiceTap":
        """Run a voice detector on a leg from a position on."""
        return self._line.attach(
            INDEX[leg],
            start,
            input_sensitivity=input_sensitivity,
            noise_tracking=noise_tracking,
            voice_only=voice_only,
            quiet_blocks=quiet_blocks,
        )

    def detach(self, tap: "VoiceTap") -> None:
        """Run it no more."""
        self._line.detach(tap)

    def decode(self, leg: Leg) -> None:
        """Run a digit decoder on a leg from now on, if there is none yet."""
        self._line.decode(INDEX[leg])

    def sounding(self, leg: Leg) -> "list[Edge]":
        """Return the starts of the confirmed tones that are sounding on a leg."""
        index = INDEX[leg]
        return [
            Edge("digit_start", position, digit)
            for digit in DIGITS
            if (position := self._line.sounding(index, digit)) is not None
        ]

    def digits_settled_until(self, leg: Leg = "speak") -> int:
        """Before which position all digits of a leg have been reported."""
        return self._line.digits_settled_until(INDEX[leg])

    def finish_digits(self, leg: Leg) -> "list[Edge]":
        """Return what edges of digits there would be if the leg ended here."""
        return self._line.finish_digits(INDEX[leg])


def _take_nothing(*_: object) -> int:
    return -1
