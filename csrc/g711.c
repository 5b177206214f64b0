/* SPDX-License-Identifier: MIT */
/* ITU-T G.711 (11/1988): mu-law and A-law to and from 16-bit linear PCM. */
#include "recorder_core.h"

#define ULAW_BIAS 132 /* 33 in the standard's 14-bit scale, times 4 */
#define ULAW_CLIP 32635
#define ALAW_TOGGLE 0x55 /* even bits are inverted on the line */

void rec_ulaw_decode(const uint8_t *in, int16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int code = ~in[i] & 0xff;
    int magnitude = ((((code & 0x0f) << 3) + ULAW_BIAS) << (code >> 4 & 7)) - ULAW_BIAS;
    out[i] = (int16_t)(code & 0x80 ? -magnitude : magnitude);
  }
}

void rec_alaw_decode(const uint8_t *in, int16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int code = in[i] ^ ALAW_TOGGLE;
    int segment = code >> 4 & 7;
    int magnitude = ((code & 0x0f) << 4) + 8;
    if (segment > 0)
      magnitude = (magnitude + 0x100) << (segment - 1);
    out[i] = (int16_t)(code & 0x80 ? magnitude : -magnitude);
  }
}

/* The position of the highest set bit above bit `base`, 0 to 7. */
static int segment_of(int magnitude, int base) {
  int segment = 0;
  for (magnitude >>= base + 1; magnitude && segment < 7; magnitude >>= 1)
    segment++;
  return segment;
}

void rec_ulaw_encode(const int16_t *in, uint8_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int sign = in[i] < 0 ? 0x80 : 0;
    int magnitude = sign ? -(int)in[i] : in[i];
    if (magnitude > ULAW_CLIP)
      magnitude = ULAW_CLIP;
    magnitude += ULAW_BIAS;
    int segment = segment_of(magnitude, 7);
    out[i] = (uint8_t)(~(sign | segment << 4 | (magnitude >> (segment + 3) & 0x0f)) & 0xff);
  }
}

void rec_alaw_encode(const int16_t *in, uint8_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int sign = in[i] >= 0 ? 0x80 : 0;
    int magnitude = sign ? in[i] : -(int)in[i] - 1;
    int segment = segment_of(magnitude, 7);
    int shift = segment > 0 ? segment + 3 : 4;
    out[i] = (uint8_t)((sign | segment << 4 | (magnitude >> shift & 0x0f)) ^ ALAW_TOGGLE);
  }
}
