/* SPDX-License-Identifier: MIT */
/*
 * When is there input? Every 20 ms frame is above the gate or not; a stretch of
 * input begins when three frames of five are above it, so that a single click
 * is none, and ends when they no longer are.
 */
#include "recorder_core.h"

#include <math.h>
#include <string.h>

#define FULL_SCALE 32768.0
#define WINDOW_MASK 0x1fu /* five frames */
#define NEEDED 3          /* of them above the gate */

static int count_bits(uint32_t bits) {
  int count = 0;
  for (; bits; bits &= bits - 1)
    count++;
  return count;
}

/* Digital silence: nothing but one value, however large (that is DC). */
static int all_equal(const int16_t *pcm, size_t n) {
  int16_t differs = 0;
  for (size_t i = 1; i < n; i++)
    differs |= (int16_t)(pcm[i] ^ pcm[0]);
  return !differs;
}

int rec_voice_init(rec_voice *self, uint32_t rate, double input_sensitivity) {
  if (!rec_rate_supported(rate) || !(input_sensitivity >= 0.0 && input_sensitivity <= 100.0))
    return -1;
  memset(self, 0, sizeof *self);
  rec_highpass_init(&self->highpass, rate);
  self->frame = rec_level_frame(rate);
  if (input_sensitivity == 0.0)
    self->gate_power = INFINITY;
  else if (input_sensitivity < 100.0)
    self->gate_power = FULL_SCALE * FULL_SCALE * pow(10.0, -input_sensitivity / 10.0);
  return 0;
}

/* The start of the oldest frame of the newest `reach` that is above the gate and
 * not yet part of a stretch; `otherwise` when there is none. */
static int64_t oldest_above(const rec_voice *self, int reach, int64_t otherwise) {
  for (int age = reach - 1; age >= 0; age--) {
    int64_t start = self->position - (int64_t)(age + 1) * self->frame;
    if ((self->window >> age & 1u) && start >= self->last_above_end)
      return start;
  }
  return otherwise;
}

static size_t judge_frame(rec_voice *self, int above, rec_edge *edges) {
  self->position += self->frame;
  self->window = (self->window << 1 | (uint32_t)above) & WINDOW_MASK;
  int enough = count_bits(self->window) >= NEEDED;
  size_t count = 0;
  if (enough && !self->active) {
    self->active = 1;
    edges[count++] = (rec_edge){oldest_above(self, 5, self->position), REC_VOICE_START, 0};
  }
  if (!enough && self->active) {
    self->active = 0;
    edges[count++] = (rec_edge){self->last_above_end, REC_VOICE_END, 0};
  }
  if (above && self->active)
    self->last_above_end = self->position;
  return count;
}

size_t rec_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                         float *levels) {
  size_t count = 0;
  while (n > 0) {
    const int16_t *frame = pcm;
    size_t used = self->frame - self->filled;
    if (used > n)
      used = n;
    if (used < self->frame) {
      memcpy(self->pending + self->filled, pcm, used * sizeof *pcm);
      self->filled += (uint32_t)used;
      frame = self->pending;
    } else {
      self->filled = self->frame;
    }
    pcm += used;
    n -= used;
    if (self->filled < self->frame)
      break;
    self->filled = 0;
    double power = rec_highpass_power(&self->highpass, frame, self->frame);
    int silent = all_equal(frame, self->frame);
    if (levels)
      *levels++ = silent || power <= 0.0 ? -INFINITY
                                         : (float)(10.0 * log10(power / (FULL_SCALE * FULL_SCALE)));
    count += judge_frame(self, !silent && power >= self->gate_power, edges + count);
  }
  return count;
}

size_t rec_voice_finish(rec_voice *self, rec_edge *edges) {
  if (!self->active)
    return 0;
  self->active = 0;
  edges[0] = (rec_edge){self->last_above_end, REC_VOICE_END, 0};
  return 1;
}

int64_t rec_voice_known(const rec_voice *self) {
  if (self->active)
    return self->last_above_end;
  return oldest_above(self, 4, self->position);
}
