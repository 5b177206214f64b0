/* SPDX-License-Identifier: MIT */
/* The sample rates, and what follows from them alone. */
#include "internal.h"

int rec_rate_supported(uint32_t rate) {
  switch (rate) {
  case 8000:
  case 16000:
  case 24000:
  case 32000:
  case 44100:
  case 48000:
    return 1;
  default:
    return 0;
  }
}

uint32_t rec_level_frame(uint32_t rate) { return rate / 50; }

size_t rec_edges_bound(uint32_t rate, size_t n) {
  /* The voice detector is the busiest. Each 20 ms frame changes whether there is input at most
   * once. n samples end a block of 100 ms once per block's length, rounded up; at its end the
   * detector may report a revision, an edge for each frame of its look-back, and one for the
   * stretch that the look-back cuts. A finish function reports less than one block does. */
  const size_t block = rate / 10, blocks = n / block + (n % block != 0);
  return (blocks ? blocks : 1) * (5 + 2 + REC_VOICE_LOOK_BACK);
}
