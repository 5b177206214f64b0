/* SPDX-License-Identifier: MIT */
/* The sample rates, and what follows from them alone. */
#include "recorder_core.h"

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
  /* The busiest object is the voice detector: every 100 ms it may tell anew all that
   * is in its look-back, an edge per frame at most, besides the newest frames' own. */
  size_t block = rate / 10;
  return (n / block + 2) * (REC_VOICE_LOOK_BACK + 10);
}
