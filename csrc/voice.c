/* SPDX-License-Identifier: MIT */
/*
 * When is there input?
 *
 *   20 ms frame: level above the gate? ──┐
 *   100 ms block: is the line quiet, or what is its noise? ──▶ what contrast is asked
 *                                        │                          │
 *        input: above the gate, and on a noisy line enough above the noise, or loud,
 *        or a tone; three frames of five, so that a click is none
 *
 * On a quiet line the gate alone decides. On a noisy one the steady background is
 * learnt, and what was taken for input is judged again, four seconds back, with what
 * has been learnt since: sound that just continues was background, sound from the first
 * sample that stopped was input. Without noise_tracking there is none of that.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define FULL_SCALE 32768.0
#define FRAMES_PER_BLOCK 5
#define NEEDED 3 /* frames of five above the gate */

#define CAP_DBFS (-26.0)       /* what stays louder is input whatever the background */
#define LOW_LINE_DB 6.0        /* a block so far below the gate is quiet */
#define RELEASE_BLOCKS 25      /* 2.5 s without a low block, and steady: no quiet line */
#define RELEASE_LONG_BLOCKS 50 /* 5 s without one */
#define STEADY_RANK 12         /* this many of the last 25 blocks ... */
#define STEADY_DB 4.0          /* ... so close to the smallest: a steady sound */
#define DIGITAL_BLOCKS 5       /* 0.5 s of zeros is a quiet line; less may be lost packets */
#define FLOOR_SHARE 0.1        /* the noise floor is this percentile of the background */
#define PEAK_BLOCKS 10         /* the peak: third largest of so many, its maximum */
#define PEAK_RANK 3

/* The contrast that a noisy line asks for, in dB. */
#define FIRST_OVER_MEDIAN_DB 7.0 /* before the first voice */
#define OVER_FLOOR_DB 12.0
#define LEAST_OVER_FLOOR_DB 4.0 /* after it */
#define BELOW_PEAK_DB 8.0

/* A tone: how far a frame is from one sine, and how steady it has to be. */
#define TONE_RESIDUAL 0.08
#define TONE_LOWEST_HZ 300.0
#define TONE_HIGHEST_HZ 2200.0
#define TONE_FRAMES 10
#define TONE_STEADY_HZ 0.02 /* of its frequency */
#define TONE_STEADY_DB 4.0

enum { ABOVE = 1, ZERO = 2, TONE = 4, PERIODIC = 8, INPUT = 16 }; /* of a frame */
enum { LOW = 1, BLOCK_ZERO = 2, BLOCK_TONE = 4 };                 /* of a block */

/* Evidence of voice: periodicity at a pitch of 80 to 400 Hz, or length. */
#define PERIODIC_LEAST 0.65f  /* normalised autocorrelation */
#define PERIODIC_ENERGY 1e-5f /* a stretch with less of the window's is next to silent */
#define PERIODIC_SHORTEST 5   /* lags, in samples at 2 kHz: 2.5 ms */
#define PERIODIC_LONGEST 25   /* 12.5 ms */
#define BURST_HOLE_FRAMES 12  /* 0.24 s */
#define BURST_LONG_FRAMES 40  /* 0.8 s */

static const double PI = 3.14159265358979323846;

static double ratio(double db) { return pow(10.0, db / 10.0); }

int rec_voice_init(rec_voice *self, uint32_t rate, const rec_voice_options *options) {
  const double sensitivity = options->input_sensitivity;
  if (!rec_rate_supported(rate) || !(sensitivity >= 0.0 && sensitivity <= 100.0))
    return -1;
  memset(self, 0, sizeof *self);
  rec_highpass_init(&self->highpass, rate);
  self->rate = rate;
  self->frame = rec_level_frame(rate);
  /* At the ends of the scale the gate is nowhere, or everywhere: nothing to learn. */
  self->tracking = options->noise_tracking && sensitivity > 0.0 && sensitivity < 100.0;
  self->voice_only = options->voice_only;
  if (sensitivity == 0.0)
    self->gate_power = INFINITY;
  else if (sensitivity < 100.0)
    self->gate_power = FULL_SCALE * FULL_SCALE * ratio(-sensitivity);
  self->low_power = self->gate_power * ratio(-LOW_LINE_DB);
  self->cap_power = FULL_SCALE * FULL_SCALE * ratio(CAP_DBFS);
  self->quiet_blocks = options->quiet_blocks;
  self->quiet = 1;
  return 0;
}

/* ---- frames ---------------------------------------------------------------- */

static rec_voice_frame *frame_at(rec_voice *self, int64_t index) {
  return &self->frames[index % REC_VOICE_MEMORY];
}

static rec_voice_block *block_at(rec_voice *self, int64_t index) {
  return &self->blocks[index % REC_VOICE_BLOCKS];
}

/* Digital silence: nothing but one value, however large (that is DC). */
static int all_equal(const int16_t *pcm, size_t n) {
  return memcmp(pcm, pcm + 1, (n - 1) * sizeof *pcm) == 0;
}

/* The frequency of the one sine that y, of this mean square, is, in Hz; 0 when it is none. A
 * sine obeys y[n] + y[n - 2d] = 2 cos(w d) y[n - d]: fitted by least squares. */
static double sine_frequency(const float *y, size_t n, uint32_t rate, float power) {
  const size_t d = (rate + 4000) / 8000;
  float sb = 0.0f, bb = 0.0f, ss = 0.0f;
  for (size_t i = 0; i + 2 * d + 4 <= n;) {
    float sum_sb[4] = {0}, sum_bb[4] = {0}, sum_ss[4] = {0};
    for (size_t part = i + n / 4; i < part && i + 2 * d + 4 <= n; i += 4)
      for (size_t lane = 0; lane < 4; lane++) {
        const float b = y[i + lane + d], s = y[i + lane] + y[i + lane + 2 * d];
        sum_sb[lane] += s * b;
        sum_bb[lane] += b * b;
        sum_ss[lane] += s * s;
      }
    for (int lane = 0; lane < 4; lane++) {
      sb += sum_sb[lane];
      bb += sum_bb[lane];
      ss += sum_ss[lane];
    }
    /* What a part leaves over the whole can only add to: most speech is refused here. */
    if (bb > 0.0f && ss - sb * sb / bb >= (float)TONE_RESIDUAL * power * (float)n)
      return 0.0;
  }
  if (bb <= 0.0f || ss - sb * sb / bb >= (float)TONE_RESIDUAL * bb)
    return 0.0;
  const double cosine = sb / (2.0 * bb);
  if (fabs(cosine) >= 1.0)
    return 0.0;
  const double hz = acos(cosine) * rate / (2.0 * PI * (double)d);
  return hz >= TONE_LOWEST_HZ && hz <= TONE_HIGHEST_HZ ? hz : 0.0;
}

/* Counts how long one tone has lasted; marks its frames once that is long enough. */
static void follow_tone(rec_voice *self, const float *y, float power) {
  double hz = sine_frequency(y, self->frame, self->rate, power);
  int same = hz > 0.0 && self->tone_frames > 0 &&
             fabs(hz - self->tone_hz) <= TONE_STEADY_HZ * self->tone_hz &&
             power <= self->tone_power * (float)ratio(TONE_STEADY_DB) &&
             power >= self->tone_power * (float)ratio(-TONE_STEADY_DB);
  if (!same) {
    self->tone_hz = hz;
    self->tone_power = power;
    self->tone_frames = 0;
  }
  self->tone_frames += hz > 0.0;
  if (self->tone_frames < TONE_FRAMES)
    return;
  int marked = self->tone_frames == TONE_FRAMES ? TONE_FRAMES : 1;
  for (int age = 0; age < marked; age++) {
    int64_t index = self->frame_count - 1 - age;
    frame_at(self, index)->flags |= TONE;
    block_at(self, index / FRAMES_PER_BLOCK)->flags |= BLOCK_TONE;
  }
}

/* Keeps the newest 40 ms at 2 kHz, each sample the mean of a few. */
static void keep_slow(rec_voice *self, const float *y) {
  const size_t factor = self->rate / 2000;
  float *half = self->slow + REC_VOICE_SLOW / 2;
  memcpy(self->slow, half, REC_VOICE_SLOW / 2 * sizeof *half);
  for (size_t i = 0; i < REC_VOICE_SLOW / 2; i++) {
    float sum = 0.0f;
    for (size_t k = 0; k < factor; k++)
      sum += y[i * factor + k];
    half[i] = sum / (float)factor;
  }
}

/* The sum of x[i] x[i + lag] over the window. */
static float correlation(const float *x, int lag) {
  const int n = REC_VOICE_SLOW - lag;
  float sum[8] = {0}; /* two registers, so that an addition need not wait for the last */
  int i = 0;
  for (; i + 8 <= n; i += 8)
    for (int lane = 0; lane < 8; lane++)
      sum[lane] += x[i + lane] * x[i + lane + lag];
  for (; i < n; i++)
    sum[0] += x[i] * x[i + lag];
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* Is there a pitch? The highest autocorrelation past the first negative one, against the
 * energies of the two stretches that it compares. */
static int is_periodic(const rec_voice *self) {
  const float *x = self->slow;
  float early = correlation(x, 0), late = early;
  const float least = PERIODIC_ENERGY * early;
  int past_negative = 0;
  for (int lag = 1; lag <= PERIODIC_LONGEST; lag++) {
    const float product = correlation(x, lag);
    early -= x[REC_VOICE_SLOW - lag] * x[REC_VOICE_SLOW - lag];
    late -= x[lag - 1] * x[lag - 1];
    past_negative |= product < 0.0f;
    if (past_negative && lag >= PERIODIC_SHORTEST && product > 0.0f && early > least &&
        late > least && product * product > PERIODIC_LEAST * PERIODIC_LEAST * early * late)
      return 1;
  }
  return 0;
}

/* Whether the line, as learnt by now, takes the frame for input. */
static int is_input(const rec_voice *self, const rec_voice_frame *frame) {
  return (frame->flags & ABOVE) &&
         (self->quiet || (frame->flags & TONE) || frame->smooth >= self->threshold);
}

/* The frame's power, and the mean of the last five. */
static void add_frame(rec_voice *self, const float *y, double power, int silent) {
  rec_voice_frame *frame = frame_at(self, self->frame_count);
  self->frame_count++;
  self->position += self->frame;
  frame->power = silent ? 0.0f : (float)power;
  frame->flags =
      (uint8_t)((silent ? ZERO : 0) | (!silent && power >= self->gate_power ? ABOVE : 0));
  float sum = 0.0f;
  int n = self->frame_count < FRAMES_PER_BLOCK ? (int)self->frame_count : FRAMES_PER_BLOCK;
  for (int age = 0; age < n; age++)
    sum += frame_at(self, self->frame_count - 1 - age)->power;
  frame->smooth = sum / (float)n;
  if (self->tracking && (frame->flags & ABOVE))
    follow_tone(self, y, frame->power);
  else
    self->tone_frames = 0;
  if (self->voice_only) {
    keep_slow(self, y);
    if ((frame->flags & ABOVE) && is_periodic(self))
      frame->flags |= PERIODIC;
  }
  if (is_input(self, frame))
    frame->flags |= INPUT;
}

/* ---- from frames to stretches -------------------------------------------------- */

static int count_bits(uint32_t bits) {
  int count = 0;
  for (; bits; bits &= bits - 1)
    count++;
  return count;
}

/* The start of the oldest frame of the newest `reach` that is input and of no stretch
 * yet; `otherwise` when there is none. `end` is where the newest frame ends. */
static int64_t oldest_input(const rec_voice_rule *rule, int reach, int64_t end, int64_t frame,
                            int64_t otherwise) {
  for (int age = reach - 1; age >= 0; age--) {
    int64_t start = end - (age + 1) * frame;
    if ((rule->window >> age & 1u) && start >= rule->last_end)
      return start;
  }
  return otherwise;
}

/* Stretches with short holes make a burst. Does this frame, active or in a hole, make
 * it evident that it is voice? */
static void follow_burst(rec_voice_rule *rule, int flags, int evident) {
  if (!rule->active) {
    if (rule->in_burst && ++rule->hole > BURST_HOLE_FRAMES)
      rule->in_burst = 0;
    return;
  }
  if (!rule->in_burst) {
    rule->in_burst = 1;
    rule->burst_start = rule->start;
    rule->burst_frames = 0;
    rule->evident = 0;
  }
  rule->hole = 0;
  rule->burst_frames += (flags & INPUT) != 0;
  rule->evident |= evident || ((flags & INPUT) && (flags & (PERIODIC | TONE))) ||
                   rule->burst_frames >= BURST_LONG_FRAMES;
}

/* Takes one more frame, which ends at `end`, in; returns how many edges that made. With
 * `evident` every stretch is voice at once. */
static size_t rule_step(rec_voice_rule *rule, int flags, int evident, int64_t end, int64_t frame,
                        rec_edge edges[2]) {
  size_t count = 0;
  rule->window = (rule->window << 1 | ((flags & INPUT) != 0)) & 0x1fu;
  int enough = count_bits(rule->window) >= NEEDED;
  if (enough && !rule->active) {
    rule->active = 1;
    rule->start = oldest_input(rule, 5, end, frame, end - frame);
  }
  if (!enough && rule->active) {
    rule->active = 0;
    if (rule->reported)
      edges[count++] = (rec_edge){rule->last_end, 0, REC_VOICE_END, 0};
    rule->reported = 0;
  }
  follow_burst(rule, flags, evident);
  if (rule->active && rule->evident && !rule->reported) {
    /* Evident only now: then all of the burst is voice. */
    if (!rule->burst_reported)
      rule->start = rule->burst_start;
    rule->reported = rule->any_reported = 1;
    edges[count++] = (rec_edge){rule->start, 0, REC_VOICE_START, 0};
  }
  rule->burst_reported = rule->in_burst && (rule->burst_reported || rule->reported);
  if ((flags & INPUT) && rule->active)
    rule->last_end = end;
  return count;
}

/* Evidence is asked for only on a quiet line: a noisy one asks for contrast. */
static int is_evident(const rec_voice *self) { return !self->voice_only || !self->quiet; }

/* Before which position all is decided. A revision may reopen what is before it: the position
 * stays, since it has been reported. */
static void update_settled(rec_voice *self) {
  const rec_voice_rule *rule = &self->rule;
  int64_t settled = oldest_input(rule, 4, self->position, self->frame, self->position);
  if (rule->in_burst && !rule->evident)
    settled = rule->burst_start;
  else if (rule->active)
    settled = rule->last_end;
  if (settled > self->settled_until)
    self->settled_until = settled;
}

/* The oldest frame that may be judged again. */
static int64_t look_back_from(const rec_voice *self) {
  int64_t from = self->frame_count - REC_VOICE_LOOK_BACK;
  return from > 0 ? from : 0;
}

/* Judges the frames of the look-back again; when that changes any, reports again what
 * stretches there are. */
static size_t look_back(rec_voice *self, rec_edge *edges) {
  int changed = 0;
  for (int64_t i = look_back_from(self); i < self->frame_count; i++) {
    rec_voice_frame *frame = frame_at(self, i);
    /* Quiet restores, and so does a tone; noise only withdraws. */
    int input = is_input(self, frame) && (self->quiet || (frame->flags & (INPUT | TONE)));
    if (input == !(frame->flags & INPUT)) {
      changed = 1;
      frame->flags ^= INPUT;
    }
  }
  if (!changed)
    return 0;
  size_t count = 0;
  self->rule = self->past;
  /* From the stretch that the look-back cuts, or may yet make evident, on. */
  int64_t since = self->rule.last_end;
  if (self->rule.reported)
    since = self->rule.start;
  else if (self->rule.in_burst && !self->rule.burst_reported)
    since = self->rule.burst_start;
  edges[count++] = (rec_edge){since, 0, REC_VOICE_REVISED, 0};
  if (self->rule.reported)
    edges[count++] = (rec_edge){self->rule.start, 0, REC_VOICE_START, 0};
  for (int64_t i = look_back_from(self); i < self->frame_count; i++)
    count += rule_step(&self->rule, frame_at(self, i)->flags, is_evident(self),
                       (i + 1) * self->frame, self->frame, edges + count);
  update_settled(self);
  edges[0].settled = self->settled_until;
  edges[0].detail = (int32_t)count - 1;
  return count;
}

/* ---- the line ------------------------------------------------------------------ */

static void sort(float *values, int n) {
  for (int i = 1; i < n; i++) {
    float value = values[i];
    int j = i;
    for (; j > 0 && values[j - 1] > value; j--)
      values[j] = values[j - 1];
    values[j] = value;
  }
}

/* The powers of the newest `reach` blocks that have none of the flags, newest first. */
static int usable_blocks(rec_voice *self, int reach, int flags, float *powers) {
  int64_t newest = self->frame_count / FRAMES_PER_BLOCK - 1;
  int n = 0;
  for (int64_t i = newest; i >= 0 && i > newest - reach; i--)
    if (!(block_at(self, i)->flags & flags))
      powers[n++] = block_at(self, i)->power;
  return n;
}

/* Has the line been one steady sound? */
static int is_steady(rec_voice *self) {
  float powers[REC_VOICE_BLOCKS];
  int n = usable_blocks(self, RELEASE_BLOCKS, BLOCK_ZERO | BLOCK_TONE, powers);
  if (n < STEADY_RANK)
    return 0;
  sort(powers, n);
  return powers[STEADY_RANK - 1] <= powers[0] * (float)ratio(STEADY_DB);
}

/* Is the line quiet, now that one more block is complete? */
static void update_line(rec_voice *self, int flags) {
  const int low = flags & LOW, zero = flags & BLOCK_ZERO;
  self->zero_run = low && zero ? self->zero_run + 1 : 0;
  if (self->zero_run >= DIGITAL_BLOCKS)
    self->digital = 1;
  if (self->frame_count == FRAMES_PER_BLOCK) {
    self->quiet = low != 0;
    self->digital = low && zero;
  }
  if (low && (!zero || self->digital)) {
    self->low_run = zero && self->low_run < self->zero_run ? self->zero_run : self->low_run + 1;
    self->since_low = 0;
  } else {
    if (!zero)
      self->low_run = 0;
    self->since_low++;
  }
  if (self->quiet) {
    if (self->since_low >= RELEASE_LONG_BLOCKS ||
        (self->since_low >= RELEASE_BLOCKS && is_steady(self))) {
      self->quiet = 0;
      self->peak = 0.0f;
    }
  } else if (self->low_run >= self->quiet_blocks) {
    self->quiet = 1;
  }
}

/* What contrast a noisy line asks for. */
static void update_threshold(rec_voice *self) {
  float powers[REC_VOICE_BLOCKS], recent[PEAK_BLOCKS];
  int n = usable_blocks(self, REC_VOICE_BLOCKS, LOW | BLOCK_ZERO | BLOCK_TONE, powers);
  if (n == 0) {
    self->threshold = 0.0f;
    return;
  }
  if (n >= PEAK_RANK) {
    int m = n < PEAK_BLOCKS ? n : PEAK_BLOCKS;
    memcpy(recent, powers, (size_t)m * sizeof *recent);
    sort(recent, m);
    if (recent[m - PEAK_RANK] > self->peak)
      self->peak = recent[m - PEAK_RANK];
  }
  sort(powers, n);
  const float floor = powers[(int)(FLOOR_SHARE * (n - 1) + 0.5)], median = powers[n / 2];
  float asked = floor * (float)ratio(OVER_FLOOR_DB);
  if (!self->rule.any_reported) {
    asked = fminf(asked, median * (float)ratio(FIRST_OVER_MEDIAN_DB));
  } else {
    asked = fminf(asked, self->peak * (float)ratio(-BELOW_PEAK_DB));
    asked = fmaxf(asked, floor * (float)ratio(LEAST_OVER_FLOOR_DB));
  }
  self->threshold = fminf(asked, (float)self->cap_power);
}

/* Five frames make a block. */
static size_t finish_block(rec_voice *self, rec_edge *edges) {
  rec_voice_block *block = block_at(self, self->frame_count / FRAMES_PER_BLOCK - 1);
  float sum = 0.0f;
  int flags = 0;
  for (int age = 0; age < FRAMES_PER_BLOCK; age++) {
    rec_voice_frame *frame = frame_at(self, self->frame_count - 1 - age);
    sum += frame->power;
    flags |= (frame->flags & ZERO ? BLOCK_ZERO : 0) | (frame->flags & TONE ? BLOCK_TONE : 0);
  }
  block->power = sum / FRAMES_PER_BLOCK;
  block->flags = (uint8_t)(flags | (block->power < (float)self->low_power ? LOW : 0));
  int was_quiet = self->quiet;
  update_line(self, block->flags);
  if (self->quiet && was_quiet)
    return 0; /* the gate alone decided, and still does */
  if (!self->quiet)
    update_threshold(self);
  return look_back(self, edges);
}

/* ---- from frame to frame ----------------------------------------------------------- */

static size_t process_frame(rec_voice *self, const int16_t *pcm, rec_edge *edges, float *level) {
  float y[REC_LEVEL_FRAME_MAX];
  double power = rec_highpass_process(&self->highpass, pcm, self->frame, y);
  int silent = all_equal(pcm, self->frame);
  if (level)
    *level = silent || power <= 0.0 ? -INFINITY
                                    : (float)(10.0 * log10(power / (FULL_SCALE * FULL_SCALE)));
  if (self->frame_count >= REC_VOICE_LOOK_BACK) {
    /* The oldest frame leaves the look-back: what it is, it stays. */
    rec_edge past[2];
    int64_t leaving = self->frame_count - REC_VOICE_LOOK_BACK;
    rule_step(&self->past, frame_at(self, leaving)->flags, is_evident(self),
              (leaving + 1) * self->frame, self->frame, past);
  }
  add_frame(self, y, power, silent);
  const rec_voice_frame *newest = frame_at(self, self->frame_count - 1);
  size_t count =
      rule_step(&self->rule, newest->flags, is_evident(self), self->position, self->frame, edges);
  for (size_t i = 0; i < count; i++)
    edges[i].settled = self->settled_until;
  update_settled(self);
  if (self->tracking && self->frame_count % FRAMES_PER_BLOCK == 0)
    count += finish_block(self, edges + count);
  return count;
}

size_t rec_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                         float *levels) {
  size_t count = 0;
  while (n > 0) {
    size_t used = self->frame - self->filled;
    if (used > n)
      used = n;
    const int16_t *frame = pcm;
    if (used < self->frame) {
      memcpy(self->pending + self->filled, pcm, used * sizeof *pcm);
      frame = self->pending;
    }
    self->filled += (uint32_t)used;
    pcm += used;
    n -= used;
    if (self->filled == self->frame) {
      self->filled = 0;
      count += process_frame(self, frame, edges + count, levels);
      if (levels)
        levels++;
    }
  }
  return count;
}

size_t rec_voice_finish(rec_voice *self, rec_edge *edges) {
  if (!self->rule.reported)
    return 0;
  self->rule.reported = self->rule.active = 0;
  edges[0] = (rec_edge){self->rule.last_end, self->settled_until, REC_VOICE_END, 0};
  return 1;
}

int64_t rec_voice_settled_until(const rec_voice *self) { return self->settled_until; }

size_t rec_voice_edges_bound(const rec_voice *self, size_t n) {
  /* Without tracking nothing is revised: an edge per frame at most. */
  return self->tracking ? rec_edges_bound(self->rate, n) : n / self->frame + 1;
}
