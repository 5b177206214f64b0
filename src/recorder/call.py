# SPDX-License-Identifier: MIT
"""A telephone call whose media this process handles."""

import numbers
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from recorder import core
from recorder.action import Acknowledgement, RecordAction
from recorder.beep import Beep
from recorder.capture import Capture
from recorder.delivery import Handler, Subscription
from recorder.errors import CallEndedError, ControlIdError, FileError, FrameError, OptionError
from recorder.events import RECORD_EVENT, RecordEvent
from recorder.frames import Encoding, Frame, from_pcm, to_pcm
from recorder.options import RecordOptions, check_number, normalise_digits, whole_samples
from recorder.presses import Presses
from recorder.recording import PauseBehavior, State
from recorder.timeline import Timeline
from recorder.writing import StagedFile, generated_name

if TYPE_CHECKING:
    from recorder.action import CommandName

# A tone and the out-of-band digit of the same press are at most this far apart.
_TWIN_SECONDS: Final = 0.5


class _Running:
    """A recording that has not ended, with all that its events tell."""

    __slots__ = ("action", "capture", "on_completed", "start_time", "url")

    def __init__(
        self, action: RecordAction, capture: Capture, url: str, on_completed: Subscription | None
    ) -> None:
        self.action = action
        self.capture = capture
        self.url = url
        self.on_completed = on_completed
        self.start_time: float | None = None


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

    - `sample_rate`: of both legs, in Hz: 8000, 16000, 24000, 32000, 44100 or 48000.
    - `call_id`, `node_id`: what the events name; made up when not given.
    - `directory`: where the files go; made when the first recording starts.
    - `base_url`: what events put before a file's name instead of its `file://` folder.
    - `max_skew`: seconds by which one leg may be behind the other before the gap is silence.

    The methods may be called from any thread. Handlers are called without any lock held, one
    event after the other, and may call back.
    """

    def __init__(
        self,
        sample_rate: int = 8000,
        call_id: str | None = None,
        node_id: str | None = None,
        directory: str | os.PathLike[str] = "recordings",
        base_url: str | None = None,
        max_skew: float = 0.5,
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
        self._timeline = Timeline(whole_samples(max_skew, sample_rate))
        self._digits = core.DigitDecoder(sample_rate)
        self._presses = Presses(whole_samples(_TWIN_SECONDS, sample_rate))
        self._running: list[_Running] = []
        self._hearing_speak: list[Capture] = []
        self._hearing_listen: list[Capture] = []
        # Longer frames are taken in pieces: their memory is bounded, and what ends a recording
        # in mid-frame is seen soon.
        self._longest_piece = 2 * sample_rate  # bytes: a second
        self._beeps: list[Beep] = []
        self._listeners: list[Subscription] = []
        self._ended = False
        self._outbox: deque[tuple[RecordEvent, list[Subscription]]] = deque()
        self._delivering = False

    # -- audio -----------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Where the call is, in samples since its start."""
        return self._timeline.now

    def feed(
        self,
        *,
        speak: Frame | None = None,
        listen: Frame | None = None,
        encoding: Encoding = "pcm16",
    ) -> Frame | None:
        """Take a frame of either leg or of both, of any length; both then of the same.

        Frames fed together are of the same moment; frames fed alone continue their leg.

        A frame is PCM of one leg: `bytes`, `bytearray` or `memoryview` of native 16-bit samples, an
        int16 array, a float array in [-1, 1], or, with `encoding` "pcmu" or "pcma", G.711.

        Returns the listen frame as the party should hear it: the same, or one like it with the
        beep in it while a beep plays. When only `speak` is fed while a beep plays, the beep for
        that stretch; otherwise then None.

        Raises FrameError for audio that is not allowed and CallEndedError after `hangup`; nothing
        has been taken then.
        """
        with self._lock:
            said = None if speak is None else to_pcm(speak, encoding)
            heard = None if listen is None else to_pcm(listen, encoding)
            if said is not None and heard is not None and len(said) != len(heard):
                raise FrameError(
                    f"speak has {len(said) // 2} samples and listen {len(heard) // 2}:"
                    " legs fed together have the same number"
                )
            if self._ended:
                raise CallEndedError(f"call {self.call_id!r} was hung up: it takes no audio")
            if said and heard and self._timeline.speak != self._timeline.listen:
                self._align(self._timeline.now)
            returned = listen
            if self._beeps:
                returned = self._as_heard(said, heard, speak, listen, encoding)
            if len(said or heard or b"") <= self._longest_piece:
                self._take(said, heard)
            else:
                self._take_in_pieces(said, heard)
        if self._outbox:
            self._deliver()
        return returned

    def advance(self, to: int) -> None:
        """Let time pass without audio: both legs are silent up to position `to`, in samples."""
        if isinstance(to, bool) or not isinstance(to, numbers.Integral) or to < 0:
            raise OptionError(f"to is {to!r}: allowed is a position in samples, 0 or more")
        with self._lock:
            self._check_open("time")
            self._align(int(to))
        self._deliver()

    def _align(self, to: int) -> None:
        """Bring both legs to a position, by silence, as far as they are not there."""
        timeline = self._timeline
        while min(timeline.speak, timeline.listen) < to:
            # Both pass together, so that neither falls behind on the way.
            end = min(min(timeline.speak, timeline.listen) + self.sample_rate, to)
            self._take(
                bytes(2 * max(0, end - timeline.speak)), bytes(2 * max(0, end - timeline.listen))
            )

    def _take_in_pieces(self, said: bytes | None, heard: bytes | None) -> None:
        piece = self._longest_piece
        for at in range(0, len(said or heard or b""), piece):
            self._take(said and said[at : at + piece], heard and heard[at : at + piece])

    def _take(self, said: bytes | None, heard: bytes | None) -> None:
        timeline = self._timeline
        if said:
            self._hear_speak(said)
        if heard:
            if self._hearing_listen:
                self._hear_listen(heard)
            else:
                timeline.listen += len(heard) >> 1
        if timeline.speak != timeline.listen:
            leg, owed = timeline.owed()
            if owed:
                fill = self._hear_speak if leg == "speak" else self._hear_listen
                fill(bytes(2 * owed))
        now = timeline.speak if timeline.speak > timeline.listen else timeline.listen
        for running in self._running:
            if now >= running.capture.wake:
                self._settle()
                break

    def _hear_speak(self, pcm: bytes) -> None:
        """Place audio at the end of the leg, and let all who are concerned hear it."""
        n = len(pcm) >> 1
        timeline = self._timeline
        position = timeline.speak
        timeline.speak = position + n
        pointer = core.samples(pcm)
        edges = self._digits.process(pointer, n)
        for capture in self._hearing_speak:
            capture.hear("speak", position, pcm, pointer, n)
        for edge in edges:
            self._hear_digit(edge)

    def _hear_listen(self, pcm: bytes) -> None:
        n = len(pcm) >> 1
        position = self._timeline.listen
        self._timeline.listen = position + n
        if self._beeps:  # another recording's: this one hears it as the party does
            pcm = self._with_beeps(position, pcm)
        pointer = core.samples(pcm)
        for capture in self._hearing_listen:
            capture.hear("listen", position, pcm, pointer, n)

    def _settle(self) -> None:
        ended = False
        for running in self._running:
            capture = running.capture
            position = self._position_of(capture)
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
    ) -> Frame | None:
        """What `feed` gives back while a beep may play."""
        timeline = self._timeline
        passed = min(timeline.speak, timeline.listen)
        self._beeps = [beep for beep in self._beeps if beep.end > passed]
        if listen is not None and heard is not None:
            pcm = self._with_beeps(timeline.listen, heard)
            return listen if pcm is heard else from_pcm(pcm, listen, encoding)
        if speak is not None and said is not None:
            silence = bytes(len(said))
            pcm = self._with_beeps(timeline.speak, silence)
            return None if pcm is silence else from_pcm(pcm, speak, encoding)
        return listen

    def _with_beeps(self, position: int, pcm: bytes) -> bytes:
        """Audio of the listen leg as the party hears it; the same object when no beep plays."""
        for beep in self._beeps:
            if beep.overlaps(position, len(pcm) >> 1):
                pcm = beep.mix_into(position, pcm)
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
            sounding = self._digits.sounding(key)
            # Beside the tones of its leg.
            if self._presses.told(key, self._timeline.speak, self._timeline.now):
                for running in self._running:
                    at = self._position_of(running.capture) if sounding is None else sounding
                    running.capture.told(key, at, self._digits)
                self._settle()
        self._deliver()

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
            control_id = control_id or str(uuid.uuid4())
            if any(running.action.control_id == control_id for running in self._running):
                raise ControlIdError(f"control_id {control_id!r} belongs to a running recording")
            recording_id = str(uuid.uuid4())
            beep = Beep(self._timeline.now, self.sample_rate) if options.beep else None
            if target is None:
                self._make_directory()
                name = generated_name(self.call_id, recording_id, options.format)
                target = self.directory / name
            url = self._url(target)
            capture = Capture(
                options,
                self.sample_rate,
                start=beep.end if beep else self._timeline.now,
                file=StagedFile(target, options.format, self.sample_rate, options.channels),
            )
            action = RecordAction(self, control_id, recording_id)
            running = _Running(action, capture, url, subscription)
            if beep:
                self._beeps.append(beep)
            self._running.append(running)
            for hearing in self._hearing_of(options):
                hearing.append(capture)
            if not beep:
                self._begin(running)
        self._deliver()
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
        """End the call, and as `finished` every recording that runs. Once is enough."""
        with self._lock:
            self._ended = True
            for running in list(self._running):
                running.capture.stop(self._position_of(running.capture), "hangup", self._digits)
                self._complete(running)
        self._deliver()

    def _hearing_of(self, options: RecordOptions) -> list[list[Capture]]:
        """The lists of those who hear the legs that such a recording is about."""
        lists = {"speak": self._hearing_speak, "listen": self._hearing_listen}
        return [lists[leg] for leg in options.legs]

    def _check_open(self, what: str) -> None:
        if self._ended:
            raise CallEndedError(f"call {self.call_id!r} was hung up: it takes no {what}")

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {self.directory}: {error}") from error

    def _position_of(self, capture: Capture) -> int:
        """Where a recording is: its legs', not one's that it has nothing to do with."""
        return self._timeline.furthest(capture.options.legs)

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
            running = self._find(action)
            if running is None:
                return self._acknowledge(action, "404", "the recording has ended")
            capture = running.capture
            now = self._position_of(capture)
            if name == "stop":
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
        self._deliver()
        return self._acknowledge(action, "200", f"{name} done")

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
        """A recording has ended: its file, its place on the call, its terminal event."""
        capture = running.capture
        ending = capture.ending
        assert ending is not None
        self._running.remove(running)
        for hearing in self._hearing_of(capture.options):
            hearing.remove(capture)
        path, size = capture.complete()
        running.url = self._url(path)
        if capture.failure:
            outcome: dict[str, Any] = {"reason": "error", "error": capture.failure}
        else:
            outcome = {"reason": ending.reason}
            if ending.digit:
                outcome["digit"] = ending.digit
        if running.start_time is None:  # stopped while its beep played
            running.start_time = time.time()
        event = self._tell(
            running, capture.state, samples=capture.written_samples, size=size, outcome=outcome
        )
        running.action._finish(event, capture.state)

    def _tell(
        self,
        running: _Running,
        state: State,
        *,
        samples: int | None = None,
        size: int = 0,
        outcome: dict[str, Any] | None = None,
    ) -> RecordEvent:
        """Queue an event; with an outcome, the terminal one."""
        action, options = running.action, running.capture.options
        if samples is None:
            samples = running.capture.length(self._position_of(running.capture))
        now = time.time()
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
            "end_time": now if outcome else None,
            "record": {**file, "format": options.format, "audio": audio, **(outcome or {})},
        }
        event = RecordEvent(
            event_type=RECORD_EVENT, timestamp=now, call_id=self.call_id, params=params
        )
        to = list(self._listeners)
        if outcome and running.on_completed is not None:
            to.insert(0, running.on_completed)
        self._outbox.append((event, to))
        return event

    def _deliver(self) -> None:
        """Hand out what is queued, in order, without the lock: handlers may call back."""
        with self._lock:
            if self._delivering:
                return  # who delivers now delivers this too
            self._delivering = True
        try:
            while True:
                with self._lock:
                    if not self._outbox:
                        self._delivering = False
                        return
                    event, subscriptions = self._outbox.popleft()
                for subscription in subscriptions:
                    subscription.deliver(event)
        except BaseException:  # an interrupt in a handler; the rest comes with the next event
            self._delivering = False
            raise
