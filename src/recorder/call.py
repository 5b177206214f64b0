# SPDX-License-Identifier: MIT
"""A telephone call whose media this process handles."""

import atexit
import logging
import numbers
import os
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from recorder import core
from recorder.action import Acknowledgement, RecordAction
from recorder.background import DELIVERY, WRITING
from recorder.beep import Beep
from recorder.capture import Capture
from recorder.delivery import Handler, Subscription
from recorder.errors import (
    CallEndedError,
    ControlIdError,
    FileError,
    FrameError,
    OptionError,
    shown,
)
from recorder.events import RECORD_EVENT, RecordEvent
from recorder.frames import Encoding, Frame, from_pcm, to_pcm
from recorder.legs import LegAudio
from recorder.options import RecordOptions, check_number, normalise_digits, whole_samples
from recorder.output import Outcome, Output
from recorder.presses import Presses
from recorder.recording import PauseBehavior, State
from recorder.timeline import CallStats, Span, Timeline
from recorder.writing import StagedFile, generated_name

if TYPE_CHECKING:
    from recorder.action import CommandName

_LOG: Final = logging.getLogger("recorder")
# A leg that was quiet longer than the skew, and then goes on, is watched for so long.
_HOLD_SECONDS: Final = 0.2
# A position further ahead than this is a mistake.
_MOST_GAP_SECONDS: Final = 3600
# Longer frames and silences are heard in pieces: what ends a recording in mid-frame is seen soon.
_PIECE_SECONDS: Final = 1
_ADVANCE_SECONDS: Final = 60  # at once
_MOST_ADVANCE_SECONDS: Final = 24 * 3600
# A tone and the out-of-band digit of the same press are at most this far apart.
_TWIN_SECONDS: Final = 0.5
# At exit, a disk that takes nothing, or a handler that does not return, is waited for so long.
_EXIT_PATIENCE_SECONDS: Final = 10.0

# A payload of the timeline: call samples, and the PCM, at the leg's rate, that stands for them.
_Spans = Sequence[Span[tuple[int, bytes]]]

# Calls with a recording that runs: a user may let go of them, and exit and fork concern them.
_live: Final[set["Call"]] = set()


class _Running:
    """A recording whose terminal event is to come, with all that its events tell."""

    __slots__ = ("action", "capture", "end_time", "on_completed", "start_time", "url")

    def __init__(
        self, action: RecordAction, capture: Capture, url: str, on_completed: Subscription | None
    ) -> None:
        self.action = action
        self.capture = capture
        self.url = url
        self.on_completed = on_completed
        self.start_time: float | None = None
        self.end_time: float | None = None


def _checked_path(path: str | os.PathLike[str], options: RecordOptions) -> Path:
    """A path of the user's own, absolute; OptionError when it does not fit the format."""
    try:
        target = Path(path).absolute()
    except TypeError:
        raise OptionError(f"path is {path!r}: allowed is a path") from None
    ending = target.suffix.lower().removeprefix(".")
    if ending in {"wav", "mp3"} and ending != options.format:
        raise OptionError(f"path is {str(path)!r} and format {options.format}: they do not fit")
    return target


class Call:
    """One call: audio of its two legs goes in, recordings of it come out.

    - `sample_rate`: of the call's clock and its files, in Hz: 8000, 16000, 24000, 32000, 44100 or
      48000.
    - `call_id`, `node_id`: what the events name; made up when not given.
    - `directory`: where the files go; made when the first recording starts.
    - `base_url`: what events put before a file's name instead of its `file://` folder.
    - `max_skew`: seconds by which one leg may be behind the other before the gap is silence.
    - `speak_rate`, `listen_rate`: at which that leg's frames come, any from 4000 to 192000 Hz; the
      call's when not given. They are resampled.

    The methods may be called from any thread. Files are written, and handlers called, in
    background threads or the handler's event loop: no method waits for either, but for a call
    that is fed faster than its audio was spoken. Handlers may call back.
    """

    def __init__(
        self,
        sample_rate: int = 8000,
        call_id: str | None = None,
        node_id: str | None = None,
        directory: str | os.PathLike[str] = "recordings",
        base_url: str | None = None,
        max_skew: float = 0.5,
        speak_rate: int | None = None,
        listen_rate: int | None = None,
    ) -> None:
        core.check_sample_rate(sample_rate)
        for name, value in (("call_id", call_id), ("node_id", node_id), ("base_url", base_url)):
            if value is not None and not isinstance(value, str):
                raise OptionError(f"{name} is {value!r}: allowed are a string and None")
        check_number("max_skew", max_skew, 60, "seconds")
        try:
            self.directory = Path(directory).absolute()
        except TypeError:
            raise OptionError(f"directory is {directory!r}: allowed is a path") from None
        self.sample_rate = sample_rate
        self.call_id = call_id if call_id is not None else str(uuid.uuid4())
        self.node_id = node_id if node_id is not None else str(uuid.uuid4())
        self.base_url = base_url
        self._lock = threading.RLock()
        self._timeline: Timeline[tuple[int, bytes]] = Timeline(
            max_skew=whole_samples(max_skew, sample_rate),
            hold=whole_samples(_HOLD_SECONDS, sample_rate),
            piece=_PIECE_SECONDS * sample_rate,
            most_gap=_MOST_GAP_SECONDS * sample_rate,
        )
        self._speak = LegAudio("speak", speak_rate, sample_rate)
        self._listen = LegAudio("listen", listen_rate, sample_rate)
        self._legs = {"speak": self._speak, "listen": self._listen}
        self._is_plain = self._speak.rate == self._listen.rate == sample_rate
        self._digits = core.DigitDecoder(sample_rate)
        self._presses = Presses(whole_samples(_TWIN_SECONDS, sample_rate))
        self._running: list[_Running] = []
        self._hearing_speak: list[Capture] = []
        self._hearing_listen: list[Capture] = []
        self._beeps: list[Beep] = []
        self._listeners: list[Subscription] = []
        self._ended = ""  # why the call takes no more

    # -- audio -----------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Where the call is, in samples since its start."""
        return self._timeline.now

    @property
    def stats(self) -> CallStats:
        """What became of the audio of both legs so far: taken, filled, dropped, held."""
        with self._lock:
            return self._timeline.stats

    def feed(
        self,
        *,
        speak: Frame | None = None,
        listen: Frame | None = None,
        encoding: Encoding = "pcm16",
        at: int | None = None,
    ) -> Frame | None:
        """Take a frame of either leg or of both, of any length; both then of the same.

        Frames fed together are of the same moment; frames fed alone continue their leg. `at`, in
        samples of the call's rate, is where they belong instead: a gap before them is silence, and
        what overlaps audio that is there already is dropped.

        A frame is PCM of one leg: `bytes`, `bytearray` or `memoryview` of native 16-bit samples, an
        int16 array, a float array in [-1, 1], or, with `encoding` "pcmu" or "pcma", G.711.

        Returns the listen frame as the party should hear it: the same, or one like it with the
        beep in it while a beep plays. When only `speak` is fed while a beep plays, the beep for
        that stretch; otherwise then None.

        Raises FrameError for audio or a position that is not allowed and CallEndedError after
        `hangup`; nothing has been taken then.
        """
        with self._lock:
            said = None if speak is None else to_pcm(speak, encoding)
            heard = None if listen is None else to_pcm(listen, encoding)
            if (
                said is not None
                and heard is not None
                and len(said) * self._listen.rate != len(heard) * self._speak.rate
            ):
                raise FrameError(self._unequal(said, heard))
            if self._ended:
                self._check_open("audio")
            if at is not None:
                at = self._timeline.check_at(at)
            returned = listen
            if self._beeps:
                returned = self._as_heard(said, heard, speak, listen, encoding, at)
            if said and heard and at is None and self._is_plain:
                position = self._timeline.in_step(len(said) >> 1)
                if position >= 0:
                    self._hear_both(position, said, heard)
                    return returned
            self._hear(self._place(said, heard, at))
        return returned

    def _unequal(self, said: bytes, heard: bytes) -> str:
        speak, listen = self._speak.rate, self._listen.rate
        rates = f" at {speak} and {listen} Hz" if speak != listen else ""
        return (
            f"speak has {len(said) // 2} samples and listen {len(heard) // 2}{rates}:"
            " legs fed together have the same length"
        )

    def _place(self, said: bytes | None, heard: bytes | None, at: int | None) -> "_Spans":
        """Where the frames belong."""
        place = self._timeline.place
        if heard is None:
            if said is None:
                return ()
            n, said = self._speak.measure(said)
            return place("speak", n, (n, said), at)
        if said is None:
            n, heard = self._listen.measure(heard)
            return place("listen", n, (n, heard), at)
        n, said = self._speak.measure(said)
        m, heard = self._listen.measure(heard)
        if n == m:
            return self._timeline.place_both(n, (n, said), (n, heard), at)
        # Both at rates of their own, and no whole number of the call's samples.
        spans = [*place("speak", n, (n, said), at)]
        return [*spans, *place("listen", m, (m, heard), at)]

    def advance(self, to: int) -> None:
        """Let time pass without audio: both legs are silent up to position `to`, in samples."""
        is_whole = isinstance(to, numbers.Integral) and not isinstance(to, bool)
        with self._lock:
            most = self._timeline.now + _MOST_ADVANCE_SECONDS * self.sample_rate
            if not is_whole or not 0 <= to <= most:
                raise OptionError(
                    f"to is {shown(to)}: allowed is a position in samples, 0 to {most}, a day ahead"
                )
            self._check_open("time")
            timeline, step = self._timeline, _ADVANCE_SECONDS * self.sample_rate
            while (behind := min(timeline.speak, timeline.listen)) < to:
                self._hear(timeline.advance(min(behind + step, int(to))))

    def _hear(self, spans: "_Spans") -> None:
        """Let all who are concerned hear what the legs consist of."""
        for span in spans:
            if span.leg == "speak":
                for position, pcm in self._speak.hear(span):
                    self._hear_speak(position, pcm)
            else:
                for position, pcm in self._listen.hear(span):
                    self._hear_listen(position, pcm)
            self._wake(max(self._speak.heard, self._listen.heard))

    def _hear_both(self, position: int, said: bytes, heard: bytes) -> None:
        """The same for what nearly always comes: the next frame of both legs."""
        self._hear_speak(position, said)
        self._hear_listen(position, heard)
        self._speak.heard = self._listen.heard = now = position + (len(said) >> 1)
        self._wake(now)

    def _wake(self, now: int) -> None:
        """Judge and hand on, if any recording has to at this position."""
        for running in self._running:
            if now >= running.capture.wake:
                self._settle()
                return

    def _catch_up(self) -> None:
        """Before a command: what is held, since it may be late, is of now."""
        self._hear(self._timeline.release())

    def _hear_speak(self, position: int, pcm: bytes) -> None:
        n = len(pcm) >> 1
        pointer = core.samples(pcm)
        edges = self._digits.process(pointer, n)
        for capture in self._hearing_speak:
            capture.hear("speak", position, pcm, pointer, n)
        for edge in edges:
            self._hear_digit(edge)

    def _hear_listen(self, position: int, pcm: bytes) -> None:
        if not self._hearing_listen:
            return
        n = len(pcm) >> 1
        if self._beeps:  # another recording's: this one hears it as the party does
            pcm = self._with_beeps(position, pcm, self.sample_rate)
        pointer = core.samples(pcm)
        for capture in self._hearing_listen:
            capture.hear("listen", position, pcm, pointer, n)

    def _settle(self) -> None:
        ended = False
        for running in self._running:
            capture = running.capture
            position = self._heard_by(capture)
            if not capture.began and position >= capture.recording.start:
                self._begin(running)
            capture.settle(position, self._digits)
            ended = ended or capture.ending is not None
        if ended:
            for running in [r for r in self._running if r.capture.ending is not None]:
                self._complete(running)

    # -- the beep --------------------------------------------------------------------------

    def _as_heard(
        self,
        said: bytes | None,
        heard: bytes | None,
        speak: Frame | None,
        listen: Frame | None,
        encoding: Encoding,
        at: int | None,
    ) -> Frame | None:
        """What `feed` gives back while a beep may play."""
        timeline = self._timeline
        passed = min(self._speak.heard, self._listen.heard)
        self._beeps = [beep for beep in self._beeps if beep.end > passed]
        if listen is not None and heard is not None:
            if at is None:
                at = timeline.listen if said is None else timeline.now
            pcm = self._with_beeps(at, heard, self._listen.rate)
            return listen if pcm is heard else from_pcm(pcm, listen, encoding)
        if speak is not None and said is not None:
            silence = bytes(len(said))
            pcm = self._with_beeps(timeline.speak if at is None else at, silence, self._speak.rate)
            return None if pcm is silence else from_pcm(pcm, speak, encoding)
        return listen

    def _with_beeps(self, position: int, pcm: bytes, rate: int) -> bytes:
        """Audio of the listen leg as the party hears it; the same object when no beep plays."""
        n = (len(pcm) >> 1) * self.sample_rate // rate
        for beep in self._beeps:
            if beep.overlaps(position, n):
                pcm = beep.mix_into(position, pcm, rate)
        return pcm

    # -- digits ----------------------------------------------------------------------------

    def digit(self, digit: str) -> None:
        """Tell a DTMF digit that arrived out of band (an RFC 4733 event, a message), now.

        A tone of the same press in the audio is not taken for another. OptionError for anything
        but one of 0-9, A-D, * and #; CallEndedError after `hangup`.
        """
        key = normalise_digits("digit", digit)
        if len(key) != 1:
            raise OptionError(f"digit is {digit!r}: allowed is one digit at a time")
        with self._lock:
            self._check_open("digits")
            self._catch_up()
            sounding = self._digits.sounding(key)
            # Beside the tones of its leg.
            if self._presses.told(key, self._timeline.speak, self._timeline.now):
                for running in self._running:
                    at = self._position_of(running.capture) if sounding is None else sounding
                    running.capture.told(key, at, self._digits)
                self._settle()

    def _hear_digit(self, edge: core.Edge) -> None:
        if edge.kind == "digit_end":
            self._presses.tone_ended(edge.digit, edge.position)
        elif self._presses.tone(edge.digit, edge.position):
            for running in self._running:
                running.capture.press(edge.digit, edge.position)

    # -- recordings ------------------------------------------------------------------------

    def record(
        self,
        audio: Mapping[str, Any] | RecordOptions | None = None,
        *,
        control_id: str | None = None,
        on_completed: Handler | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> RecordAction:
        """Start a recording; several may run at once. May be awaited.

        - `audio`: options, as a dict or RecordOptions.
        - `control_id`: the recording's name on this call; a UUID when not given.
        - `on_completed`: called with the terminal event, once, after the file is complete.
        - `path`: the exact file to make, instead of a made-up name in the call's directory.

        Raises OptionError, ControlIdError (the name is in use), FileError (the file cannot be made,
        or is there already) or CallEndedError; nothing has been started then.
        """
        options = RecordOptions.from_audio(audio)
        if control_id is not None and (not isinstance(control_id, str) or not control_id):
            raise OptionError(
                f"control_id is {control_id!r}: allowed are a string, not empty, and None"
            )
        target = None if path is None else _checked_path(path, options)
        subscription = None if on_completed is None else Subscription(on_completed)
        with self._lock:
            self._check_open("recordings")
            self._catch_up()
            control_id = control_id or str(uuid.uuid4())
            if any(running.action.control_id == control_id for running in self._running):
                raise ControlIdError(f"control_id {control_id!r} belongs to a running recording")
            recording_id = str(uuid.uuid4())
            beep = Beep(self._timeline.now, self.sample_rate) if options.beep else None
            if target is None:
                self._make_directory()
                name = generated_name(self.call_id, recording_id, options.format)
                target = self.directory / name
            action = RecordAction(self, control_id, recording_id)
            # Told from a thread that writes, which must not wait for the call.
            errands = DELIVERY.lane()
            failed = partial(errands.put, partial(self._fail, action))
            file = StagedFile(target, options.format, self.sample_rate, options.channels)
            try:
                capture = Capture(
                    options,
                    self.sample_rate,
                    start=beep.end if beep else self._timeline.now,
                    output=Output(file, options, self.sample_rate, failed),
                )
                running = _Running(action, capture, self._url(target), subscription)
            except BaseException:
                file.discard()
                raise
            if beep:
                self._beeps.append(beep)
            self._running.append(running)
            _live.add(self)
            for hearing in self._hearing_of(options):
                hearing.append(capture)
            if not beep:
                self._begin(running)
        return action

    def on(self, event_type: str, handler: Handler) -> None:
        """Have a function or coroutine function called with every event of the call.

        `event_type` is "calling.call.record", the only one there is.
        """
        if event_type != RECORD_EVENT:
            raise OptionError(f"event_type is {event_type!r}: allowed is {RECORD_EVENT}")
        with self._lock:
            self._listeners.append(Subscription(handler))

    def hangup(self) -> None:
        """End the call, and as `finished` every recording that runs. Once is enough.

        Does not wait for the files: `RecordAction.wait` and `join` do.
        """
        with self._lock:
            if not self._ended:
                self._catch_up()
                for position, pcm in self._speak.end_stream():
                    self._hear_speak(position, pcm)
                for position, pcm in self._listen.end_stream():
                    self._hear_listen(position, pcm)
                self._ended = "was hung up"
            for running in list(self._running):
                running.capture.stop(self._position_of(running.capture), "hangup", self._digits)
                self._complete(running)

    def _hearing_of(self, options: RecordOptions) -> list[list[Capture]]:
        """The lists of those who hear the legs that such a recording is about."""
        lists = {"speak": self._hearing_speak, "listen": self._hearing_listen}
        return [lists[leg] for leg in options.legs]

    def _check_open(self, what: str) -> None:
        if self._ended:
            raise CallEndedError(f"call {self.call_id!r} {self._ended}: it takes no {what}")

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise FileError(f"cannot make the folder {self.directory}: {error}") from error

    def _position_of(self, capture: Capture) -> int:
        """Where a recording is: its legs', not one's that it has nothing to do with."""
        return self._timeline.furthest(capture.options.legs)

    def _heard_by(self, capture: Capture) -> int:
        """The same, as far as the audio has been heard."""
        return max(self._legs[leg].heard for leg in capture.options.legs)

    def _url(self, path: Path) -> str:
        if self.base_url is None:
            return path.as_uri()
        return f"{self.base_url.rstrip('/')}/{quote(os.fsencode(path.name))}"

    # -- what an action asks ------------------------------------------------------------------

    def _find(self, action: RecordAction) -> _Running | None:
        return next((running for running in self._running if running.action is action), None)

    def _state_of(self, action: RecordAction) -> State:
        with self._lock:
            running = self._find(action)
            return action._final_state if running is None else running.capture.state

    def _command(
        self, action: RecordAction, name: "CommandName", behavior: PauseBehavior = "skip"
    ) -> Acknowledgement:
        with self._lock:
            self._catch_up()
            running = self._find(action)
            if running is None:
                return self._acknowledge(action, "404", "the recording has ended")
            capture = running.capture
            now = self._position_of(capture)
            if name == "stop":
                self._hear_pending(capture)
                capture.stop(now, "stopped", self._digits)
                self._complete(running)
            elif name == "pause" and not capture.recording.paused:
                capture.pause(now, behavior)
                if capture.began:
                    self._tell(running, "paused")
            elif name == "resume" and capture.recording.paused:
                capture.resume(now)
                if capture.began:
                    self._tell(running, "recording")
        return self._acknowledge(action, "200", f"{name} done")

    def _hear_pending(self, capture: Capture) -> None:
        """The call goes on, but for this recording what resamplers still hold is the last."""
        for leg in capture.options.legs:
            audio = self._legs[leg]
            if pcm := audio.pending():
                capture.hear(leg, audio.heard, pcm, core.samples(pcm), len(pcm) >> 1)

    def _acknowledge(self, action: RecordAction, code: str, message: str) -> Acknowledgement:
        return Acknowledgement(
            code=code, message=message, call_id=self.call_id, control_id=action.control_id
        )

    # -- events ----------------------------------------------------------------------------

    def _begin(self, running: _Running) -> None:
        running.capture.began = True
        running.start_time = time.time()
        self._tell(running, "recording", samples=0)
        if running.capture.recording.paused:
            self._tell(running, "paused", samples=0)

    def _complete(self, running: _Running) -> None:
        """A recording has ended: its file is completed, and it leaves the call.

        It leaves last: what was interrupted (Ctrl-C) is done again, which does no harm.
        """
        capture = running.capture
        running.end_time = time.time()
        if running.start_time is None:  # stopped while its beep played
            running.start_time = running.end_time
        running.action._final_state = capture.state
        capture.complete(partial(self._completed, running))
        for hearing in self._hearing_of(capture.options):
            if capture in hearing:
                hearing.remove(capture)
        self._running.remove(running)
        if not self._running:
            _live.discard(self)

    def _completed(self, running: _Running, outcome: Outcome) -> None:
        """The file is complete, or all that can be had of it. Needs no lock, and takes none."""
        capture = running.capture
        ending = capture.ending
        assert ending is not None
        if running.action.is_done:  # it was interrupted after that
            running.action._wake_waiters()
            return
        running.url = self._url(outcome.path)
        if outcome.failure:
            why: dict[str, Any] = {"reason": "error", "error": outcome.failure}
        else:
            why = {"reason": ending.reason}
            if ending.digit:
                why["digit"] = ending.digit
        event = self._event(
            running, capture.state, samples=outcome.samples, size=outcome.size, why=why
        )
        running.action._finish(event, capture.state)
        if running.on_completed is not None:
            running.on_completed.deliver(event)
        self._publish(event)
        running.action._wake_waiters()

    def _fail(self, action: RecordAction) -> None:
        """The file of a recording cannot be written any more."""
        with self._lock:
            running = self._find(action)
            if running is not None:
                running.capture.fail()
                self._complete(running)

    def _tell(self, running: _Running, state: State, *, samples: int | None = None) -> None:
        """Tell all listeners, unless there are none, that a recording goes on."""
        if self._listeners:
            if samples is None:
                samples = running.capture.length(self._position_of(running.capture))
            self._publish(self._event(running, state, samples=samples))

    def _publish(self, event: RecordEvent) -> None:
        for listener in tuple(self._listeners):
            listener.deliver(event)

    def _event(
        self,
        running: _Running,
        state: State,
        *,
        samples: int,
        size: int = 0,
        why: dict[str, Any] | None = None,
    ) -> RecordEvent:
        """An event; with `why`, the terminal one."""
        action, options = running.action, running.capture.options
        file = {"url": running.url, "duration": samples / self.sample_rate, "size": size}
        audio = {
            "format": options.format,
            "direction": options.direction,
            "stereo": options.stereo,
        }
        params = {
            "call_id": self.call_id,
            "node_id": self.node_id,
            "control_id": action.control_id,
            "recording_id": action.recording_id,
            "state": state,
            **file,
            "start_time": running.start_time,
            "end_time": running.end_time,
            "record": {**file, "format": options.format, "audio": audio, **(why or {})},
        }
        return RecordEvent(
            event_type=RECORD_EVENT, timestamp=time.time(), call_id=self.call_id, params=params
        )

    def _leave_to_parent(self) -> None:
        """After a fork: the call, its files and its threads are the parent's."""
        self._lock = threading.RLock()
        self._ended = "belongs to the process that this one was forked from"
        for running in self._running:
            error = CallEndedError(
                f"call {self.call_id!r} {self._ended}: nothing will be told here"
            )
            running.action._leave_to_parent(error)
        self._running.clear()
        self._hearing_speak.clear()
        self._hearing_listen.clear()


def _at_exit() -> None:
    """Nobody hung up: what was fed is in the files all the same."""
    for call in tuple(_live):
        call.hangup()
    if not WRITING.drain(_EXIT_PATIENCE_SECONDS):
        _LOG.error("the disk takes nothing: recordings are left for `recorder recover`")
    DELIVERY.drain(_EXIT_PATIENCE_SECONDS)


def _after_fork() -> None:
    for call in tuple(_live):
        call._leave_to_parent()
    _live.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
