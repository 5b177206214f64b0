# SPDX-License-Identifier: MIT
"""A stereo WAV of each call that rtpengine has captured (recording-method = pcap).

    python rtpengine_folder.py /var/spool/rtpengine wavs     # again and again: by cron, say

Calls that have a WAV already are left out; what cannot be read is named, and is the exit status.
Without arguments it shows this with a spool folder of its own. Needs recorder-telephony[pcap].
"""

import io
import struct
import sys
import tempfile
from pathlib import Path

import dpkt
import soundfile

from recorder import Call, FileError, RecordOptions
from recorder.sources.capture import capture_legs

MESSAGE = Path(__file__).with_name("voicemail.wav")
META = "rtpengine-meta-"


def convert(capture: Path, wav: Path) -> float:
    """Make the WAV, whose party on the left is the one that sent first; return its seconds."""
    with capture.open("rb") as stream:
        legs = capture_legs(stream, capture.name)
    with Call(sample_rate=legs.rate) as call:
        action = call.record(RecordOptions.whole_call(stereo=True), path=wav)
        for speak, *listen in legs.blocks:
            call.feed(speak=speak, listen=listen[0] if listen else None)
    event = action.join()
    if event.error:
        raise FileError(event.error)
    return event.duration


def go_through(spool: Path, wavs: Path) -> int:
    """Convert what is new; return how many calls cannot be."""
    failed = 0
    wavs.mkdir(parents=True, exist_ok=True)
    # rtpengine moves these here when a call has ended.
    for meta in sorted((spool / "metadata").glob(f"{META}*.txt")):
        name = meta.stem.removeprefix(META)
        wav = wavs / f"{name}.wav"
        if wav.exists():
            continue
        try:
            seconds = convert(spool / "pcaps" / f"{name}.pcap", wav)
        except (FileError, OSError) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
        else:
            print(f"{name}: {seconds:.2f} s in {wav.name}")
    return failed


# -- to show it -----------------------------------------------------------------------------------


def make_spool(spool: Path) -> None:
    """What rtpengine leaves: a call whose parties both say the message, and one that is damaged."""
    for folder in ("metadata", "pcaps"):
        (spool / folder).mkdir()
    for name in ("call-1", "call-2"):
        (spool / "metadata" / f"{META}{name}.txt").touch()
    (spool / "pcaps" / "call-2.pcap").write_bytes(b"no capture")
    said, ulaw = soundfile.read(MESSAGE, frames=3 * 8000, dtype="int16")[0], io.BytesIO()
    soundfile.write(ulaw, said, 8000, format="RAW", subtype="ULAW")
    parties = (b"\x0a\0\0\1", 4000, 30000, 0.0), (b"\x0a\0\0\2", 5000, 30016, 0.5)
    packets = []
    for host, port, to, later in parties:
        for n in range(150):
            payload = ulaw.getvalue()[160 * n : 160 * (n + 1)]
            rtp = struct.pack(">BBHII", 0x80, 0, n, 160 * n, port) + payload
            # What a party sends goes to rtpengine: nothing goes from one party to the other.
            udp = dpkt.udp.UDP(sport=port, dport=to, ulen=8 + len(rtp), data=rtp)
            ip = dpkt.ip.IP(src=host, dst=b"\x0a\0\0\x09", p=dpkt.ip.IP_PROTO_UDP, data=udp)
            ip.len = len(ip)
            packets.append((1e9 + later + n / 50, bytes(ip)))
    with (spool / "pcaps" / "call-1.pcap").open("wb") as stream:
        writer = dpkt.pcap.Writer(stream, linktype=dpkt.pcap.DLT_RAW)
        for seconds, packet in sorted(packets):
            writer.writepkt(packet, ts=seconds)


def main() -> None:
    """Go through the folder that is given, or through one to show it, twice."""
    if len(sys.argv) == 3:
        sys.exit(go_through(Path(sys.argv[1]), Path(sys.argv[2])) > 0)
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder)
        make_spool(spool)
        go_through(spool, spool / "wavs")
        print("again:")
        go_through(spool, spool / "wavs")


if __name__ == "__main__":
    main()
