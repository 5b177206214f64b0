/* SPDX-License-Identifier: MIT */
/* G.711: what has been coded once stays as it is, and no sample goes further than its step. */
#include "fuzz.h"

typedef void encoder(const int16_t *in, uint8_t *out, size_t n);
typedef void decoder(const uint8_t *in, int16_t *out, size_t n);

static uint8_t *encoded(encoder *encode, const int16_t *pcm, size_t n) {
  uint8_t *out = allocate(n, 1);
  encode(pcm, out, n);
  return out;
}

static int16_t *decoded(decoder *decode, const uint8_t *code, size_t n) {
  int16_t *out = allocate(n, sizeof *out);
  decode(code, out, n);
  return out;
}

static void check(encoder *encode, decoder *decode, const uint8_t *code, size_t size) {
  int16_t *once = decoded(decode, code, size);
  uint8_t *back = encoded(encode, once, size);
  int16_t *twice = decoded(decode, back, size);
  REQUIRE(memcmp(once, twice, size * sizeof *once) == 0);
  for (size_t i = 0; i < size; i++) /* mu-law has two zeros, else nothing changes */
    REQUIRE(back[i] == code[i] || once[i] == 0);
  free(once);
  free(back);
  free(twice);

  const size_t n = size / 2;
  int16_t *pcm = allocate(n, sizeof *pcm);
  memcpy(pcm, code, n * sizeof *pcm);
  uint8_t *coded = encoded(encode, pcm, n);
  int16_t *back_again = decoded(decode, coded, n);
  for (size_t i = 0; i < n; i++) {
    /* Half a step: a 32nd of the magnitude, 8 about zero; mu-law stops at 32124. */
    const int magnitude = abs((int)pcm[i]), error = abs((int)back_again[i] - pcm[i]);
    REQUIRE(error <= magnitude / 32 + 8 || (magnitude > 32124 && abs((int)back_again[i]) == 32124));
    for (size_t k = i ? i - 1 : 0; k < i; k++) /* louder is never coded as less loud */
      REQUIRE(pcm[k] <= pcm[i] ? back_again[k] <= back_again[i] : back_again[k] >= back_again[i]);
  }
  free(pcm);
  free(coded);
  free(back_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check(rec_ulaw_encode, rec_ulaw_decode, data, size);
  check(rec_alaw_encode, rec_alaw_decode, data, size);
  return 0;
}
