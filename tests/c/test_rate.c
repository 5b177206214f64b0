/* SPDX-License-Identifier: MIT */
/* The supported rates, the level frame, and the room edges need. */
#include "check.h"
#include "signals.h"

static void supported(void) {
  static const uint32_t refused[] = {0,     1,     7999,  8001,  11025, 12000,      22050,
                                     44099, 47999, 48001, 88200, 96000, UINT32_MAX, 0x80000000u};
  for (int r = 0; r < RATES; r++)
    CHECK(rec_rate_supported(RATE[r]) == 1);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    check_case("rate %lu", (unsigned long)refused[i]);
    CHECK(rec_rate_supported(refused[i]) == 0);
  }
}

static void level_frame(void) {
  static const uint32_t expected[RATES] = {160, 320, 480, 640, 882, 960};
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    CHECK(rec_level_frame(RATE[r]) == expected[r]);
    CHECK(rec_level_frame(RATE[r]) <= REC_LEVEL_FRAME_MAX);
  }
}

/* A finish function has the room of n == 0: in four blocks every tracker may start and end.
 * That the bound holds for real signals is checked where they are processed. */
static void edges_bound(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    CHECK(rec_edges_bound(RATE[r], 0) >= 4 * 2 * (size_t)REC_DTMF_TRACKERS);
    size_t last = 0;
    for (size_t n = 0; n < 5000; n++) {
      CHECK(rec_edges_bound(RATE[r], n) >= last);
      CHECK(rec_edges_bound(RATE[r], n) > n / rec_level_frame(RATE[r]));
      last = rec_edges_bound(RATE[r], n);
    }
    /* Largest sizes must not wrap round to little room. */
    CHECK(rec_edges_bound(RATE[r], SIZE_MAX) > SIZE_MAX / 960);
  }
}

int main(void) {
  supported();
  level_frame();
  edges_bound();
  return check_report("test_rate");
}
