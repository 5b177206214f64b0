# SPDX-License-Identifier: MIT
"""Programs on SignalWire's SDK, one for each call; run as a program of its own.

The first byte of a call's id is the number of its program. Each prints a line of JSON.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

NO_LIMITS = {"initial_timeout": 0, "end_silence_timeout": 0, "terminators": ""}
Found = dict[str, Any]


def summary(event: Any) -> Found:
    return {"state": event.params.get("state"), **event.params.get("record", {})}


async def pauses(call: Any) -> Found:
    states: list[str] = []
    call.on("calling.call.record", lambda event: states.append(event.params["state"]))
    action = await call.record(audio=NO_LIMITS)
    await asyncio.sleep(0.5)
    await action.pause()
    await action.pause()
    await asyncio.sleep(0.5)
    await action.resume()
    await asyncio.sleep(0.5)
    await action.stop()
    event = await action.wait()
    await action.stop()
    return {"states": states, **summary(event)}


async def two_at_once(call: Any) -> Found:
    one = await call.record(audio=NO_LIMITS)
    other = await call.record(
        audio={**NO_LIMITS, "direction": "both", "stereo": True, "format": "mp3"}
    )
    await asyncio.sleep(1)
    await one.stop()
    await asyncio.sleep(0.5)
    await other.stop()
    return {"one": summary(await one.wait()), "other": summary(await other.wait())}


async def wrong_option(call: Any) -> Found:
    try:
        await call.record(audio={"beeep": True})
    except Exception as error:
        await asyncio.sleep(1)  # a call that was taken lasts longer than one that is refused
        return {"error": str(error)}
    return {}


async def same_control_id(call: Any) -> Found:
    action = await call.record(audio=NO_LIMITS, control_id="mine")
    try:
        await call.record(audio=NO_LIMITS, control_id="mine")
    except Exception as error:
        # The SDK has forgotten the first one, too.
        ended = asyncio.create_task(
            call.wait_for("calling.call.record", lambda event: event.params["state"] == "finished")
        )
        await asyncio.sleep(1)
        await action.stop()
        return {"error": str(error), **summary(await ended)}
    return {}


async def hangs_up(call: Any) -> Found:
    action = await call.record(audio=NO_LIMITS)
    play = await call.play([{"type": "silence", "duration": 60}])
    event = await action.wait()
    ended = await call.wait_for_ended()
    return {**summary(event), "ended": ended.params["end_reason"], "is_done": play.is_done}


async def behind_a_prompt(call: Any) -> Found:
    await call.play([{"type": "silence", "duration": 12}])
    begun = time.monotonic()
    action = await call.record(audio={"beep": True, "initial_timeout": 1})
    answered = time.monotonic() - begun
    event = await action.wait()
    return {"answered": answered, "took": time.monotonic() - begun, **summary(event)}


async def no_input(call: Any) -> Found:
    action = await call.record(audio={"initial_timeout": 1})
    return summary(await action.wait())


async def pin(call: Any) -> Found:
    recording = await call.record(audio={**NO_LIMITS, "mask_digits": True})
    action = await call.play_and_collect(
        [{"type": "silence", "duration": 30}],
        {"digits": {"max": 4, "terminators": "#", "digit_timeout": 5}, "initial_timeout": 5},
    )
    collected = await action.wait()
    await recording.stop()
    return {"collected": collected.params["result"], **summary(await recording.wait())}


async def many(call: Any) -> Found:
    action = await call.record(audio={**NO_LIMITS, "max_length": 0.5})
    return summary(await action.wait())


async def until_hash(call: Any) -> Found:
    action = await call.record(audio={**NO_LIMITS, "terminators": "#"})
    print("begun", flush=True)
    return summary(await action.wait())


async def plays(call: Any) -> Found:
    url = os.environ.get("AUDIO", "file:none.wav")
    states: list[str] = []
    call.on("calling.call.play", lambda event: states.append(event.params["state"]))
    found = await (await call.play_audio(url)).wait()
    missing = await (await call.play_audio("file:../none.wav")).wait()
    action = await call.play_silence(60)
    await action.pause()
    await action.resume()
    await action.volume(-3)
    await action.stop()
    await action.wait()
    detecting = await call.detect_digit(digits="5")
    await call.send_digits("12")
    digit = await detecting.wait()
    return {
        "found": found.params["state"],
        "missing": missing.params,
        "states": states,
        "digit": digit.params["detect"]["params"]["event"],
    }


async def full_disk(call: Any) -> Found:
    states: list[str] = []
    call.on("calling.call.record", lambda event: states.append(event.params["state"]))
    action = await call.record(audio=NO_LIMITS)
    event = await action.wait()
    return {"states": states, **summary(event)}


PROGRAMS: list[Callable[[Any], Awaitable[Found]]] = [
    *(pauses, two_at_once, wrong_option, same_control_id, hangs_up, behind_a_prompt, no_input),
    *(pin, many, until_hash, plays, full_disk),
]


async def handle_call(call: Any) -> None:
    await call.answer()
    program = PROGRAMS[int(call.call_id[:2], 16)]
    try:
        found = await program(call)
    except Exception as error:
        found = {"failed": repr(error)}
    print(json.dumps({"call_id": call.call_id, **found}), flush=True)
    await call.hangup()


if __name__ == "__main__":
    from signalwire.relay import RelayClient

    client = RelayClient(
        project=os.environ["PROJECT"],
        token=os.environ["TOKEN"],
        host=os.environ["HOST"],
        contexts=["default"],
    )
    client.on_call(handle_call)
    client.run()
