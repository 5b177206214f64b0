# SPDX-License-Identifier: MIT
"""Captures as the input of the command."""

import io
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from recorder import FileError, OptionError
from recorder import detect as recorder_detect
from recorder.detection.core import g711_decode
from recorder.sources.capture import capture_legs
from recorder.sources.pcap import datagrams, is_capture
from tests import signals
from tests.captures import (
    ETHERNET,
    NULL,
    RAW,
    SLL,
    SLL2,
    Address,
    Frames,
    frame,
    ip_packet,
    pcap,
    pcapng,
    sip,
)
from tests.command import OFF, read, recorder
from tests.marks import mostly_slow
from tests.rtp_packets import decoded, event_payload, golden, packet
from tests.signals import Pcm

pytest.importorskip("dpkt")
pytest.importorskip("pcapng")

A: Final[Address] = ("10.0.0.1", 4000)
B: Final[Address] = ("10.0.0.2", 5000)
SPEAK = signals.noise(2, -20, seed=1)
LISTEN = signals.noise(2, -20, seed=2)
Sent = list[tuple[float, Address, Address, bytes]]


def ulaw(audio: Pcm) -> Pcm:
    """What is left of it after G.711."""
    return np.frombuffer(g711_decode(signals.g711(audio, "pcmu"), "pcmu"), np.int16)


def rtp(
    audio: Pcm, source: Address, destination: Address, *, start: float = 0.0, ssrc: int = 1
) -> Sent:
    data = signals.g711(audio, "pcmu")
    return [
        (
            start + at / 8000,
            source,
            destination,
            packet(0, at // 160, at, ssrc, data[at : at + 160]),
        )
        for at in range(0, len(data), 160)
    ]


def both(*, start: float = 0.5) -> Sent:
    """A call of two legs; the other one begins later."""
    return rtp(SPEAK, A, B) + rtp(LISTEN, B, A, start=start, ssrc=2)


def framed(sent: Sent, link: int = ETHERNET) -> Frames:
    ordered = sorted(sent, key=lambda one: one[0])
    return [(seconds, frame(link, ip_packet(a, b, data))) for seconds, a, b, data in ordered]


def write(folder: Path, sent: Sent) -> str:
    (folder / "call.pcap").write_bytes(pcap(framed(sent)))
    return "call.pcap"


def record(folder: Path, name: str, *options: str) -> Pcm:
    result = recorder("record", name, "--stereo", *OFF, *options, "-o", "o.wav", folder=folder)
    assert result.status == 0, result.err
    assert "warning" not in result.err
    return read(folder / "o.wav")


def stereo(speak: Pcm, listen: Pcm, *, later: float) -> Pcm:
    """Two legs, of which the second begins so many seconds later."""
    moved = np.concatenate([signals.silence(later), listen])
    whole = np.zeros((max(len(speak), len(moved)), 2), np.int16)
    whole[: len(speak), 0] = speak
    whole[: len(moved), 1] = moved
    return whole


EXPECTED = stereo(ulaw(SPEAK), ulaw(LISTEN), later=0.5)


# -- every kind of file and of link ----------------------------------------------------------------


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
def test_pcap(tmp_path: Path, order: str, nano: bool) -> None:
    (tmp_path / "x").write_bytes(pcap(framed(both()), order=order, nano=nano))
    assert np.array_equal(record(tmp_path, "x"), EXPECTED)


@pytest.mark.parametrize("order", "<>")
def test_pcapng_of_two_interfaces(tmp_path: Path, order: str) -> None:
    speak = [(at, ETHERNET, one) for at, one in framed(rtp(SPEAK, A, B))]
    listen = [(at, SLL2, one) for at, one in framed(rtp(LISTEN, B, A, start=0.5, ssrc=2), SLL2)]
    (tmp_path / "x.cap").write_bytes(pcapng(sorted(speak + listen), order=order))
    assert np.array_equal(record(tmp_path, "x.cap"), EXPECTED)


@pytest.mark.parametrize("link", [ETHERNET, RAW, SLL, SLL2, NULL])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("extra", ["none", "options", "tags"])
def test_links(link: int, version: int, extra: str) -> None:
    a, b = (A, B) if version == 4 else (("fd00::1", 4000), ("fd00::2", 5000))
    options = bytes([1] * 8) if extra == "options" and version == 4 else b""
    if extra == "options" and version == 6:
        options = bytes(8)
    tags = (0x88A8, 0x8100) if extra == "tags" and link in {ETHERNET, SLL, SLL2} else ()
    one = frame(link, ip_packet(a, b, b"payload", options=options), tags=tags)
    found = list(datagrams(io.BytesIO(pcap([(1.25, one)], link)), "x"))
    assert [(one.source, one.destination, one.payload) for one in found] == [(a, b, b"payload")]
    assert found[0].seconds == 10**9 + 1.25


@pytest.mark.parametrize(
    "other",
    [
        ip_packet(A, B, b"a fragment", fragment=0x2000),
        ip_packet(A, B, b"another one", fragment=0x0010),
        ip_packet(A, B, b"TCP", protocol=6),
        b"\x45" + bytes(8) + b"\x11" + bytes(30),
        b"\x50" + bytes(30),
        b"",
    ],
)
def test_what_is_no_whole_datagram_is_left_out(other: bytes) -> None:
    frames = [(0.0, other), (1.0, ip_packet(A, B, b"one"))]
    assert [one.payload for one in datagrams(io.BytesIO(pcap(frames, RAW)), "x")] == [b"one"]


def test_what_other_writers_write() -> None:
    """The same frames by dpkt's and python-pcapng's writers."""
    import dpkt
    import pcapng as library

    frames = framed(both())
    memory = io.BytesIO()
    writer = dpkt.pcap.Writer(memory, linktype=1)
    for seconds, one in frames:
        writer.writepkt(one, 10**9 + seconds)
    ours = list(datagrams(io.BytesIO(pcap(frames)), "x"))
    found = list(datagrams(io.BytesIO(memory.getvalue()), "x"))
    assert [one.payload for one in found] == [one.payload for one in ours]
    assert [one.seconds for one in found] == pytest.approx([one.seconds for one in ours], abs=1e-5)

    memory = io.BytesIO()
    section = library.blocks.SectionHeader()
    interface = section.new_member(library.blocks.InterfaceDescription, link_type=1, snaplen=0)
    del interface
    blocks = library.FileWriter(memory, section)
    for seconds, data in frames:
        block = section.new_member(library.blocks.EnhancedPacket)
        block.timestamp = 10**9 + seconds
        block.packet_data = data
        blocks.write_block(block)
    found = list(datagrams(io.BytesIO(memory.getvalue()), "x"))
    assert [one.payload for one in found] == [one.payload for one in ours]


def test_what_is_a_capture() -> None:
    assert is_capture(pcap([])[:4])
    assert is_capture(pcapng([])[:4])
    assert not any(map(is_capture, (b"", b"RIFF", b"\xa1\xb2", b"fLaC")))


HOST_A, HOST_B = (A[0], 5060), (B[0], 5060)


def dialog(
    name: str = "1",
    *,
    start: float = 0.0,
    caller: Address = A,
    callee: Address | None = B,
    rtpmaps: tuple[str, ...] = (),
) -> Sent:
    """An INVITE, and an answer unless the callee is None."""
    invite = sip("INVITE sip:b@x SIP/2.0", name, "t", "1 INVITE", audio=caller, rtpmaps=rtpmaps)
    sent: Sent = [(start, HOST_A, HOST_B, invite)]
    if callee is not None:
        ok = sip("SIP/2.0 200 OK", name, "t", "1 INVITE", audio=callee, rtpmaps=rtpmaps)
        sent.append((start + 0.1, HOST_B, HOST_A, ok))
    return sent


# -- whose RTP is which leg ------------------------------------------------------------------------


def test_without_sip_speak_is_whose_rtp_came_first(tmp_path: Path) -> None:
    sent = rtp(LISTEN, B, A, start=0.5, ssrc=2) + rtp(SPEAK, A, B, start=0.75)
    expected = stereo(ulaw(LISTEN), ulaw(SPEAK), later=0.25)
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), expected)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("offer", ["early", "late"])
def test_speak_is_who_sent_the_invite(tmp_path: Path, offer: str, compact: bool) -> None:
    """Though the other one's RTP came first."""
    early, late = (A, None) if offer == "early" else (None, A)
    messages = [
        sip("INVITE sip:b@x SIP/2.0", "1", "at", "1 INVITE", audio=early, compact=compact),
        sip("SIP/2.0 200 OK", "1", "at", "1 INVITE", audio=B, compact=compact),
        sip("ACK sip:b@x SIP/2.0", "1", "at", "1 ACK", audio=late, compact=compact),
        sip("BYE sip:b@x SIP/2.0", "1", "bt", "1 BYE", compact=compact),
    ]
    sent: Sent = []
    for at, by_caller, message in zip((0, 0.1, 0.2, 4), (1, 0, 1, 1), messages, strict=True):
        hosts = (HOST_A, HOST_B) if by_caller else (HOST_B, HOST_A)
        sent.append((at, *hosts, message))
    sent += rtp(LISTEN, B, A, start=0.25, ssrc=2) + rtp(SPEAK, A, B, start=0.5)
    expected = stereo(ulaw(LISTEN), ulaw(SPEAK), later=0.25)[:, ::-1]
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), expected)


def test_the_sdp_says_what_payload_types_mean(tmp_path: Path) -> None:
    sent = dialog(rtpmaps=("96 L16/16000",))
    wide = signals.noise(1, -20, 16000)
    for at in range(0, len(wide), 320):
        data = wide[at : at + 320].astype(">i2").tobytes()
        sent.append((0.2 + at / 16000, A, B, packet(96, at // 320, at, 1, data)))
    found = record(tmp_path, write(tmp_path, sent))
    assert np.array_equal(found[:, 0], wide)


def test_g722_by_sdp(tmp_path: Path) -> None:
    g722 = pytest.importorskip("G722")
    tone = signals.tone(1, -20, 16000, 1000)
    data = g722.G722(16000, 64000).encode(tone)
    sent = dialog(rtpmaps=("9 G722/8000",))
    for at in range(0, 8000, 160):
        sent.append((0.2 + at / 8000, A, B, packet(9, at // 160, at, 1, data[at : at + 160])))
    found = record(tmp_path, write(tmp_path, sent))
    assert len(found) == 16000
    noise = found[822:, 0].astype(float) - tone[800:-22]
    assert np.sqrt(np.mean(noise**2)) < 0.02 * tone.max()


def test_addresses_in_the_sdp_that_nobody_uses(tmp_path: Path) -> None:
    """Behind a NAT: the host that sent the INVITE is the caller."""
    sent = dialog(caller=("192.168.0.9", 9), callee=("192.168.0.9", 9))
    sent += rtp(LISTEN, B, A, start=0.25, ssrc=2) + rtp(SPEAK, A, B, start=0.5)
    expected = stereo(ulaw(LISTEN), ulaw(SPEAK), later=0.25)[:, ::-1]
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), expected)


def test_only_what_was_heard(tmp_path: Path) -> None:
    """SIP says that it is the listen leg: the other channel is silent."""
    sent = dialog(callee=None) + rtp(LISTEN, B, A, start=0.25)
    expected = stereo(np.zeros(0, np.int16), ulaw(LISTEN), later=0)
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), expected)


def test_one_direction(tmp_path: Path) -> None:
    write(tmp_path, rtp(SPEAK, A, B))
    result = recorder("record", "call.pcap", *OFF, "-o", "o.wav", folder=tmp_path)
    assert result.status == 0, result.err
    assert np.array_equal(read(tmp_path / "o.wav"), ulaw(SPEAK))


def test_the_two_directions_may_have_ports_of_their_own(tmp_path: Path) -> None:
    sent = rtp(SPEAK, A, B) + rtp(LISTEN, (B[0], 5010), (A[0], 4010), start=0.5)
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), EXPECTED)


@pytest.mark.parametrize("inside", ["10.0.0.9", "192.168.0.9"])
@pytest.mark.parametrize("is_egress", [False, True])
def test_what_a_relay_captured(tmp_path: Path, inside: str, is_egress: bool) -> None:
    """Like rtpengine: what two parties sent to two of its ports, or it sent them; raw IP."""
    relay = [("10.0.0.9", 30000), (inside, 30016)]
    flows = [(A, relay[0]), (B, relay[1])]
    if is_egress:
        flows = [(relay[0], A), (relay[1], B)]
    sent = rtp(SPEAK, *flows[0]) + rtp(LISTEN, *flows[1], start=0.5, ssrc=2)
    sent += [(1.0, A, (relay[0][0], 30001), b"\x80\xc8" + bytes(26))]  # RTCP
    (tmp_path / "call.pcap").write_bytes(pcap(framed(sent, RAW), RAW))
    assert np.array_equal(record(tmp_path, "call.pcap"), EXPECTED)


def test_what_two_parties_sent_one_after_another_is_no_call(tmp_path: Path) -> None:
    relay = ("10.0.0.9", 30000)
    sent = rtp(SPEAK, A, relay) + rtp(LISTEN[:8000], B, ("10.0.0.9", 30016), start=2.5, ssrc=2)
    write(tmp_path, sent)
    result = recorder("record", "call.pcap", *OFF, "-o", "o.wav", folder=tmp_path)
    assert "warning: call.pcap has 1 other call: only the longest one is read" in result.err
    assert np.array_equal(read(tmp_path / "o.wav"), ulaw(SPEAK))


def test_a_reinvite_moves_a_leg_to_another_port(tmp_path: Path) -> None:
    moved = ("10.0.0.3", 6000)
    invite = sip("INVITE sip:a@x SIP/2.0", "1", "u", "1 INVITE", audio=moved)
    ok = sip("SIP/2.0 200 OK", "1", "u", "1 INVITE", audio=A)
    sent = [*dialog(), (1.1, HOST_B, HOST_A, invite), (1.2, HOST_A, HOST_B, ok)]
    sent += rtp(SPEAK[:8000], A, B, start=0.25) + rtp(SPEAK[8000:], A, moved, start=1.25, ssrc=7)
    sent += rtp(LISTEN[:8000], B, A, start=0.25, ssrc=2)
    sent += rtp(LISTEN[8000:], moved, A, start=1.25, ssrc=3)
    expected = stereo(ulaw(SPEAK), ulaw(LISTEN), later=0)
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), expected)


def test_of_several_calls_the_longest(tmp_path: Path) -> None:
    others = [("10.0.1.1", 4000), ("10.0.1.2", 5000), ("10.0.1.3", 4000)]
    sent = (
        both() + rtp(SPEAK[:8000], others[0], others[1]) + rtp(SPEAK[:4000], others[2], others[1])
    )
    write(tmp_path, sent)
    result = recorder("record", "call.pcap", "--stereo", *OFF, "-o", "o.wav", folder=tmp_path)
    assert "warning: call.pcap has 2 other calls: only the longest one is read" in result.err
    assert np.array_equal(read(tmp_path / "o.wav"), EXPECTED)


def test_calls_that_use_the_same_ports_one_after_another(tmp_path: Path) -> None:
    sent = dialog("1") + dialog("2", start=10)
    sent += rtp(LISTEN[:8000], A, B, start=0.25)
    sent += [(10.25 + at, x, y, data) for at, x, y, data in both()]
    write(tmp_path, sent)
    result = recorder("record", "call.pcap", "--stereo", *OFF, "-o", "o.wav", folder=tmp_path)
    assert "warning: call.pcap has 1 other call: only the longest one is read" in result.err
    assert np.array_equal(read(tmp_path / "o.wav"), EXPECTED)


def test_what_is_not_of_the_call_is_left_out(tmp_path: Path) -> None:
    """Other protocols, RTCP, other SIP, and packets that are broken."""
    sent = both()
    for k in range(50):
        sent += [
            (k / 50, ("10.0.0.9", 53), A, bytes(30)),
            (k / 50, A, B, b"\0\1" + bytes(18)),  # STUN
            (k / 50, A, B, b"\x80\xc8" + bytes(26)),  # RTCP
            (k / 50, A, HOST_B, sip("OPTIONS sip:b@x SIP/2.0", "9", "t", "1 OPTIONS")),
            (k / 50, A, HOST_B, b"INVITE sip:b@x SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n"),
            (k / 50, ("10.0.0.8", 9), ("10.0.0.9", 9), b"\x80\0" + bytes([k * 5]) * 30),
        ]
    sent.append((0.3, A, B, packet(11, 15, 15 * 160, 1, bytes(3))))
    sent.append((0.3, A, B, packet(8, 16000, 15 * 160, 1, bytes(160))))
    frames = [*framed(sent), (3.0, frame(ETHERNET, ip_packet(A, B, b"cut"))[:26])]
    (tmp_path / "call.pcap").write_bytes(pcap(frames))
    result = recorder("record", "call.pcap", "--stereo", *OFF, "-o", "o.wav", folder=tmp_path)
    assert "call.pcap: 1 packets were captured in part" in result.err
    assert np.array_equal(read(tmp_path / "o.wav"), EXPECTED)


def test_what_an_asterisk_sent(tmp_path: Path) -> None:
    packets = list(golden())
    begun = packets[0][0]
    frames = [(at - begun, frame(SLL, ip_packet(A, B, data))) for at, data in packets]
    (tmp_path / "call.pcap").write_bytes(pcap(frames, SLL))
    sent = np.concatenate([decoded(data[12:]) for _, data in packets[:-1]])
    result = recorder("record", "call.pcap", *OFF, "-o", "o.wav", folder=tmp_path)
    assert result.status == 0, result.err
    assert result.err.count("\n") == 1
    assert np.array_equal(read(tmp_path / "o.wav"), sent)


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "\u0664\u0664", "x", ""])
@pytest.mark.parametrize("where", [f"audio {A[1]}", "rtpmap:96"])
def test_an_sdp_with_numbers_that_are_none(tmp_path: Path, number: str, where: str) -> None:
    """Python refuses to read one of thousands of digits."""
    name, _ = where.replace(":", " ").split()
    (start, source, destination, invite), answer = dialog(rtpmaps=("96 L16/8000",))
    broken = invite.replace(where.encode(), f"{where[: len(name) + 1]}{number}".encode())
    assert broken != invite
    sent = [(start, source, destination, broken), answer, *both(start=0.5)]
    assert np.array_equal(record(tmp_path, write(tmp_path, sent)), EXPECTED)


# -- digits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 2, 5])
def test_an_event_is_a_terminator_where_it_began(tmp_path: Path, lost: int) -> None:
    """Whichever of its packets were captured."""
    sent = [one for one in rtp(SPEAK, A, B) if not 1.0 <= one[0] < 1.1]
    for k in range(lost, 8):
        payload = event_payload(11, 160 * min(k + 1, 5), end=k >= 5)
        sent.append((1 + 0.02 * k, A, B, packet(101, 1000 + k, 8000, 1, payload, k == 0)))
    write(tmp_path, sent + rtp(LISTEN, B, A, start=0.5, ssrc=2))
    options = ["--initial-timeout", "0", "--end-silence-timeout", "0", "--terminators", "#"]
    result = recorder("record", "call.pcap", *options, "-o", "o.wav", folder=tmp_path)
    assert result.status == 0, result.err
    record = result.event["params"]["record"]
    assert (record["reason"], record["digit"], record["duration"]) == ("terminator", "#", 1.0)


def test_an_event_behind_the_last_audio(tmp_path: Path) -> None:
    sent = rtp(SPEAK, A, B)
    sent += [(3.0, A, B, packet(101, 200, 24000, 1, event_payload(11, 160)))]
    write(tmp_path, sent)
    options = ["--initial-timeout", "0", "--end-silence-timeout", "0"]
    result = recorder("record", "call.pcap", *options, "-o", "o.wav", folder=tmp_path)
    record = result.event["params"]["record"]
    assert (record["reason"], record["digit"], record["duration"]) == ("terminator", "#", 3.0)


# -- what takes long -----------------------------------------------------------------------------


def test_a_capture_that_lasts_for_days_is_not_held_as_silence() -> None:
    """A packet in five minutes: 100 of them last for eight hours, which would be 480 MB."""
    data = signals.g711(SPEAK[:160], "pcmu")
    sent = [(299.0 * k, A, B, packet(0, k, 2392000 * k, 1, data)) for k in range(100)]
    tracemalloc.start()
    legs = capture_legs(io.BytesIO(pcap(framed(sent))), "x")
    found = [
        (n, at) for n, (pcm,) in enumerate(legs.blocks) for at in [pcm.find(ulaw(SPEAK[:160]))]
    ]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert sum(at >= 0 for _, at in found) == 100
    assert legs.length == 299 * 99 * 8000 + 160


# -- what was not captured, or in another order ----------------------------------------------------


@pytest.mark.parametrize("seed", mostly_slow(range(200), 0, 1, 2, 3))
def test_samples_are_equal_where_packets_were_captured_and_silence_where_not(seed: int) -> None:
    """Whichever are missing, twice, and later than others, in either kind of file."""
    rng = random.Random(seed)
    expected = EXPECTED.copy()
    sent: Sent = []
    for channel, (start, stream) in enumerate(
        ((0.0, rtp(SPEAK, A, B)), (0.5, rtp(LISTEN, B, A, start=0.5, ssrc=2)))
    ):
        for number, (at, a, b, data) in enumerate(stream):
            if number > 5 and rng.random() < 0.1:
                place = round(start * 8000) + 160 * number
                expected[place : place + 160, channel] = 0
                continue
            delay = 0.099 * rng.random() if number > 5 and rng.random() < 0.2 else 0
            sent += [(at + delay, a, b, data)] * rng.choice([1, 1, 1, 2])
    frames = framed(sent)
    rng.shuffle(frames)  # some writers do not sort: the time of each says when it came
    data = pcap(frames) if rng.random() < 0.5 else pcapng([(at, ETHERNET, x) for at, x in frames])
    legs = capture_legs(io.BytesIO(data), "x")
    parts = [b"".join(leg) for leg in zip(*legs.blocks, strict=True)]
    found = np.stack([np.frombuffer(leg, np.int16) for leg in parts], axis=1)
    assert np.array_equal(found, expected[: len(found)])
    assert not expected[len(found) :].any()


# -- what cannot be read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pcap([]), "cannot read x.pcap: it has no RTP of a call"),
        (pcapng([]), "cannot read x.pcap: it has no RTP of a call"),
        (pcap([])[:9], "cannot read x.pcap: it is damaged from its start on"),
        (pcapng([])[:9], "cannot read x.pcap: it is damaged from its start on"),
        (pcap(framed(both())[:4]), "cannot read x.pcap: it has no RTP of a call"),
        (
            pcap(framed([(k / 50, A, B, packet(18, k, 160 * k, 1, bytes(20))) for k in range(50)])),
            "cannot read x.pcap: it has no RTP that can be decoded, but G729",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "x.pcap").write_bytes(data)
    result = recorder("record", "x.pcap", "-o", "o.wav", folder=tmp_path)
    assert (result.status, result.out) == (1, "")
    assert f"recorder: {says}\n" in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "o.wav").exists()


@pytest.mark.parametrize("options", [["--rate", "8000"], ["--channels", "1"], ["call.pcap"]])
def test_options_that_do_not_fit_a_capture(tmp_path: Path, options: list[str]) -> None:
    result = recorder("record", write(tmp_path, both()), *options, folder=tmp_path)
    assert result.status == 2
    assert "call.pcap is a capture, which has both legs" in result.err


def test_a_capture_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / "x.pcap").write_bytes(pcap(framed(both()))[:-1])
    (tmp_path / "y.pcap").write_bytes(pcap(framed(both())) + bytes(7))
    for name, says in (("x", "1 packets were captured in part"), ("y", "is cut short or damaged")):
        out = f"{name}.wav"
        result = recorder("record", f"{name}.pcap", "--stereo", *OFF, "-o", out, folder=tmp_path)
        assert result.status == 0
        assert says in result.err
        found = read(tmp_path / out)
        assert np.array_equal(found, EXPECTED[: len(found)])
        assert len(found) >= len(EXPECTED) - 160


def test_standard_input(tmp_path: Path) -> None:
    data = pcap(framed(both()))
    result = recorder("record", "-", "--stereo", *OFF, "-o", "o.wav", folder=tmp_path, stdin=data)
    assert result.status == 0, result.err
    assert np.array_equal(read(tmp_path / "o.wav"), EXPECTED)


def test_detect(tmp_path: Path) -> None:
    result = recorder("detect", "--json", write(tmp_path, both()), folder=tmp_path)
    assert result.status == 0, result.err
    assert set(result.event["legs"]) == {"speak", "listen"}
    assert result.event["duration"] == len(EXPECTED) / 8000


def test_detect_from_python(tmp_path: Path) -> None:
    tone = np.concatenate([signals.noise(1, -50), signals.dtmf("5"), signals.noise(0.9, -50)])
    write(tmp_path, rtp(tone, A, B) + rtp(LISTEN, B, A, start=0.5, ssrc=2))
    found = recorder_detect(tmp_path / "call.pcap")
    assert [one.digit for one in found.digits] == ["5"]
    assert found.listen is not None
    assert (found.sample_rate, found.duration) == (8000, len(LISTEN) / 8000 + 0.5)
    others: list[dict[str, Any]] = [{"sample_rate": 8000}, {"encoding": "pcmu"}, {"channels": [1]}]
    for options in others:
        with pytest.raises(OptionError, match=r"call\.pcap is a capture, which has both legs"):
            recorder_detect(str(tmp_path / "call.pcap"), **options)
    (tmp_path / "x.pcap").write_bytes(pcap([]))
    with pytest.raises(FileError, match="it has no RTP of a call"):
        recorder_detect(tmp_path / "x.pcap")


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 1000))]
)
def test_damaged_captures_are_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    frames = framed(both()[::4])
    data = bytearray(
        pcap(frames) if rng.random() < 0.5 else pcapng([(at, 1, one) for at, one in frames])
    )
    for _ in range(rng.choice([1, 10, 100])):
        at = rng.randrange(4, len(data) if rng.random() < 0.5 else 300)
        data[at] = rng.choice([0, 255, rng.randrange(256)])
    try:
        legs = capture_legs(io.BytesIO(bytes(data[: rng.randrange(4, len(data))])), "x.pcap")
    except FileError:
        return
    for block in legs.blocks:
        assert len({len(leg) for leg in block}) == 1


def test_what_is_needed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    result = recorder("record", write(tmp_path, both()), folder=tmp_path)
    assert result.status == 1
    assert "cannot read call.pcap: captures need more: pip install" in result.err
