/* SPDX-License-Identifier: MIT */
/* G.711 by the properties of the ITU's tables, over all codes and all samples. */
#include "check.h"
#include "signals.h"

enum { SAMPLES = 65536, CODES = 256 };

static int16_t sample[SAMPLES]; /* all, ascending */

typedef struct {
  const char *name;
  void (*decode)(const uint8_t *, int16_t *, size_t);
  void (*encode)(const int16_t *, uint8_t *, size_t);
  int16_t value[CODES];  /* of each code */
  uint8_t code[SAMPLES]; /* of each sample */
} law;

static law ulaw = {.name = "mu-law", .decode = rec_ulaw_decode, .encode = rec_ulaw_encode};
static law alaw = {.name = "A-law", .decode = rec_alaw_decode, .encode = rec_alaw_encode};

static void tabulate(law *self) {
  uint8_t codes[CODES];
  for (int i = 0; i < CODES; i++)
    codes[i] = (uint8_t)i;
  for (int i = 0; i < SAMPLES; i++)
    sample[i] = (int16_t)(i - 32768);
  self->decode(codes, self->value, CODES);
  self->encode(sample, self->code, SAMPLES);
}

static uint8_t encoded(const law *self, int16_t x) { return self->code[x + 32768]; }

static void fixed_points(void) {
  check_case("fixed points of the tables");
  CHECK(ulaw.value[0xFF] == 0);
  CHECK(ulaw.value[0x7F] == 0); /* mu-law has a negative zero */
  CHECK(ulaw.value[0x00] == -32124);
  CHECK(ulaw.value[0x80] == 32124);
  CHECK(ulaw.value[0xFE] == 8);
  CHECK(ulaw.value[0x7E] == -8);
  CHECK(ulaw.value[0xEF] == 132); /* second segment */
  CHECK(alaw.value[0xD5] == 8);
  CHECK(alaw.value[0x55] == -8);
  CHECK(alaw.value[0xAA] == 32256);
  CHECK(alaw.value[0x2A] == -32256);
  CHECK(alaw.value[0xD4] == 24);
  CHECK(alaw.value[0xC5] == 264); /* second segment, of the same step */
  CHECK(encoded(&ulaw, 0) == 0xFF);
  CHECK(encoded(&alaw, 0) == 0xD5);
  CHECK(encoded(&alaw, -1) == 0x55);
  CHECK(encoded(&ulaw, 32767) == 0x80);
  CHECK(encoded(&ulaw, -32768) == 0x00);
  CHECK(encoded(&alaw, 32767) == 0xAA);
  CHECK(encoded(&alaw, -32768) == 0x2A);
}

/* What was decoded encodes to the code it came from: companding twice loses nothing
 * more. Only mu-law's negative zero is lost: its value is 0, and that is positive. */
static void round_trip(const law *self) {
  for (int code = 0; code < CODES; code++) {
    check_case("%s code 0x%02X", self->name, (unsigned)code);
    const int negative_zero = self == &ulaw && code == 0x7F;
    CHECK(encoded(self, self->value[code]) == (negative_zero ? 0xFF : code));
  }
}

static int is_value(const law *self, int x) {
  for (int code = 0; code < CODES; code++)
    if (self->value[code] == x)
      return 1;
  return 0;
}

/* Odd symmetry, and as many different values as the law has. */
static void symmetric(const law *self) {
  int distinct = 0;
  for (int x = -32768; x < 32768; x++)
    if (is_value(self, x)) {
      check_case("%s value %d", self->name, x);
      distinct++;
      CHECK(is_value(self, -x));
    }
  check_case("%s", self->name);
  CHECK(distinct == (self == &ulaw ? 255 : 256));
  for (int code = 0; code < 128; code++)
    CHECK(self->value[code] == -self->value[code | 0x80]);
}

static void monotonic(const law *self) {
  int last = -32768;
  for (int i = 0; i < SAMPLES; i++) {
    check_case("%s sample %d", self->name, sample[i]);
    int value = self->value[self->code[i]];
    CHECK(value >= last);
    last = value;
  }
}

/* The step about x, from the standards' segments: 16 equal steps in each, twice as
 * large from one to the next (A-law's first two alike). */
static int step_at(const law *self, int x) {
  int magnitude = abs(x), step = self == &ulaw ? 8 : 16;
  for (int limit = self == &ulaw ? 124 : 512; magnitude >= limit && step < 1024;
       limit = self == &ulaw ? 2 * limit + 132 : 2 * limit)
    step *= 2;
  return step;
}

/* mu-law ends at 8159 of its 14 bits; what is beyond clips to the largest value. */
static void quantisation_error(const law *self) {
  const int overload = self == &ulaw ? 4 * 8159 : 32768;
  for (int i = 0; i < SAMPLES; i++) {
    check_case("%s sample %d", self->name, sample[i]);
    int value = self->value[self->code[i]];
    if (abs(sample[i]) <= overload)
      CHECK(2 * abs(value - sample[i]) <= step_at(self, sample[i]));
    else
      CHECK(value == (sample[i] < 0 ? -32124 : 32124));
  }
}

static void nothing(const law *self) {
  uint8_t codes[1] = {0x12};
  int16_t values[1] = {0x1234};
  check_case("%s, no samples", self->name);
  self->decode(codes, values, 0);
  self->encode(values, codes, 0);
  CHECK(codes[0] == 0x12 && values[0] == 0x1234);
}

static void test_law(law *self) {
  tabulate(self);
  round_trip(self);
  symmetric(self);
  monotonic(self);
  quantisation_error(self);
  nothing(self);
}

int main(void) {
  test_law(&ulaw);
  test_law(&alaw);
  fixed_points();
  return check_report("test_g711");
}
