# SPDX-License-Identifier: MIT
"""Where the audio and the presses of one direction's RTP packets belong."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from recorder.errors import WireError
from recorder.placement.frames import SAMPLE_BYTES
from recorder.sources.codecs import ByteOrder, Codec, codecs
from recorder.sources.reordering import Arrival
from recorder.sources.rtp_packets import is_rtcp, parse
from recorder.sources.rtp_streams import RtpStream
from recorder.sources.telephone_event import TelephoneEvents, check

_LOG: Final = logging.getLogger("recorder")
_MOST_STREAMS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Native 16-bit PCM at the receiver's `sample_rate`; where it begins."""

    position: int
    pcm: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A key; where it was pressed."""

    position: int
    digit: str


class RtpReceiver:
    """Places the audio and the presses of one direction's packets.

    - `sample_rate`: of the audio, in Hz. Payloads that have another one are not decoded.
    - `position_rate`: positions are in samples at this rate; `sample_rate` when not given.
    - `payload_types`: the rtpmaps of an SDP, such as {101: "telephone-event/8000"}. Types 0, 8, 9,
      10 and 11 need none.
    - `byte_order`: of L16. RFC 3551 says "big"; some senders do otherwise.

    A stream begins where its first packet arrived, but not before the end of what was there, and
    then follows its timestamps. It begins anew where the SSRC or the codec changes, and where
    timestamps leave a gap and are more than a second off the time of arrival. What does not come is
    a gap between positions; what comes twice is left out. A type that is not decoded is logged as a
    warning, once.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        position_rate: int | None = None,
        payload_types: Mapping[int, str] | None = None,
        byte_order: ByteOrder = "big",
    ) -> None:
        self._sample_rate = sample_rate
        self._rate = position_rate or sample_rate
        self._codecs = codecs(payload_types, byte_order)
        self._events = TelephoneEvents()
        self._streams: OrderedDict[int, RtpStream] = OrderedDict()  # by SSRC
        self._current: RtpStream | None = None
        self._end = 0
        self._reported: set[int] = set()

    def receive(self, packet: bytes, seconds: float) -> list[Audio | Press]:
        """Take a packet, which arrived `seconds` after position 0; return what it settles.

        RTCP gives nothing. WireError for what is neither; nothing has been taken then.
        """
        if is_rtcp(packet):
            return []
        parsed = parse(packet)
        codec = self._codecs.get(parsed.payload_type)
        if codec is not None and codec.is_event:
            check(parsed.payload)
        elif codec is not None and len(parsed.payload) % codec.unit:
            raise WireError(f"RTP: {codec.name} ends in mid-sample")
        stream = self._streams.get(parsed.ssrc)
        if stream is None:
            stream = self._streams[parsed.ssrc] = RtpStream(self._rate)
            if len(self._streams) > _MOST_STREAMS:
                self._streams.popitem(last=False)
        found = self._ordered(stream, stream.window.put(Arrival(parsed, seconds)))
        if len(self._streams) > 1:
            self._streams.move_to_end(parsed.ssrc)
            found += self.advance(seconds)
        return found

    def advance(self, seconds: float) -> list[Audio | Press]:
        """Return what has waited long enough for a packet by then."""
        found: list[Audio | Press] = []
        for stream in tuple(self._streams.values()):
            found += self._ordered(stream, stream.window.release(seconds))
        return found

    def finish(self) -> list[Audio | Press]:
        """No packet is to come: return what waited for one."""
        streams = sorted(self._streams.values(), key=lambda one: one is not self._current)
        return [found for one in streams for found in self._placed(one, one.window.flush())]

    def _ordered(self, stream: RtpStream, arrivals: list[Arrival]) -> list[Audio | Press]:
        """Place a stream's packets; before its first ones, what still waits of the one before."""
        found: list[Audio | Press] = []
        if arrivals and stream is not self._current:
            if self._current is not None:
                found += self._placed(self._current, self._current.window.flush())
            self._current = stream
        found += self._placed(stream, arrivals)
        return found

    def _placed(self, stream: RtpStream, arrivals: list[Arrival]) -> Iterator[Audio | Press]:
        for arrival in arrivals:
            packet = arrival.packet
            codec = self._codecs.get(packet.payload_type)
            if codec is not None and codec.is_event:
                position = stream.locate_press(arrival, codec, self._end)
                digit = self._events.press(packet.ssrc, packet.timestamp, packet.payload)
                if digit is not None:
                    yield Press(position=position, digit=digit)
            elif codec is None or not self._fits(codec):
                self._report(packet.payload_type, codec)
            else:
                pcm = stream.decoder(packet.payload_type, codec)(packet.payload)
                n = len(pcm) // SAMPLE_BYTES * self._rate // self._sample_rate
                position = stream.locate(arrival, codec, n, self._end)
                self._end = max(self._end, position + n)
                if position >= 0 and pcm:
                    yield Audio(position=position, pcm=pcm)

    def _fits(self, codec: Codec) -> bool:
        return codec.is_decoded and codec.sample_rate == self._sample_rate

    def _report(self, payload_type: int, codec: Codec | None) -> None:
        if payload_type in self._reported or (codec is not None and codec.name == "CN"):
            return
        self._reported.add(payload_type)
        if codec is None:
            why = "is not decoded: give its rtpmap in payload_types"
        elif codec.is_decoded:
            why = (
                f"({codec.name}) has {codec.sample_rate} Hz, and the leg {self._sample_rate} Hz:"
                f" it is not decoded"
            )
        elif codec.name == "G722":
            why = "(G722) needs a decoder: pip install 'recorder-telephony[g722]'"
        else:
            why = f"({codec.name}) is not decoded"
        _LOG.warning("RTP payload type %d %s", payload_type, why)
