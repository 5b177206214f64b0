/* SPDX-License-Identifier: MIT */
/* The rates: which there are, who refuses the others, and what follows from them. */
#include "fuzz.h"

static int is_rate(uint32_t rate) {
  for (int r = 0; r < RATES; r++)
    if (rate == RATE[r])
      return 1;
  return 0;
}

/* Any number, one of the rates, or one that is in some proportion to them: the rates of all
 * other audio are. */
static uint32_t some_rate(program *p) {
  const uint32_t kind = take(p) % 3;
  if (kind == 0)
    return take_16(p) << 16 | take_16(p);
  const uint32_t rate = take_rate(p);
  return kind == 1 ? rate : rate * (1 + take(p) % 16) / (1 + take(p) % 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static rec_voice voice;
  static rec_dtmf_tables tables;
  program p = {data, data + size};
  const uint32_t rate = some_rate(&p);
  const rec_voice_options options = {take_double(&p), (int)take(&p), (int)take(&p), 4};
  const double sensitivity = options.input_sensitivity;
  const size_t a = take_16(&p) << 16 | take_16(&p), b = take_16(&p) << 16 | take_16(&p);

  const int supported = is_rate(rate);
  REQUIRE(rec_rate_supported(rate) == supported);
  REQUIRE(rec_dtmf_tables_init(&tables, rate) == (supported ? 0 : -1));
  REQUIRE(rec_voice_init(&voice, rate, &options) ==
          (supported && sensitivity >= 0.0 && sensitivity <= 100.0 ? 0 : -1));
  if (!supported)
    return 0;
  const size_t frame = rec_level_frame(rate);
  REQUIRE(frame * 50 == rate && frame <= REC_LEVEL_FRAME_MAX);
  const size_t room = rec_edges_bound(rate, a + b);
  REQUIRE(room >= rec_edges_bound(rate, a) && room >= rec_edges_bound(rate, b));
  REQUIRE(room <= rec_edges_bound(rate, a) + rec_edges_bound(rate, b));
  REQUIRE(room >= (a + b) / frame); /* an edge per frame */
  return 0;
}
