/* SPDX-License-Identifier: MIT */
/* Floats to 16-bit PCM. */
#include "recorder_core.h"

#include <math.h>
#include <string.h>

enum { PART = 64 }; /* copied to aligned memory at a time */

/* Added and taken away again, these round a smaller number half to even, as the processor adds:
 * the sum has no bits left below 1. Unlike rint() this needs no call per sample. */
#define ROUND_FLOAT 12582912.0f         /* 1.5 * 2^23 */
#define ROUND_DOUBLE 6755399441055744.0 /* 1.5 * 2^52 */

/* Written so that NaN is not below. */
#define DEFINE_FROM(name, real, magnitude, round)                                                  \
  size_t name(const char *in, size_t n, real scale, real limit, int16_t *out) {                    \
    real x[PART];                                                                                  \
    for (size_t done = 0; done < n;) {                                                             \
      const size_t part = n - done < PART ? n - done : PART;                                       \
      int all_below = 1;                                                                           \
      memcpy(x, in + done * sizeof *x, part * sizeof *x);                                          \
      for (size_t i = 0; i < part; i++) {                                                          \
        const real scaled = x[i] * scale;                                                          \
        const real above = scaled > (real) - 32768 ? scaled : (real) - 32768;                      \
        const real kept = above < (real)32767 ? above : (real)32767;                               \
        all_below &= magnitude(x[i]) < limit;                                                      \
        out[done + i] = (int16_t)(int32_t)((kept + round) - round);                                \
      }                                                                                            \
      if (!all_below)                                                                              \
        for (size_t i = 0; i < part; i++)                                                          \
          if (!(magnitude(x[i]) < limit))                                                          \
            return done + i;                                                                       \
      done += part;                                                                                \
    }                                                                                              \
    return n;                                                                                      \
  }

DEFINE_FROM(rec_pcm_from_floats, float, fabsf, ROUND_FLOAT)
DEFINE_FROM(rec_pcm_from_doubles, double, fabs, ROUND_DOUBLE)
