/* SPDX-License-Identifier: MIT */
/* Floats to PCM: rounding, saturation, what is refused, and any alignment. */
#include "check.h"
#include "signals.h"

enum { N = 200, LIMIT = 1 << 21 };

static int16_t from_float(float x, float scale) {
  int16_t out = 0;
  CHECK(rec_pcm_from_floats((const char *)&x, 1, scale, LIMIT / scale, &out) == 1);
  return out;
}

static int16_t from_double(double x, double scale) {
  int16_t out = 0;
  CHECK(rec_pcm_from_doubles((const char *)&x, 1, scale, LIMIT / scale, &out) == 1);
  return out;
}

static void half_to_even(void) {
  for (int i = -32768; i < 32768; i++) {
    check_case("%d and a half", i);
    const int even = i % 2 == 0 ? i : i + 1;
    CHECK(from_float((float)i, 1.0f) == i && from_double(i, 1.0) == i);
    CHECK(from_float((float)i / 32768.0f, 32768.0f) == i);
    CHECK(from_double(i / 32768.0, 32768.0) == i);
    CHECK(from_float((float)i + 0.5f, 1.0f) == (even > 32767 ? 32767 : even));
    CHECK(from_double(i + 0.5, 1.0) == (even > 32767 ? 32767 : even));
    CHECK(from_float((float)i + 0.25f, 1.0f) == i && from_double(i + 0.499999, 1.0) == i);
  }
}

static void saturates(void) {
  static const float loud[] = {32768.0f, 40000.0f, LIMIT - 1};
  for (int i = 0; i < 3; i++) {
    check_case("%g", (double)loud[i]);
    CHECK(from_float(loud[i], 1.0f) == 32767 && from_float(-loud[i], 1.0f) == -32768);
    CHECK(from_double(loud[i], 1.0) == 32767 && from_double(-loud[i], 1.0) == -32768);
  }
}

/* One that is not below the limit, anywhere among others, in unaligned memory of exactly its
 * size. */
static void refuses_by_index(void) {
  static const float bad[] = {2.0f, -2.0f, 1e30f, INFINITY, -INFINITY, NAN};
  for (size_t n = 0; n <= N; n += 40)
    for (int b = 0; b < 6; b++)
      for (size_t at = 0; at < n + (n == 0); at += 7) {
        check_case("%lu floats, %g at %lu", (unsigned long)n, (double)bad[b], (unsigned long)at);
        char *floats = allocate(n * sizeof(float) + 1, 1);
        char *doubles = allocate(n * sizeof(double) + 1, 1);
        int16_t *out = allocate(n, sizeof *out);
        for (size_t i = 0; i < n; i++) {
          const float x = i >= at ? bad[b] : 1.999f;
          const double y = x;
          memcpy(floats + 1 + i * sizeof x, &x, sizeof x);
          memcpy(doubles + 1 + i * sizeof y, &y, sizeof y);
        }
        CHECK(rec_pcm_from_floats(floats + 1, n, 32768.0f, 2.0f, out) == at);
        CHECK(rec_pcm_from_doubles(doubles + 1, n, 32768.0, 2.0, out) == at);
        free(floats);
        free(doubles);
        free(out);
        if (n == 0)
          break;
      }
}

int main(void) {
  half_to_even();
  saturates();
  refuses_by_index();
  return check_report("test_floats");
}
