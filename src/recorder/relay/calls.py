# SPDX-License-Identifier: MIT
"""One call of a client: RELAY's verbs carried out on a Call, and what becomes of them as events."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from recorder.errors import CallEndedError, ControlIdError, FileError
from recorder.relay import schema
from recorder.relay.collecting import Collection, CollectState, Detection
from recorder.relay.playing import Piece, Player, PlayState
from recorder.relay.schema import Params, Refusal
from recorder.relay.tones import tones

if TYPE_CHECKING:
    from recorder.action import RecordAction
    from recorder.call import Call
    from recorder.events import DigitEvent, RecordEvent
    from recorder.recording.state import PauseBehavior

Emit = Callable[[str, Params], None]
Answer = Callable[["Params | Refusal"], None]

_MOST_ACTIONS: Final = 100  # of one call at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a call needs of its server.

    - `post`: calls a function soon, where all of this runs; from any thread.
    - `produce`: makes the PCM of media at a rate, in the background, and calls what it is given
      with it, or with what went wrong.
    - `opening`: calls what it is given once a recording's file is open, with None, or cannot be,
      with the error. Where that takes long it does so with None first.
    """

    post: Callable[[Callable[[], None]], None]
    produce: Callable[[tuple[schema.Media, ...], int, Callable[[bytes | str], None]], None]
    opening: Callable[["RecordAction", Callable[[FileError | None], None]], None]


@dataclass(slots=True, kw_only=True)
class _Pending:
    """A recording whose beep waits for what plays before it."""

    request: schema.RecordRequest
    begin: Callable[[], None]
    behavior: "PauseBehavior | None" = None  # paused meanwhile


class RelayCall:
    """A call, from its offer to a client to `ended`.

    - `rate`: of its listen leg.
    - `context`, `project`: stand in its offer.
    - `emit`: called with each event.
    - `hang_up`: ends the media, after which `hung_up` is to be called.
    - `on_ended`: called once, after the last event.
    """

    def __init__(
        self,
        call: "Call",
        rate: int,
        surroundings: Surroundings,
        *,
        context: str,
        project: str,
        emit: Emit,
        hang_up: Callable[[], None],
        on_ended: Callable[["RelayCall"], None],
    ) -> None:
        self.call_id = call.call_id
        self.is_taken = False  # a client has done something with it
        self.offered_to: set[str] = set()  # the sessions that may know of it
        self.emit_to = emit
        self._context = context
        self._project = project
        self._call = call
        self._rate = rate
        self._around = surroundings
        self._hang_up = hang_up
        self._on_ended = on_ended
        self._state = "created"
        self._end_reason = "hangup"
        self._is_over = False  # the media have ended
        self._player = Player(call, rate)
        self._pieces: dict[str, Piece] = {}
        self._recordings: dict[str, RecordAction] = {}  # by recording_id, until their last event
        self._pending: dict[str, _Pending] = {}
        self._collections: dict[str, Collection] = {}
        self._detections: dict[str, Detection] = {}
        self._hears_digits = False
        call.on(schema.RECORD_EVENT, self._on_recording)

    # -- the verbs -----------------------------------------------------------------------------

    def do(self, verb: str, params: Params, answer: Answer) -> None:
        """Carry out a verb; `answer` is called, as a rule at once, with the answer."""
        self.is_taken = True
        if self._is_over:
            answer(Refusal(404, "the call has ended"))
            return
        try:
            VERBS[verb](self, params, answer)
        except Refusal as refusal:
            answer(refusal)
        except CallEndedError as error:
            answer(Refusal(404, str(error)))

    def _done(self, message: str = "ok", control: str = "") -> Params:
        found = {"code": "200", "message": message, "call_id": self.call_id}
        return found | ({"control_id": control} if control else {})

    def _check_room(self) -> None:
        running = len(self._pieces) + len(self._recordings) + len(self._pending)
        if running + len(self._followers()) >= _MOST_ACTIONS:
            raise Refusal(429, f"expected at most {_MOST_ACTIONS} actions of a call at once")

    def _answer(self, params: Params, answer: Answer) -> None:
        del params
        if self._state == "created":
            self._become("answered")
        answer(self._done())

    def _end(self, params: Params, answer: Answer) -> None:
        self._end_reason = schema.end_reason(params)
        answer(self._done())
        self._around.post(self._hang_up)

    def _pass(self, params: Params, answer: Answer) -> None:
        self._end({**params, "reason": "decline"}, answer)

    # -- recordings ----------------------------------------------------------------------------

    def _record(self, params: Params, answer: Answer) -> None:
        request = schema.record_request(params)
        control = request.control_id
        self._check_room()
        if control in self._pending:
            raise Refusal(409, f"control_id {control!r} belongs to a running recording")
        if not request.options.beep or not self._player.is_waiting:
            self._begin(request, partial(self._opened, control, answer))
            return
        if self._call.action(control) is not None:
            raise Refusal(409, f"control_id {control!r} belongs to a running recording")
        # What plays is not there yet, and the beep comes behind it: begin later, but answer now.
        begin = partial(self._begin_pending, control)
        self._pending[control] = _Pending(request=request, begin=begin)
        answer(self._done(control=control))
        self._player.then(begin)

    def _begin(
        self, request: schema.RecordRequest, opened: "Callable[[FileError | None], None]"
    ) -> "RecordAction":
        try:
            action = self._call.record(request.options, control_id=request.control_id)
        except ControlIdError as error:
            raise Refusal(409, str(error)) from None
        except FileError as error:
            raise Refusal(500, str(error)) from None
        self._recordings[action.recording_id] = action
        has_opened = False

        def once_open(error: FileError | None) -> None:
            nonlocal has_opened
            if error is not None:
                self._recordings.pop(action.recording_id, None)
            if not has_opened:
                has_opened = True
                opened(error)
            elif error is not None:
                self._fail(request.control_id, str(error))
            if error is not None:
                self._end_if_over()

        self._around.opening(action, once_open)
        return action

    def _opened(self, control: str, answer: Answer, error: FileError | None) -> None:
        if error is None:
            answer(self._done(control=control))
        else:
            answer(Refusal(500, str(error)))

    def _begin_pending(self, control: str) -> None:
        pending = self._pending.pop(control)

        def opened(error: FileError | None) -> None:
            if error is not None:
                self._fail(control, str(error))

        try:
            action = self._begin(pending.request, opened)
        except Refusal as refusal:
            self._fail(control, refusal.message)
        except CallEndedError:
            self._drop(control, "hangup")
        else:
            if pending.behavior is not None:
                action.pause(pending.behavior)

    def _fail(self, control: str, why: str) -> None:
        """A recording that was answered for has failed before any event."""
        params = schema.never_begun(control, "error", why)
        self._emit(schema.RECORD_EVENT, {**params, "state": "error"})
        self._emit(schema.RECORD_EVENT, {**params, "state": "no_input"})

    def _drop(self, control: str, reason: str) -> None:
        """A recording ends that has not begun."""
        params = schema.never_begun(control, reason, "")
        self._emit(schema.RECORD_EVENT, {**params, "state": "no_input"})

    def _on_recording(self, event: "RecordEvent") -> None:
        self._around.post(partial(self._take_event, event))

    def _take_event(self, event: "RecordEvent") -> None:
        self._emit(schema.RECORD_EVENT, event.params)
        if event.reason is None:
            return
        if event.state == "error":
            self._emit(schema.RECORD_EVENT, schema.failed_as_no_input(event.params))
        self._recordings.pop(event.recording_id, None)
        self._end_if_over()

    def _stop_recording(self, params: Params, answer: Answer) -> None:
        control = schema.control_id(params)
        pending = self._pending.pop(control, None)
        if pending is not None:
            self._player.forget(pending.begin)
            answer(self._done("stop done", control))
            self._drop(control, "stopped")
        else:
            answer(dict(self._running(control).stop()))

    def _pause_recording(self, params: Params, answer: Answer) -> None:
        control, behavior = schema.control_id(params), schema.behavior(params)
        pending = self._pending.get(control)
        if pending is not None:
            pending.behavior = behavior or "skip"
            answer(self._done("pause done", control))
        else:
            answer(dict(self._running(control).pause(behavior)))

    def _resume_recording(self, params: Params, answer: Answer) -> None:
        control = schema.control_id(params)
        pending = self._pending.get(control)
        if pending is not None:
            pending.behavior = None
            answer(self._done("resume done", control))
        else:
            answer(dict(self._running(control).resume()))

    def _running(self, control: str) -> "RecordAction":
        action = self._call.action(control)
        if action is None:
            raise Refusal(404, "the recording has ended")
        return action

    # -- what plays ----------------------------------------------------------------------------

    def _play(self, params: Params, answer: Answer) -> None:
        request = schema.play_request(params)
        self._check_piece(request.control_id)
        answer(self._done(control=request.control_id))
        self._add(request, lambda: None)

    def _check_piece(self, control: str) -> None:
        self._check_room()
        if control in self._pieces:
            raise Refusal(409, f"control_id {control!r} belongs to what is playing")

    def _add(self, request: schema.PlayRequest, finished: Callable[[], None]) -> None:
        control = request.control_id

        def report(state: PlayState) -> None:
            has_ended = state in {"finished", "error"}
            if has_ended:
                del self._pieces[control]
            why = {"error": piece.why} if state == "error" else {}
            params = {"control_id": control, "state": state, **why}
            self._emit(schema.PLAY_EVENT, params)
            if has_ended:
                finished()

        piece = Piece(report, loop=request.loop, volume=request.volume)
        self._pieces[control] = piece
        self._player.add(piece, partial(self._produce, request))

    def _produce(self, request: schema.PlayRequest, take: Callable[[bytes | str], None]) -> None:
        def took(made: bytes | str) -> None:
            most = schema.MOST_PLAY_SECONDS
            if isinstance(made, bytes) and len(made) * request.loop > most * self._rate * 2:
                made = f"expected at most {most:g} seconds of audio"
            take(made)

        if all(one.kind == "silence" for one in request.media):
            samples = sum(round(one.seconds * self._rate) for one in request.media)
            took(bytes(2 * samples))
        else:
            post = self._around.post
            self._around.produce(request.media, self._rate, lambda made: post(partial(took, made)))

    def _piece(self, params: Params) -> tuple[str, Piece]:
        control = schema.control_id(params)
        piece = self._pieces.get(control)
        if piece is None:
            raise Refusal(404, "it has been played")
        return control, piece

    def _stop_playing(self, params: Params, answer: Answer) -> None:
        control, piece = self._piece(params)
        answer(self._done("stop done", control))
        self._player.stop(piece)

    def _pause_playing(self, params: Params, answer: Answer) -> None:
        control, piece = self._piece(params)
        answer(self._done("pause done", control))
        self._player.pause(piece)

    def _resume_playing(self, params: Params, answer: Answer) -> None:
        control, piece = self._piece(params)
        answer(self._done("resume done", control))
        self._player.resume(piece)

    def _change_volume(self, params: Params, answer: Answer) -> None:
        control, piece = self._piece(params)
        volume = schema.volume(params)
        answer(self._done("volume done", control))
        self._player.change_volume(piece, volume)

    # -- digits --------------------------------------------------------------------------------

    def _send_digits(self, params: Params, answer: Answer) -> None:
        control = schema.control_id(params)
        pcm = tones(schema.digits_to_send(params), self._rate)
        self._check_piece(control)
        answer(self._done(control=control))

        def report(state: PlayState) -> None:
            if state == "finished":
                del self._pieces[control]
                self._emit(schema.DIGITS_EVENT, {"control_id": control, "state": state})

        piece = self._pieces[control] = Piece(report, loop=1, volume=0.0)
        self._player.add(piece, lambda take: take(pcm))

    def _collect(self, params: Params, answer: Answer) -> None:
        request = schema.collect_request(params)
        self._check_collection(request.control_id)
        answer(self._done(control=request.control_id))
        collection = self._add_collection(request, lambda: None)
        if request.starts_timers:
            collection.start_timers(self._call.position)

    def _play_and_collect(self, params: Params, answer: Answer) -> None:
        playing = schema.play_request(params, also=("collect",))
        request = schema.collect_request(params, is_standalone=False)
        control = request.control_id
        self._check_collection(control)
        self._check_piece(control)
        answer(self._done(control=control))
        collection = self._add_collection(request, partial(self._hush, control))

        def finished() -> None:
            if request.starts_timers and not collection.is_done:
                collection.start_timers(self._call.position)

        self._add(playing, finished)

    def _check_collection(self, control: str) -> None:
        self._check_room()
        if control in self._collections:
            raise Refusal(409, f"control_id {control!r} belongs to a running collect")

    def _add_collection(
        self, request: schema.CollectRequest, began: Callable[[], None]
    ) -> Collection:
        control = request.control_id

        def report(state: CollectState, result: dict[str, object]) -> None:
            del self._collections[control]
            began()
            params = {"control_id": control, "state": state, "final": True, "result": result}
            self._emit(schema.COLLECT_EVENT, params)

        self._hear_digits()
        found = Collection(request, self._call.sample_rate, report)
        self._collections[control] = found
        return found

    def _hush(self, control: str) -> None:
        """Play no more of a prompt whose answer has come."""
        piece = self._pieces.get(control)
        if piece is not None and not self._is_over:
            self._player.stop(piece)

    def _stop_collecting(self, params: Params, answer: Answer) -> None:
        control = schema.control_id(params)
        collection = self._collection(control)
        answer(self._done("stop done", control))
        collection.stop()

    def _start_timers(self, params: Params, answer: Answer) -> None:
        control = schema.control_id(params)
        self._collection(control).start_timers(self._call.position)
        answer(self._done(control=control))

    def _collection(self, control: str) -> Collection:
        found = self._collections.get(control)
        if found is None:
            raise Refusal(404, "the collect has ended")
        return found

    def _detect(self, params: Params, answer: Answer) -> None:
        request = schema.detect_request(params)
        control = request.control_id
        self._check_room()
        if control in self._detections:
            raise Refusal(409, f"control_id {control!r} belongs to a running detect")
        answer(self._done(control=control))

        def report(event: str) -> None:
            if event == "finished":
                del self._detections[control]
            found = {"type": "digit", "params": {"event": event}}
            last = {"state": "finished"} if event == "finished" else {}
            self._emit(schema.DETECT_EVENT, {"control_id": control, "detect": found, **last})

        self._hear_digits()
        self._detections[control] = Detection(
            request, self._call.sample_rate, self._call.position, report
        )

    def _stop_detecting(self, params: Params, answer: Answer) -> None:
        control = schema.control_id(params)
        detection = self._detections.get(control)
        if detection is None:
            raise Refusal(404, "the detect has ended")
        answer(self._done("stop done", control))
        detection.stop()

    def _followers(self) -> list[Collection | Detection]:
        """Those that wait for digits."""
        return [*self._collections.values(), *self._detections.values()]

    def _hear_digits(self) -> None:
        if not self._hears_digits:
            self._hears_digits = True
            self._call.on("digit", self._on_digit)

    def _on_digit(self, event: "DigitEvent") -> None:
        self._around.post(partial(self._press, event.digit, event.position))

    def _press(self, digit: str, position: int) -> None:
        if self._is_over:
            return
        for control in [*self._collections]:
            self._hush(control)
        for one in self._followers():
            one.press(digit, position)

    # -- time, and the end -----------------------------------------------------------------------

    def tick(self) -> None:
        """Every 100 ms or so: report what has happened on the call since."""
        if self._is_over:
            return
        self._player.tick()
        position = self._call.position
        for one in self._followers():
            one.tick(position)

    def hang_up(self) -> None:
        """End the call from here."""
        self._around.post(self._hang_up)

    def hung_up(self) -> None:
        """The media have ended. What runs is ended, and once all is reported, the call."""
        if self._is_over:
            return
        self._is_over = True
        for one in self._followers():
            one.fail()
        self._player.end()
        for control in [*self._pending]:
            del self._pending[control]
            self._drop(control, "hangup")
        # Behind the events of recordings that were delivered, and have not come here yet.
        self._around.post(self._end_if_over)

    def _end_if_over(self) -> None:
        # A recording's last event may be late, as when its disk is slow: clients would not take it
        # behind `ended`.
        if self._is_over and not self._recordings and self._state != "ended":
            self._become("ending")
            self._become("ended")
            self._on_ended(self)

    def _become(self, state: str) -> None:
        self._state = state
        params = self._described(state)
        if state == "ended":
            params["end_reason"] = self._end_reason
        self._emit(schema.STATE_EVENT, params)

    def offer(self) -> None:
        """Report the call to the client that it was given to."""
        self._emit(
            schema.RECEIVE_EVENT,
            {
                **self._described("created"),
                "context": self._context,
                "tag": "",
                "segment_id": self.call_id,
                "project_id": self._project,
            },
        )

    def leave(self) -> None:
        """Report its end to a client that may have had the offer, before another one has it."""
        for state in ("ending", "ended"):
            reason = {"end_reason": "cancel"} if state == "ended" else {}
            self._emit(schema.STATE_EVENT, {**self._described(state), **reason})

    def _described(self, state: str) -> Params:
        numbers = {"from_number": "", "to_number": ""}
        device = {"type": "phone", "params": numbers}
        return {"call_state": state, "direction": "inbound", "device": device}

    def _emit(self, event_type: str, params: Params) -> None:
        about = {"call_id": self.call_id, "node_id": self._call.node_id}
        self.emit_to(event_type, schema.stamped({**about, **params}))


VERBS: Final[dict[str, Callable[[RelayCall, Params, Answer], None]]] = {
    "answer": RelayCall._answer,
    "end": RelayCall._end,
    "pass": RelayCall._pass,
    "record": RelayCall._record,
    "record.stop": RelayCall._stop_recording,
    "record.pause": RelayCall._pause_recording,
    "record.resume": RelayCall._resume_recording,
    "play": RelayCall._play,
    "play.stop": RelayCall._stop_playing,
    "play.pause": RelayCall._pause_playing,
    "play.resume": RelayCall._resume_playing,
    "play.volume": RelayCall._change_volume,
    "send_digits": RelayCall._send_digits,
    "detect": RelayCall._detect,
    "detect.stop": RelayCall._stop_detecting,
    "collect": RelayCall._collect,
    "collect.stop": RelayCall._stop_collecting,
    "collect.start_input_timers": RelayCall._start_timers,
    "play_and_collect": RelayCall._play_and_collect,
    "play_and_collect.stop": RelayCall._stop_collecting,
    "play_and_collect.pause": RelayCall._pause_playing,
    "play_and_collect.resume": RelayCall._resume_playing,
    "play_and_collect.volume": RelayCall._change_volume,
}
