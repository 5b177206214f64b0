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
  /* The busiest object is the digit decoder: its block is a little under 20 ms
   * at 44.1 kHz, and at a block's end each tracker may report a start and an end. */
  size_t block = rate / 50 - rate / 2000;
  return 2 * (size_t)REC_DTMF_TRACKERS * (n / block + 2);
}
