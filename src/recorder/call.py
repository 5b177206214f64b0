# SPDX-License-Identifier: MIT
"""A telephone call whose media this process handles."""

import logging
import numbers
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar, overload

from recorder.action import Acknowledgement, RecordAction
from recorder.detection.core import NO_FRAME, check_sample_rate
from recorder.errors import CallEndedError, FileError, OptionError, shown
from recorder.events import (
    DIGIT_EVENT,
    PUBLISHING_EVENT,
    RECORD_EVENT,
    VOICE_EVENT,
    RecordEvent,
)
from recorder.options import (
    AudioOptions,
    RecordOptions,
    check_mode,
    check_number,
    check_path,
    normalise_digits,
)
from recorder.placement.clock import position_clock
from recorder.placement.frames import (
    Encoding,
    Frame,
    check_encoding,
    check_whole,
    from_pcm,
    silence_like,
    to_pcm,
)
from recorder.placement.legs import Legs
from recorder.placement.resampling import check_rate
from recorder.publishing.destinations import Destinations
from recorder.recording.recordings import Recordings
from recorder.recording.session import Identity, Session
from recorder.reports import Reports
from recorder.runtime import lifecycle
from recorder.runtime.handlers import Handler, Subscription
from recorder.runtime.loops import running_loop
from recorder.runtime.threads import ERRANDS
from recorder.runtime.turns import Turns
from recorder.writing.staged import generated_name

if TYPE_CHECKING:
    import asyncio

    from recorder.placement.timeline import CallStats
    from recorder.recording.recordings import CommandName
    from recorder.recording.state import PauseBehavior

_LOG: Final = logging.getLogger("recorder")
_MOST_ADVANCE_SECONDS: Final = 24 * 3600
_MOST_AT: Final = 1 << 60
_EVENT_TYPES: Final = (RECORD_EVENT, VOICE_EVENT, DIGIT_EVENT, PUBLISHING_EVENT)

F = TypeVar("F", bound=Frame)


class Call:
    """One call: audio of its two legs goes in, recordings of it come out.

    - `sample_rate`: of the call's clock and its files, in Hz: 8000, 16000, 24000, 32000, 44100 or
      48000.
    - `call_id`, `node_id`: carried by every event; generated when not given.
    - `directory`: where the files go; made when the first recording starts.
    - `base_url`: what events put before a file's name instead of its `file://` folder; a query
      stays behind the name.
    - `max_skew`: seconds by which audio may be late, 0 to 60.
    - `speak_rate`, `listen_rate`: of that leg's frames, 4000 to 192000 Hz; the call's when not
      given. They are resampled.
    - `live`: whether time also passes when nothing is fed. A function that returns seconds is a
      clock of your own, for tests: then only `feed`, the commands and `advance` read it.
    - `file_mode`: permissions of the files. Who may read them may enter the folders made for them.
    - `storage`: a URL of a folder, such as s3://bucket/prefix, where files go once complete. Events
      carry the object's URL, or `base_url` and the name.
    - `status_url`: where the events of recordings are POSTed as JSON, signed with `status_key`, or
      with the environment's RECORDER_STATUS_KEY.
    - `keep_local`: whether a file stays in its folder once it is stored.
    - `allow_private`: whether `status_url` may be in a private network.

    OptionError for an argument of another type or out of range. The methods may be called from
    any thread, and from signal handlers. No method waits for a file or a handler, but `record`
    where no event loop runs, and a call that is fed faster than its audio was spoken.
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
        live: bool | Callable[[], float] = False,
        file_mode: int = 0o600,
        storage: str | None = None,
        status_url: str | None = None,
        status_key: str | None = None,
        keep_local: bool = False,
        allow_private: bool = False,
    ) -> None:
        self.sample_rate = check_sample_rate(sample_rate)
        for name, value in (("call_id", call_id), ("node_id", node_id), ("base_url", base_url)):
            if value is not None and not isinstance(value, str):
                raise OptionError(f"{name}: expected a string or None, got {shown(value)}")
        max_skew = check_number("max_skew", max_skew, 60, "seconds")
        try:
            self.directory = Path(directory).absolute()
        except TypeError:
            raise OptionError(f"directory: expected a path, got {directory!r}") from None
        self.call_id = call_id if call_id is not None else str(uuid.uuid4())
        self.node_id = node_id if node_id is not None else str(uuid.uuid4())
        self.base_url = base_url or None
        self.file_mode = check_mode("file_mode", file_mode)
        self._destinations = Destinations(
            storage=storage,
            status_url=status_url,
            status_key=status_key,
            keep_local=keep_local,
            allow_private=allow_private,
        )
        self._turns = Turns()
        self._actions: dict[str, RecordAction] = {}  # by recording_id, until their event is out
        self._reports = Reports(self.call_id)
        self._ended = ""  # why the call takes no more
        self._legs = Legs(
            self.sample_rate,
            max_skew=max_skew,
            speak_rate=speak_rate,
            listen_rate=listen_rate,
            clock=position_clock(live, self.sample_rate),
            due=self._judge,
            on_loss=self._reports.loss,
        )
        self._recordings = Recordings(self._legs, self._reports.digit)
        self._feed_common = self._legs.feed_common
        lifecycle.register(self)
        if live is True:
            lifecycle.keep(self)
            lifecycle.TICKER.add(self)

    def __repr__(self) -> str:
        seconds = self._legs.now / self.sample_rate
        how = f", {self._ended}" if self._ended else ""
        running = f"{len(self._recordings)} recording{'' if len(self._recordings) == 1 else 's'}"
        return f"<Call {self.call_id!r} at {seconds:.2f} s, {running}{how}>"

    # -- as a block ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hangup()
        for action in tuple(self._actions.values()):
            action._settle(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hangup()
        for action in tuple(self._actions.values()):
            await action._delivered.happened()

    # -- audio that happens ----------------------------------------------------------------

    @property
    def position(self) -> int:
        """Where the call is, in samples since its start."""
        return self._legs.now

    @property
    def stats(self) -> "CallStats":
        """What became of all audio so far: taken, filled, and what was dropped and why."""
        with self._turns.lock:
            return self._legs.stats

    @overload
    def feed(
        self,
        *,
        speak: None = ...,
        listen: None = ...,
        encoding: Encoding = ...,
        at: int | None = ...,
    ) -> None: ...
    @overload
    def feed(
        self,
        *,
        speak: Frame | None = ...,
        listen: F,
        encoding: Encoding = ...,
        at: int | None = ...,
    ) -> F: ...
    @overload
    def feed(
        self, *, speak: F, listen: None = ..., encoding: Encoding = ..., at: int | None = ...
    ) -> F: ...
    @overload
    def feed(
        self,
        *,
        speak: Frame | None = ...,
        listen: Frame | None = ...,
        encoding: Encoding = ...,
        at: int | None = ...,
    ) -> Frame | None: ...

    def feed(
        self,
        *,
        speak: Frame | None = None,
        listen: Frame | None = None,
        encoding: Encoding = "pcm16",
        at: int | None = None,
    ) -> Frame | None:
        """Take a frame of either leg or of both, of any length, as it is said or heard.

        Frames fed together are of the same moment and length; frames fed alone continue their
        leg. `at`, in samples of the call's rate, is where they belong instead: a gap before them
        is silence, and what overlaps audio that is there already is dropped. Audio that is still
        to be heard is for `play`.

        A frame is PCM of one leg: `bytes`, `bytearray` or `memoryview` of native 16-bit samples, an
        int16 array, a float array in [-1, 1], or, with `encoding` "pcmu" or "pcma", G.711.

        Returns what the party should hear for that stretch, in the form that was fed: the listen
        frame, or one like it with what plays in it; when only `speak` is fed, what plays, or
        silence.

        Raises FrameError for audio or a position that is not as said, and CallEndedError after
        `hangup`; nothing has been taken then.
        """
        with self._turns.lock:
            is_pcm = encoding == "pcm16"
            said: bytes | None
            played: bytes | None
            if is_pcm and type(speak) is bytes:
                said = speak
            else:
                said = None if speak is None else to_pcm(speak, encoding)
            if is_pcm and type(listen) is bytes:
                played = listen
            else:
                played = None if listen is None else to_pcm(listen, encoding)
            # The common frame goes to C at once.
            due = -1
            if at is None or (type(at) is int and 0 <= at < _MOST_AT):
                due = self._feed_common(
                    NO_FRAME if said is None else said,
                    0 if said is None else len(said),
                    NO_FRAME if played is None else played,
                    0 if played is None else len(played),
                    -1 if at is None else at,
                )
            mixed = during = None
            if due > 0:
                self._turns.do(self._judge, postponed=None)
            elif due < 0:
                mixed, during = self._place(said, played, at)
        if listen is not None:
            return listen if mixed is None else from_pcm(mixed, listen, encoding)
        if speak is None:
            return None
        if during is not None:
            return from_pcm(during, speak, encoding)
        return (
            bytes(len(speak)) if type(speak) is bytes and is_pcm else silence_like(speak, encoding)
        )

    def _place(
        self, speak: bytes | None, listen: bytes | None, at: object
    ) -> tuple[bytes | None, bytes | None]:
        """Take frames that C did not; the listen frame with what plays, and what plays besides."""
        for pcm in (speak, listen):
            if pcm is not None:
                check_whole(pcm)
        position = self._legs.check(speak, listen, at)
        nothing: tuple[bytes | None, bytes | None] = (None, None)
        return self._turns.do(
            self._legs.feed, speak, listen, position, postponed=nothing, check=self._check_audio
        )

    def advance(self, to: int | None = None) -> None:
        """Let time pass without audio: both legs are silent up to position `to`, in samples.

        A live call needs no position: then it passes up to its clock's now. OptionError for a
        position out of range, CallEndedError after `hangup`.
        """
        with self._turns.lock:
            now = self._legs.now
            if to is None:
                if self._legs.is_live or self._ended:
                    self._turns.do(self._legs.tick, postponed=None, check=self._check_time)
                    return
                raise OptionError("to: expected a position, since the call is not live, got None")
            is_whole = isinstance(to, numbers.Integral) and not isinstance(to, bool)
            most = now + _MOST_ADVANCE_SECONDS * self.sample_rate
            if not is_whole or not 0 <= to <= most:
                raise OptionError(
                    f"to: expected a position in samples from 0 to {most}, a day ahead,"
                    f" got {shown(to)}"
                )
            self._turns.do(self._legs.advance, int(to), postponed=None, check=self._check_time)

    # -- audio still to be heard -----------------------------------------------------------

    def play(self, pcm: Frame, sample_rate: int | None = None, encoding: Encoding = "pcm16") -> int:
        """Queue audio that the party is still to hear, as fast as it is made.

        It follows what is queued, or begins now, and becomes the listen leg's audio as the call's
        time passes. `sample_rate` is its own, 4000 to 192000 Hz; that of the listen leg when not
        given.

        Returns where it ends: once `position` is there it has been heard, unless `clear` took it
        back. Raises FrameError, OptionError, and CallEndedError after `hangup`.
        """
        if sample_rate is not None:
            check_rate("sample_rate", sample_rate)
        check_encoding(encoding)
        audio = to_pcm(pcm, encoding)
        rate = self._legs.rate("listen") if sample_rate is None else int(sample_rate)
        # What interrupts another change only learns that it has not ended.
        unknown = self._legs.now + 1
        play = self._recordings.play
        return self._turns.do(play, audio, rate, postponed=unknown, check=self._check_audio)

    def clear(self) -> int:
        """Take back what was played and was neither heard yet nor given by `playout`.

        Returns how much that was, in samples at the listen leg's rate.
        """
        return self._turns.do(self._recordings.clear, postponed=0)

    def playout(self, n: int) -> bytes:
        """Give the next `n` samples that the party is to hear, as PCM at the listen leg's rate.

        For a transport that sends at its own pace, ahead of the call's clock. They follow those
        given before, from the call's start on. OptionError for an `n` that is no whole number from
        0 to an hour's samples, CallEndedError after `hangup`.
        """
        most = 3600 * self._legs.rate("listen")
        if not isinstance(n, numbers.Integral) or isinstance(n, bool) or not 0 <= n <= most:
            raise OptionError(f"n: expected a number of samples from 0 to {most}, got {shown(n)}")
        silence = bytes(2 * int(n))
        return self._turns.do(
            self._legs.take_playout, int(n), postponed=silence, check=self._check_audio
        )

    # -- digits ----------------------------------------------------------------------------

    def digit(self, digit: str) -> None:
        """Report a DTMF digit that arrived out of band (RFC 4733, SIP INFO), at the present.

        A tone of the same press in the audio does not count again. OptionError for anything but one
        of 0-9, A-D, * and #; CallEndedError after `hangup`.
        """
        key = normalise_digits("digit", digit)
        if len(key) != 1:
            raise OptionError(f"digit: expected one digit at a time, got {digit!r}")
        self._turns.do(self._recordings.press, key, postponed=None, check=self._check_digits)

    # -- recordings ------------------------------------------------------------------------

    def record(
        self,
        audio: AudioOptions | RecordOptions | None = None,
        *,
        control_id: str | None = None,
        on_completed: Handler | None = None,
        path: str | os.PathLike[str] | None = None,
        storage: str | None = None,
        status_url: str | None = None,
    ) -> RecordAction:
        """Start a recording; several may run at once.

        - `audio`: options, as a dict or RecordOptions.
        - `control_id`: the recording's name on this call; a UUID when not given.
        - `on_completed`: called with the terminal event, once, after the file is complete.
        - `path`: the exact file to make, instead of a made-up name in the call's directory; in
          a folder that exists.
        - `storage`, `status_url`: of this recording, instead of the call's; "" for none.

        Raises OptionError, ControlIdError (the name is in use), FileError (the file cannot be made,
        or is there already) or CallEndedError; nothing has been started then.

        Where an event loop runs the file is opened off it: the recording begins at once all the
        same, `await` returns once the file is open, and raises FileError if it cannot be. Not
        awaited, that ends the recording as `error`.
        """
        options = RecordOptions.from_audio(audio)
        if control_id is not None and (not isinstance(control_id, str) or not control_id):
            raise OptionError(
                f"control_id: expected a string, not empty, or None, got {shown(control_id)}"
            )
        target = None if path is None else check_path(path, options)
        destinations = self._destinations.but(storage, status_url)
        subscription = None if on_completed is None else Subscription(on_completed)
        loop = running_loop()
        identity = Identity(
            call_id=self.call_id,
            node_id=self.node_id,
            control_id=control_id or str(uuid.uuid4()),
            recording_id=str(uuid.uuid4()),
        )
        name = generated_name(self.call_id, identity.recording_id, options.format)
        self._check_recording(identity)
        session = Session(
            identity,
            options,
            self._legs,
            target or self.directory / name,
            mode=self.file_mode,
            makes_folder=target is None,
            url_of=destinations.url_of(self.base_url),
        )
        action = RecordAction(self, session)
        publish: Callable[[RecordEvent, bool], None] = partial(
            self._reports.recording, action, subscription, partial(self._delivered, action)
        )
        note = None
        if destinations:
            from recorder.publishing.agent import AGENT  # here: most send nothing

            publication = AGENT.publication(
                destinations,
                call_id=self.call_id,
                folder=session.path.parent,
                sample_rate=self.sample_rate,
                deliver=publish,
                report=self._reports.publish,
            )
            publish, note = publication.take, publication.note
        session.connect(
            publish=publish,
            failed=partial(ERRANDS.lane().put, partial(self._fail, session)),
            note=note,
        )
        if loop is None:
            session.writer.open()
        try:
            self._actions[identity.recording_id] = action
            lifecycle.keep(self)
            check = partial(self._check_recording, identity)
            self._turns.do(self._attach, session, action, loop, postponed=None, check=check)
        except BaseException:
            self._forget(action)
            session.writer.discard()
            raise
        if loop is None:
            self._opened(action, None, None)
        return action

    def action(self, control_id: str) -> RecordAction | None:
        """Return the running recording of that name; None when there is none."""
        with self._turns.lock:
            session = self._recordings.find(control_id)
            return None if session is None else self._actions.get(session.identity.recording_id)

    def _attach(
        self, session: Session, action: RecordAction, loop: "asyncio.AbstractEventLoop | None"
    ) -> None:
        self._recordings.attach(session)
        if loop is not None:
            # In the same change: a thread that feeds would else have its audio written before.
            session.writer.open_later(partial(self._opened, action, loop))

    def _check_recording(self, identity: Identity) -> None:
        self._check_open("recordings")
        self._recordings.check_control_id(identity.control_id)

    def _check_audio(self) -> None:
        self._check_open("audio")

    def _check_time(self) -> None:
        self._check_open("time")

    def _check_digits(self) -> None:
        self._check_open("digits")

    def _check_open(self, what: str) -> None:
        if self._ended:
            raise CallEndedError(f"call {self.call_id!r} {self._ended}: it takes no {what}")

    def _opened(
        self,
        action: RecordAction,
        loop: "asyncio.AbstractEventLoop | None",
        error: FileError | None,
    ) -> None:
        """The file is open, or, of a recording that began in an event loop, cannot be."""
        if error is None:
            action._session.opened()
            action._opened.set()
            return
        refuse = partial(ERRANDS.lane().put, partial(self._refuse, action, error))
        try:
            assert loop is not None
            # By then, whoever awaits the action has begun to.
            loop.call_soon_threadsafe(loop.call_soon, refuse)
        except RuntimeError:  # the loop is closed
            refuse()

    def _refuse(self, action: RecordAction, error: FileError) -> None:
        """End a recording whose file cannot be opened, as if it had not begun if it is awaited."""
        self._turns.do(self._recordings.remove, action._session, postponed=None)
        if action._is_awaited:
            self._forget(action)
            action._refuse(error)
        elif not action.is_done:
            action._error = error
            action._opened.set()
            action._session.refuse(error)

    # -- commands --------------------------------------------------------------------------

    def _command(
        self, action: RecordAction, name: "CommandName", behavior: "PauseBehavior" = "skip"
    ) -> Acknowledgement:
        work = self._recordings.command
        if self._turns.do(work, action._session, name, behavior, postponed=True):
            return self._acknowledge(action.control_id, "200", f"{name} done")
        return self._acknowledge(action.control_id, "404", "the recording has ended")

    def _acknowledge(self, control_id: str, code: str, message: str) -> Acknowledgement:
        return Acknowledgement(
            code=code, message=message, call_id=self.call_id, control_id=control_id
        )

    def hangup(self, reason: str = "hangup") -> Acknowledgement:
        """End the call, and as `finished` every recording that runs. Once is enough.

        `reason` is logged. Does not wait for the files: `RecordAction.wait` and `join` do, and
        leaving the call's `with` block. OptionError for a reason that is no string.
        """
        if not isinstance(reason, str):
            raise OptionError(f"reason: expected a string, got {shown(reason)}")
        self._turns.do(self._hang_up, reason, postponed=None)
        return self._acknowledge("", "200", "hangup done")

    def _hang_up(self, reason: str) -> None:
        if not self._ended:
            self._ended = "was hung up"
            _LOG.info("call %r ends: %s", self.call_id, reason)
            lifecycle.TICKER.remove(self)
        self._recordings.hang_up()
        if not self._actions:
            lifecycle.release(self)

    def _judge(self) -> None:
        self._recordings.judge()

    # -- events ----------------------------------------------------------------------------

    def on(
        self,
        event_type: Literal["calling.call.record", "voice", "digit", "publishing"],
        handler: Handler,
        *,
        input_sensitivity: float = 44.0,
    ) -> None:
        """Call a function or coroutine function with every event of a type from now on.

        - "calling.call.record": a RecordEvent whenever a recording of the call changes.
        - "voice": a VoiceEvent when voice begins or ends on a leg; `input_sensitivity` S puts its
          gate at -S dBFS.
        - "digit": a DigitEvent for each key that the party presses.
        - "publishing": a PublishingEvent when a file is about to be stored, and when a file or an
          event could not be sent at once.

        OptionError for another type, handler or sensitivity.
        """
        if event_type not in _EVENT_TYPES:
            expected = ", ".join(_EVENT_TYPES)
            raise OptionError(f"event_type: expected one of {expected}, got {shown(event_type)}")
        sensitivity = check_number("input_sensitivity", input_sensitivity, 100)
        subscription = Subscription(handler)
        if event_type == VOICE_EVENT:
            report = self._reports.voice_to(subscription)
            self._turns.do(self._recordings.watch, report, sensitivity, postponed=None)
        else:
            self._reports.subscribe(event_type, subscription)

    def _delivered(self, action: RecordAction) -> None:
        """The handlers of a recording's terminal event were called."""
        self._forget(action)
        action._delivered.set()

    def _forget(self, action: RecordAction) -> None:
        self._actions.pop(action.recording_id, None)
        if not self._actions and (self._ended or not self._legs.is_live):
            lifecycle.release(self)

    def _fail(self, session: Session) -> None:
        """The file of a recording cannot be written any more."""
        self._turns.do(self._recordings.fail, session, postponed=None)

    # -- for the life cycle ----------------------------------------------------------------

    def tick(self) -> None:
        """Let a live call's time pass; whoever holds the lock just now does so, too."""
        lock = self._turns.lock
        if not self._ended and lock.acquire(blocking=False):
            try:
                self._turns.do(self._legs.tick, postponed=None)
            finally:
                lock.release()

    def at_exit(self) -> None:
        """Hang up at exit, where nobody has."""
        self.hangup("exit")

    def renew_lock(self) -> None:
        """After a fork: threads that held it are not here."""
        self._turns.renew()

    def leave_to_parent(self) -> None:
        """After a fork: the recordings, their files and their threads are the parent's."""
        self.renew_lock()
        self._ended = "belongs to the process that this one was forked from"
        self._legs.close()
        error = CallEndedError(f"call {self.call_id!r} {self._ended}: nothing is reported here")
        for action in self._actions.values():
            action._leave_to_parent(error)
        self._recordings.leave_to_parent()
        self._actions = {}
