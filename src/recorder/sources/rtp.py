# SPDX-License-Identifier: MIT
"""RTP (RFC 3550): the packets of one direction feed a leg of a call."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from recorder.errors import OptionError, shown
from recorder.placement.frames import SAMPLE_BYTES
from recorder.sources.codecs import ByteOrder
from recorder.sources.rtp_packets import Packet, is_rtcp, parse
from recorder.sources.rtp_receiver import Audio, Press, RtpReceiver

if TYPE_CHECKING:
    from recorder.call import Call
    from recorder.placement.timeline import Leg

__all__ = ["Audio", "Packet", "Press", "RtpLeg", "RtpReceiver", "is_rtcp", "parse"]


class RtpLeg:
    """Feeds a leg of a call with the packets of one direction.

    `sample_rate` is that of the leg's frames, as given to `Call` as `speak_rate` or `listen_rate`;
    the call's when not given. The others are those of RtpReceiver. Presses count on the speak leg.

    A press lies at `call.position`. So the leg is silent up to where it was pressed first, if it is
    not there already; where the other leg is ahead, the press lies as much later. Give the packets
    of both legs in the order in which they arrived.
    """

    def __init__(
        self,
        call: "Call",
        leg: "Leg",
        *,
        sample_rate: int | None = None,
        payload_types: Mapping[int, str] | None = None,
        byte_order: ByteOrder = "big",
    ) -> None:
        if leg not in {"speak", "listen"}:
            raise OptionError(f"leg: expected speak or listen, got {shown(leg)}")
        self._call = call
        self._is_speak = leg == "speak"
        self._rate = sample_rate or call.sample_rate
        self._end = 0
        self._receiver = RtpReceiver(
            self._rate,
            position_rate=call.sample_rate,
            payload_types=payload_types,
            byte_order=byte_order,
        )

    def receive(self, packet: bytes, seconds: float) -> None:
        """Take a packet, which arrived `seconds` after the call's position 0.

        WireError for what is neither RTP nor RTCP, and nothing has been taken then. FrameError for
        audio more than an hour ahead of the call, CallEndedError after `hangup`.
        """
        self._take(self._receiver.receive(packet, seconds))

    def advance(self, seconds: float) -> None:
        """Let time pass without a packet: feed those that waited long enough for one.

        Where a leg may pause, a live server calls it every 20 ms, or with the other leg's packets.
        """
        self._take(self._receiver.advance(seconds))

    def finish(self) -> None:
        """No packet is to come: feed those that waited for one. Before `hangup`."""
        self._take(self._receiver.finish())

    def _take(self, settled: list[Audio | Press]) -> None:
        for one in settled:
            if isinstance(one, Audio):
                self._feed(one.pcm, one.position)
            elif self._is_speak:
                # 10 ms of silence that end there: before them is a gap, which is silence too.
                start = one.position - self._call.sample_rate // 100
                if start >= self._end:
                    self._feed(bytes(self._rate // 100 * SAMPLE_BYTES), start)
                self._call.digit(one.digit)

    def _feed(self, pcm: bytes, at: int) -> None:
        if self._is_speak:
            self._call.feed(speak=pcm, at=at)
        else:
            self._call.feed(listen=pcm, at=at)
        samples = len(pcm) // SAMPLE_BYTES
        self._end = max(self._end, at + samples * self._call.sample_rate // self._rate)
