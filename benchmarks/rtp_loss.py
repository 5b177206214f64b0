# SPDX-License-Identifier: MIT
"""What is recorded of RTP that a network loses, reorders and doubles.

    python -m benchmarks.rtp_loss [--seconds 10] [--seed 1]

ffmpeg sends the sample message to a socket, in packets of 20 ms or less. Those are then lost, held
up by up to five places, and doubled, at random by the seed, and fed to an `RtpLeg` at their own
times. The SSRC changes in the middle, and both counters wrap. The recording is compared with what
was sent.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.rtp_loss import CODECS, HAS_FFMPEG, Network, recorded

_NETWORKS: Final = (
    Network(),
    Network(loss=0.01, reorder=0.01, twice=0.01),
    Network(loss=0.05, reorder=0.1, twice=0.05),
    Network(loss=0.2, reorder=0.3, twice=0.2),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="What is recorded of RTP that is lost.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not HAS_FFMPEG:
        print("skipped: ffmpeg is not installed")
        return 0
    print("| codec | loss | reordered | twice | packets that came | equal | silent | late |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    is_right = True
    for name in CODECS:
        for network in _NETWORKS:
            with tempfile.TemporaryDirectory() as folder:
                one = recorded(
                    Path(folder),
                    name,
                    network,
                    seed=options.seed,
                    seconds=options.seconds,
                    wraps=True,
                    changes=True,
                )
            is_right &= (one.equal, one.silent, one.late) == (one.due, one.lost, 0)
            shares = " | ".join(
                f"{share:.0%}" for share in (network.loss, network.reorder, network.twice)
            )
            print(
                f"| {name} | {shares} | {one.arrived} of {one.sent}, {one.twice} twice"
                f" | {one.equal:,} of {one.due:,} | {one.silent:,} of {one.lost:,} | {one.late} |"
            )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
