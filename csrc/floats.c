/* SPDX-License-Identifier: MIT */
/* Floats to 16-bit PCM. */
#include "recorder_core.h"

#include <math.h>
#include <string.h>

enum { PART = 64 }; /* samples at a time: a fixed number, which compilers turn into vectors */

/* Added and taken away again, these round half to even: the sum has no bits left below 1. Unlike
 * rint() this needs no call per sample. */
#define ROUND_FLOAT 12582912.0f         /* 1.5 * 2^23: for magnitudes up to 2^22 */
#define ROUND_DOUBLE 6755399441055744.0 /* 1.5 * 2^52 */

/* All are checked before any is converted: what is too large for an int has no conversion. Written
 * so that NaN is not below the limit. */
#define DEFINE_FROM(name, real, magnitude, round)                                                  \
  size_t name(const char *in, size_t n, real scale, real limit, int16_t *out) {                    \
    for (size_t done = 0; done < n; done += PART) {                                                \
      const size_t part = n - done < PART ? n - done : PART;                                       \
      real x[PART] = {0};                                                                          \
      int16_t rounded[PART];                                                                       \
      int32_t above = 0;                                                                           \
      memcpy(x, in + done * sizeof *x, part * sizeof *x);                                          \
      for (int i = 0; i < PART; i++)                                                               \
        above |= !(magnitude(x[i]) < limit);                                                       \
      if (above)                                                                                   \
        for (size_t i = 0; i < part; i++)                                                          \
          if (!(magnitude(x[i]) < limit))                                                          \
            return done + i;                                                                       \
      for (int i = 0; i < PART; i++) {                                                             \
        int32_t value = (int32_t)((x[i] * scale + round) - round);                                 \
        value = value < 32767 ? value : 32767;                                                     \
        rounded[i] = (int16_t)(value > -32768 ? value : -32768);                                   \
      }                                                                                            \
      memcpy(out + done, rounded, part * sizeof *out);                                             \
    }                                                                                              \
    return n;                                                                                      \
  }

DEFINE_FROM(rec_pcm_from_floats, float, fabsf, ROUND_FLOAT)
DEFINE_FROM(rec_pcm_from_doubles, double, fabs, ROUND_DOUBLE)
