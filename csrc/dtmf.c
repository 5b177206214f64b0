/* SPDX-License-Identifier: MIT */
/*
 * DTMF (ITU-T Q.23, Q.24). A cheap look at every 20 ms block, a careful look at
 * the few that pass:
 *
 *   samples ─▶ decimate ─▶ block: 8 bins ──hit──▶ tracker: both tones' complex
 *              to ~8 kHz                          amplitudes every 2.5 ms
 *                                                      │
 *                          edges, where they cross ◀── envelope ──▶ limits ─▶ digit
 *                          half the tone's level
 *
 * A decision may come up to 60 ms after the onset; the positions it reports are
 * those of the tone itself.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

/* Steps are 2.5 ms. The window of the careful look is a Hann window of 6 of them:
 * 15 ms, first null 133 Hz away, about where the high group's next tone is. */
#define STEPS_PER_BLOCK 8
#define WINDOW_STEPS 6
#define LOOK_BACK 18 /* steps before a hit's block where its tracker begins: 45 ms */

/* Levels. Full scale is taken to be A-law's overload point; mu-law's is 3.17 dBm0 (G.711). */
#define ALAW_OVERLOAD_DBM0 3.14
#define MIN_LEVEL_DBM0 (-43.0) /* of each tone; Q.24 asks -29 dBm and gives no floor */
#define QUIET_SHARE 0.5f       /* of the weakest tone's amplitude: no tone is below */

/* The cheap look. Low, so that a tone under speech or half in the block passes. */
#define HIT_SHARE 0.12         /* of the block's power in the two winners */
#define HIT_LEVEL 0.2          /* of the weakest tone's power */
#define HIT_LOW_OVER_HIGH 32.0 /* 15 dB */
#define HIT_HIGH_OVER_LOW 12.0 /* 10.8 dB */
#define HIT_OVER_RUNNER_UP 2.0 /* 3 dB over the next bin of the group */
#define HIT_LOW_HZ 30.0        /* from nominal */
#define HIT_HIGH_HZ 40.0

/* The limits. Q.24 table 1: accept within 1.5 %, reject beyond 3.5 %; accept 40 ms,
 * reject 23 ms (the least asked of any administration); the high group up to 4 dB stronger or
 * 8 dB weaker accepted. Which sign of twist is called normal differs by author: hence the names. */
#define MIN_TONE_MS 31.0
#define MIN_CORE 4
#define MAX_RUNS 3
#define MAX_LOW_DEVIATION 2.0 /* percent */
#define MAX_HIGH_DEVIATION 1.9
#define MAX_LOW_OVER_HIGH_DB 10.5
#define MAX_HIGH_OVER_LOW_DB 6.5
#define MIN_PURITY_DB 4.0  /* each tone's coherent power over the rest of its bin */
#define MIN_PAUSE_MS 28.75 /* between the same digit's presses; Q.24: 40 ms is one */
#define MIN_RESIDUAL_MS 10.0
#define MAX_RESIDUAL_MS 56.0 /* 512 samples at the inner rate hold it */

/* What passes the limits is weighed: accepted when the cost is below this. A clean
 * digit costs about -18. Each term is its weight times a figure, kept in a range. Weights
 * fitted on digits in noise and speech, against speech and music. */
#define ACCEPT_COST (-5.5)

typedef struct {
  double weight, lowest, highest;
} cost_term;

/* Of the two tones themselves. */
enum {
  LOW_DEVIATION,
  HIGH_DEVIATION,
  EXCESS_TWIST,
  FALL_TIME,
  EDGE_DISTANCES,
  HIGH_PURITY,
  ENDED,
  TONE_TERMS
};
static const cost_term TONE_COST[TONE_TERMS] = {
    [LOW_DEVIATION] = {1.1, 0.0, MAX_LOW_DEVIATION}, /* percent from nominal */
    [HIGH_DEVIATION] = {2.0, 0.0, MAX_HIGH_DEVIATION},
    [EXCESS_TWIST] = {0.8, 0.0, 6.0},     /* dB past FREE_TWIST_DB about USUAL_TWIST_DB */
    [FALL_TIME] = {0.4, 4.0, 16.0},       /* ms from three quarters to one quarter */
    [EDGE_DISTANCES] = {0.19, 2.0, 40.0}, /* ms between the tones: of the onsets and of the ends */
    [HIGH_PURITY] = {-0.16, 4.0, 25.0},   /* dB */
    [ENDED] = {-2.2, 0.0, 1.0},           /* 1: the end has been seen */
};

/* Of what is left in the four bands of the residual, in dB. */
enum { BAND_1, BANDS_2_3, BAND_3, BAND_2, BAND_4, RESIDUAL_TERMS };
static const cost_term RESIDUAL_COST[RESIDUAL_TERMS] = {
    [BAND_1] = {0.15, -20.0, 30.0}, /* over both tones */
    [BANDS_2_3] = {0.09, -30.0, 30.0},
    [BAND_3] = {0.12, -30.0, 30.0}, /* over the high tone, whose band it is */
    [BAND_2] = {0.09, -30.0, 30.0}, /* over the low tone */
    [BAND_4] = {0.07, -25.0, 10.0}, /* over both tones */
};

#define USUAL_TWIST_DB 1.0 /* low over high */
#define FREE_TWIST_DB 4.3
#define USUAL_FALL_MS 6.0          /* where the end has not been seen */
#define USUAL_END_DISTANCE_MS 3.0  /* the same */
#define LEAST_EDGE_DISTANCE_MS 1.0 /* less is not measurable */
#define MOST_EDGE_DISTANCE_MS 20.0

#define DROPOUT_MS 30.0 /* less than this off does not end a digit */
#define FORGET_MS 60.0  /* a candidate without a hit for so long is dropped */
#define CORE_MS 5.0     /* inside a run's edges by this much */
#define CORE_LAST_MS 60.0
#define ON 0.5f /* of the tone's level: an edge seen through the window */

static const double PI = 3.14159265358979323846;
static const double TONES_HZ[8] = {697, 770, 852, 941, 1209, 1336, 1477, 1633};
static const char KEYPAD[16 + 1] = "123A456B789C*0#D";

static double amplitude_of(double dbm0) {
  return 32768.0 * pow(10.0, (dbm0 - ALAW_OVERLOAD_DBM0) / 20.0);
}

static float square(float x) { return x * x; }

int rec_dtmf_tables_init(rec_dtmf_tables *self, uint32_t rate) {
  if (!rec_rate_supported(rate))
    return -1;
  memset(self, 0, sizeof *self);
  self->rate = rate;
  self->factor = rate / 8000;
  double inner = (double)rate / self->factor;
  self->inner_rate = inner;
  self->step = (uint32_t)(inner / 400.0);
  self->block = STEPS_PER_BLOCK * self->step;
  self->window = WINDOW_STEPS * self->step;
  self->step_ms = 1000.0 * self->step / inner;
  self->weakest_amplitude = (float)amplitude_of(MIN_LEVEL_DBM0);
  if (self->factor > 1)
    rec_decimator_table_init(&self->decimator, self->factor);
  for (int tone = 0; tone < 8; tone++) {
    double omega = 2.0 * PI * TONES_HZ[tone] / inner;
    self->frequency[tone] = omega;
    for (uint32_t i = 0; i < self->block / 2; i++) {
      self->block_cos[tone / 4][i][tone % 4] = (float)cos(omega * (i + 0.5));
      self->block_sin[tone / 4][i][tone % 4] = (float)sin(omega * (i + 0.5));
    }
    for (uint32_t i = 0; i < self->window; i++) {
      double hann = 0.5 - 0.5 * cos(2.0 * PI * (i + 0.5) / self->window);
      double t = i - (self->window - 1) / 2.0;
      self->window_cos[tone][i] = (float)(hann * cos(omega * t));
      self->window_sin[tone][i] = (float)(hann * sin(omega * t));
    }
  }
  self->window_sum = (float)self->window / 2.0f;
  return 0;
}

void rec_dtmf_init(rec_dtmf *self, const rec_dtmf_tables *tables) {
  memset(self, 0, sizeof *self);
  self->tables = tables;
  rec_decimator_init(&self->decimator);
  for (int digit = 0; digit < 16; digit++)
    self->last_end[digit] = -1e9;
}

static int64_t position_of_block(const rec_dtmf *self, int64_t block) {
  return block * self->tables->block * self->tables->factor;
}

/* A moment in steps, as a position in samples. The decimator's window reaches
 * 3.5 of its outputs back from an output's own samples. */
static int64_t position_of(const rec_dtmf *self, double steps) {
  double delay = self->tables->factor > 1 ? 3.5 : 0.0;
  return llround((steps * self->tables->step - delay) * self->tables->factor);
}

/* The same for an onset: never within what was too quiet, so that none comes
 * before what rec_dtmf_settled_until has returned. */
static int64_t onset_position(const rec_dtmf *self, double steps) {
  int64_t position = position_of(self, steps);
  return position > self->quiet_until ? position : self->quiet_until;
}

/* ---- the cheap look ----------------------------------------------------- */

/* Four running sums side by side, in one register. */
typedef struct {
  float lane[4];
} four;

static inline four multiply_add(four sum, float x, const float factors[4]) {
  for (int lane = 0; lane < 4; lane++)
    sum.lane[lane] += x * factors[lane];
  return sum;
}

static inline four multiply_add_each(four sum, const float a[4], const float b[4]) {
  for (int lane = 0; lane < 4; lane++)
    sum.lane[lane] += a[lane] * b[lane];
  return sum;
}

static float total(four sum) { return (sum.lane[0] + sum.lane[2]) + (sum.lane[1] + sum.lane[3]); }

static float mean_square(const float *x, size_t n) {
  four sum = {{0}};
  for (size_t i = 0; i < n; i += 4)
    sum = multiply_add_each(sum, x + i, x + i);
  return total(sum) / (float)n;
}

/* The strongest tone of a group in the block, and its power; -1 when none stands out. The block
 * is folded about its middle. */
static int winner(const rec_dtmf_tables *self, const float *x, int group, float *power) {
  four re = {{0}}, im = {{0}};
  const size_t half = self->block / 2;
  for (size_t i = 0; i < half; i++) {
    const float after = x[half + i], before = x[half - 1 - i];
    re = multiply_add(re, after + before, self->block_cos[group][i]);
    im = multiply_add(im, after - before, self->block_sin[group][i]);
  }
  float powers[4];
  for (int i = 0; i < 4; i++)
    powers[i] = square(re.lane[i]) + square(im.lane[i]);
  int best = 0;
  for (int i = 1; i < 4; i++)
    if (powers[i] > powers[best])
      best = i;
  for (int i = 0; i < 4; i++)
    if (i != best && powers[i] * HIT_OVER_RUNNER_UP > powers[best])
      return -1;
  *power = 2.0f / ((float)self->block * (float)self->block) * powers[best];
  return best;
}

/* One tone's complex amplitude through the window that starts at x. */
static void window_amplitude(const rec_dtmf_tables *self, const float *x, int tone, float *re,
                             float *im) {
  const float *c = self->window_cos[tone], *s = self->window_sin[tone];
  four sum_re = {{0}}, sum_im = {{0}};
  const size_t n = self->window;
  for (size_t i = 0; i < n; i += 4) {
    sum_re = multiply_add_each(sum_re, c + i, x + i);
    sum_im = multiply_add_each(sum_im, s + i, x + i);
  }
  const float scale = 2.0f / self->window_sum;
  *re = scale * total(sum_re);
  *im = -scale * total(sum_im);
}

/* The newest samples: `x` is where block `block` begins in a buffer that has those before it,
 * too, as far as they are looked at. */
typedef struct {
  int64_t block;
  const float *x;
} newest_block;

static float *slot_of(rec_dtmf *self, int64_t block) {
  return self->samples[block & (REC_DTMF_SLOTS - 1)];
}

/* The newest block with the history before it, one after the other. */
static newest_block with_history(const rec_dtmf *self, int64_t block,
                                 float buffer[REC_DTMF_HISTORY_MAX + REC_DTMF_BLOCK_MAX]) {
  const size_t n = self->tables->block, history = 21 * (size_t)self->tables->step;
  float *x = buffer + REC_DTMF_HISTORY_MAX;
  const size_t part = history - 2 * n; /* of the oldest block only the end is history */
  for (int age = 0; age < REC_DTMF_SLOTS; age++) {
    const float *slot = self->samples[(block - age) & (REC_DTMF_SLOTS - 1)];
    if (age < 3)
      memcpy(x - (size_t)age * n, slot, n * sizeof *x);
    else
      memcpy(x - history, slot + n - part, part * sizeof *x);
  }
  return (newest_block){block, x};
}

/* The samples of the window about a step. */
static const float *window_at(const rec_dtmf_tables *self, int64_t step, newest_block newest) {
  int64_t from = step - STEPS_PER_BLOCK * newest.block - WINDOW_STEPS / 2;
  return newest.x + from * self->step;
}

/* Phase advance between two complex numbers, against what was expected. */
static double phase_error(double re0, double im0, double re1, double im1, double expected) {
  double re = re1 * re0 + im1 * im0, im = im1 * re0 - re1 * im0;
  return atan2(im * cos(expected) - re * sin(expected), re * cos(expected) + im * sin(expected));
}

/* Does the tone's phase advance over 5 ms in mid-block as its frequency says? */
static int near_nominal(const rec_dtmf_tables *self, newest_block newest, int tone,
                        double tolerance_hz) {
  int64_t step = STEPS_PER_BLOCK * newest.block + 3;
  float re0, im0, re1, im1;
  window_amplitude(self, window_at(self, step, newest), tone, &re0, &im0);
  window_amplitude(self, window_at(self, step + 2, newest), tone, &re1, &im1);
  if ((re0 == 0.0f && im0 == 0.0f) || (re1 == 0.0f && im1 == 0.0f))
    return 0; /* digital silence in mid-block has no phase */
  double error = phase_error(re0, im0, re1, im1, 2.0 * self->step * self->frequency[tone]);
  return fabs(error) < 2.0 * PI * tolerance_hz * 2.0 * self->step_ms / 1000.0;
}

/* Is there a digit in this block that a closer look might confirm? */
static int block_hit(const rec_dtmf_tables *self, newest_block newest, int *low, int *high) {
  const float *x = newest.x;
  float weakest = square(self->weakest_amplitude) / 2.0f;
  float energy = mean_square(x, self->block);
  if (energy < weakest)
    return 0;
  float p_low, p_high;
  *low = winner(self, x, 0, &p_low);
  if (*low < 0)
    return 0; /* most speech goes here */
  *high = winner(self, x, 1, &p_high);
  return *high >= 0 && p_low + p_high > (float)HIT_SHARE * energy &&
         p_low > (float)HIT_LEVEL * weakest && p_high > (float)HIT_LEVEL * weakest &&
         p_low < (float)HIT_LOW_OVER_HIGH * p_high && p_high < (float)HIT_HIGH_OVER_LOW * p_low &&
         near_nominal(self, newest, *low, HIT_LOW_HZ) &&
         near_nominal(self, newest, 4 + *high, HIT_HIGH_HZ);
}

/* ---- trackers: the careful look ------------------------------------------ */

static int digit_of(const rec_dtmf_tracker *tracker) { return tracker->low * 4 + tracker->high; }

/* The tracker that follows this digit, a new one if there is none yet; NULL when
 * all of them follow confirmed digits. */
static rec_dtmf_tracker *tracker_for(rec_dtmf *self, int64_t block, int low, int high) {
  rec_dtmf_tracker *chosen = NULL;
  int chosen_live = 0;
  for (int i = 0; i < REC_DTMF_TRACKERS; i++) {
    rec_dtmf_tracker *tracker = &self->trackers[i];
    if (self->live[i] && tracker->low == low && tracker->high == high)
      return tracker;
    if (self->live[i] && tracker->confirmed)
      continue;
    if (!chosen || (chosen_live && (!self->live[i] || tracker->last_hit < chosen->last_hit))) {
      chosen = tracker;
      chosen_live = self->live[i];
    }
  }
  if (!chosen)
    return NULL;
  self->live[chosen - self->trackers] = 1;
  chosen->confirmed = 0;
  chosen->low = low;
  chosen->high = high;
  chosen->first = STEPS_PER_BLOCK * block - LOOK_BACK;
  int64_t after_last = (int64_t)ceil(self->last_end[digit_of(chosen)]);
  if (after_last > chosen->first)
    chosen->first = after_last;
  chosen->next = chosen->first;
  return chosen;
}

/* Measure the steps that the newest block completes. */
static void tracker_measure(const rec_dtmf_tables *tables, rec_dtmf_tracker *tracker,
                            newest_block newest) {
  int64_t end = STEPS_PER_BLOCK * (newest.block + 1) - WINDOW_STEPS / 2 + 1;
  for (; tracker->next < end; tracker->next++) {
    const float *x = window_at(tables, tracker->next, newest);
    size_t at = (size_t)(tracker->next & (REC_DTMF_MEMORY - 1));
    window_amplitude(tables, x, tracker->low, &tracker->low_re[at], &tracker->low_im[at]);
    window_amplitude(tables, x, 4 + tracker->high, &tracker->high_re[at], &tracker->high_im[at]);
  }
  if (tracker->next - tracker->first > REC_DTMF_MEMORY)
    tracker->first = tracker->next - REC_DTMF_MEMORY;
}

/* A tracker's memory, oldest first, as the limits look at it. */
typedef struct {
  int n;
  float low[REC_DTMF_MEMORY], high[REC_DTMF_MEMORY]; /* amplitudes */
  float on[REC_DTMF_MEMORY]; /* the weaker of the two, against its reference */
  int core[REC_DTMF_MEMORY];
  float low_ref, high_ref;
  /* the newest stretch that is on, dropouts included */
  int first, last;   /* its first and last step that are on */
  double start, end; /* its edges, in steps from the oldest */
  double run_start;  /* where its newest run began */
  double duration;   /* without the dropouts */
  int runs, ended;
} envelope;

static float percentile_60(const float *values, int from, int to) {
  float sorted[REC_DTMF_MEMORY];
  int n = 0;
  for (int i = from; i < to; i++, n++) {
    int j = n;
    for (; j > 0 && sorted[j - 1] > values[i]; j--)
      sorted[j] = sorted[j - 1];
    sorted[j] = values[i];
  }
  return sorted[(n * 3) / 5 < n ? (n * 3) / 5 : n - 1];
}

static float weaker_share(const envelope *e, int i) {
  float low = e->low[i] / e->low_ref, high = e->high[i] / e->high_ref;
  return low < high ? low : high;
}

/* Each tone's level: the 60th percentile over the stretch about the peak that is
 * above half of it, twice. */
static void envelope_references(envelope *e) {
  int peak = 0;
  for (int i = 1; i < e->n; i++)
    if (e->low[i] * e->high[i] > e->low[peak] * e->high[peak])
      peak = i;
  e->low_ref = e->low[peak] + 1e-9f;
  e->high_ref = e->high[peak] + 1e-9f;
  for (int pass = 0; pass < 2; pass++) {
    int from = peak, to = peak + 1;
    while (from > 0 && weaker_share(e, from - 1) >= ON)
      from--;
    while (to < e->n && weaker_share(e, to) >= ON)
      to++;
    e->low_ref = percentile_60(e->low, from, to) + 1e-9f;
    e->high_ref = percentile_60(e->high, from, to) + 1e-9f;
  }
}

/* Where between step i and step i + 1 the envelope crosses half. */
static double crossing(const float *on, int i) {
  return i + (double)(on[i] - ON) / (double)(on[i] - on[i + 1]);
}

/* The newest stretch that is on, and the steps well inside it. Returns 0 when
 * nothing is. */
static int envelope_stretch(envelope *e, double step_ms) {
  int gap = (int)ceil(DROPOUT_MS / step_ms), inside = (int)ceil(CORE_MS / step_ms);
  int oldest_core = e->n - (int)(CORE_LAST_MS / step_ms);
  memset(e->core, 0, sizeof e->core);
  e->runs = 0;
  e->duration = 0.0;
  int i = e->n - 1, previous_start = -1;
  while (e->runs <= MAX_RUNS) {
    while (i >= 0 && e->on[i] < ON)
      i--;
    if (i < 0 || (previous_start >= 0 && previous_start - i > gap))
      break;
    int last = i;
    while (i >= 0 && e->on[i] >= ON)
      i--;
    int first = i + 1;
    double start = first > 0 ? crossing(e->on, first - 1) : 0.0;
    double end = last < e->n - 1 ? crossing(e->on, last) : last;
    if (e->runs == 0) {
      e->end = end;
      e->last = last;
      e->run_start = start;
      e->ended = last < e->n - 1;
    }
    for (int k = first + inside; k <= (last < e->n - 1 ? last - inside : last); k++)
      e->core[k] = k >= oldest_core;
    e->start = start;
    e->first = first;
    e->duration += end - start;
    e->runs++;
    previous_start = first;
  }
  return e->runs > 0;
}

/* Fills `e` from the tracker's memory. Returns 0 when its tones are not on. */
static int envelope_of(const rec_dtmf *self, const rec_dtmf_tracker *tracker, envelope *e) {
  e->n = (int)(tracker->next - tracker->first);
  if (e->n < 1)
    return 0;
  for (int i = 0; i < e->n; i++) {
    size_t at = (size_t)((tracker->first + i) & (REC_DTMF_MEMORY - 1));
    e->low[i] = sqrtf(square(tracker->low_re[at]) + square(tracker->low_im[at]));
    e->high[i] = sqrtf(square(tracker->high_re[at]) + square(tracker->high_im[at]));
  }
  envelope_references(e);
  for (int i = 0; i < e->n; i++)
    e->on[i] = weaker_share(e, i);
  return envelope_stretch(e, self->tables->step_ms);
}

/* ---- limits and cost --------------------------------------------------------- */

typedef struct {
  double deviation; /* from nominal, in percent */
  double purity;    /* coherent power over the rest, in dB */
} tone_quality;

static double decibels(double ratio) { return 10.0 * log10(ratio > 1e-12 ? ratio : 1e-12); }

static double clamp(double x, double low, double high) {
  return x < low ? low : x > high ? high : x;
}

static double cost_of(const cost_term *terms, int n, const double *figures) {
  double cost = 0.0;
  for (int i = 0; i < n; i++)
    cost += terms[i].weight * clamp(figures[i], terms[i].lowest, terms[i].highest);
  return cost;
}

/* Added up in the order of cost_of, so that rounding cannot make a cost less than it. */
static double least_cost(const cost_term *terms, int n) {
  double cost = 0.0;
  for (int i = 0; i < n; i++)
    cost += fmin(terms[i].weight * terms[i].lowest, terms[i].weight * terms[i].highest);
  return cost;
}

/* Frequency from the phase advance over 1, 2, 4 and 8 steps of the core, each
 * lag resolving the ambiguity of the next; then how much of the bin's power
 * is that one tone. */
static tone_quality judge_tone(const float *re, const float *im, int64_t first, const envelope *e,
                               double advance) {
  double excess = 0.0; /* over the nominal advance, radians per step */
  for (int lag = 1; lag <= 8; lag *= 2) {
    double sum_re = 0.0, sum_im = 0.0;
    for (int i = 0; i + lag < e->n; i++) {
      if (!e->core[i] || !e->core[i + lag])
        continue;
      size_t a = (size_t)((first + i) & (REC_DTMF_MEMORY - 1));
      size_t b = (size_t)((first + i + lag) & (REC_DTMF_MEMORY - 1));
      sum_re += (double)re[b] * re[a] + (double)im[b] * im[a];
      sum_im += (double)im[b] * re[a] - (double)re[b] * im[a];
    }
    if (sum_re == 0.0 && sum_im == 0.0)
      break;
    excess += phase_error(1.0, 0.0, sum_re, sum_im, lag * (advance + excess)) / lag;
  }
  double sum_re = 0.0, sum_im = 0.0, total = 0.0;
  int n = 0;
  for (int i = 0; i < e->n; i++) {
    if (!e->core[i])
      continue;
    size_t at = (size_t)((first + i) & (REC_DTMF_MEMORY - 1));
    double phase = i * (advance + excess), c = cos(phase), s = sin(phase);
    sum_re += re[at] * c + im[at] * s;
    sum_im += im[at] * c - re[at] * s;
    total += (double)re[at] * re[at] + (double)im[at] * im[at];
    n++;
  }
  double coherent = (sum_re * sum_re + sum_im * sum_im) / n;
  double rest = total - coherent;
  return (tone_quality){100.0 * excess / advance,
                        decibels(coherent / (rest > 1e-9 * total ? rest : 1e-9 * total))};
}

/* Where a tone, against its level, crosses half going outwards from step `from`; a
 * negative value when memory does not reach so far. */
static double own_crossing(const float *amplitude, float reference, int n, int from,
                           int direction) {
  int i = from;
  while (i >= 0 && i < n && amplitude[i] >= ON * reference)
    i += direction;
  if (i < 0 || i >= n)
    return -1.0;
  double inside = amplitude[i - direction], outside = amplitude[i];
  return i - direction * (ON * reference - outside) / (inside - outside);
}

/* By how much, in ms, the two tones' own edges are apart. Of one press they are not. */
static double edge_distance(const envelope *e, int from, int direction, double step_ms) {
  double low = own_crossing(e->low, e->low_ref, e->n, from, direction);
  double high = own_crossing(e->high, e->high_ref, e->n, from, direction);
  if (low < 0.0 || high < 0.0)
    return MOST_EDGE_DISTANCE_MS;
  return clamp(fabs(low - high) * step_ms, LEAST_EDGE_DISTANCE_MS, MOST_EDGE_DISTANCE_MS);
}

/* How long the envelope takes from three quarters down to one, in ms. */
static double fall_time(const envelope *e, double step_ms) {
  int last = e->last;
  while (last > 0 && e->on[last] < 0.75f)
    last--;
  int i = last + 1;
  if (i >= e->n)
    return USUAL_FALL_MS;
  double high = last + (e->on[last] - 0.75) / ((double)e->on[last] - e->on[i]);
  while (i < e->n && e->on[i] >= 0.25f)
    i++;
  if (i >= e->n)
    return USUAL_FALL_MS;
  double low = i - (0.25 - e->on[i]) / ((double)e->on[i - 1] - e->on[i]);
  return (low - high) * step_ms;
}

/* What is left beside the tones over the newest run, as cost. Returns 0 when too
 * little of the run is at hand to judge. */
static int residual_cost(const rec_dtmf_tables *tables, const rec_dtmf_tracker *tracker,
                         const envelope *e, double low_omega, double high_omega,
                         newest_block newest, double *cost) {
  /* In samples from the start of the newest block. */
  const double origin = (double)(tracker->first - STEPS_PER_BLOCK * newest.block);
  int from = (int)ceil((origin + e->run_start) * tables->step);
  int to = (int)floor((origin + e->end) * tables->step);
  const int longest = (int)(MAX_RESIDUAL_MS / 1000.0 * tables->inner_rate);
  const int oldest = -(int)((LOOK_BACK + WINDOW_STEPS / 2) * tables->step);
  if (!e->ended)
    to = (int)tables->block;
  if (from < to - longest)
    from = to - longest;
  if (from < oldest)
    from = oldest;
  if (to - from < (int)(MIN_RESIDUAL_MS / 1000.0 * tables->inner_rate))
    return 0;
  rec_residual r;
  rec_residual_measure(newest.x + from, to - from, tables->inner_rate, low_omega, high_omega, &r);
  const double low = r.low_tone + 1e-9, high = r.high_tone + 1e-9, both = low + high;
  const double figures[RESIDUAL_TERMS] = {
      [BAND_1] = decibels(r.bands[0] / both),
      [BANDS_2_3] = decibels((r.bands[1] + r.bands[2]) / both),
      [BAND_3] = decibels(r.bands[2] / high),
      [BAND_2] = decibels(r.bands[1] / low),
      [BAND_4] = decibels(r.bands[3] / both),
  };
  *cost = cost_of(RESIDUAL_COST, RESIDUAL_TERMS, figures);
  return 1;
}

static int is_digit(const rec_dtmf *self, const rec_dtmf_tracker *tracker, const envelope *e,
                    newest_block newest) {
  const rec_dtmf_tables *tables = self->tables;
  int core = 0;
  for (int i = 0; i < e->n; i++)
    core += e->core[i];
  if (e->runs > MAX_RUNS || e->duration * tables->step_ms < MIN_TONE_MS || core < MIN_CORE)
    return 0;
  double pause = (double)tracker->first + e->start - self->last_end[digit_of(tracker)];
  if (pause * tables->step_ms < MIN_PAUSE_MS)
    return 0;
  float weakest = tables->weakest_amplitude;
  double twist = 20.0 * log10((double)e->low_ref / (double)e->high_ref);
  if (e->low_ref < weakest || e->high_ref < weakest || twist > MAX_LOW_OVER_HIGH_DB ||
      -twist > MAX_HIGH_OVER_LOW_DB)
    return 0;
  double low_omega = tables->frequency[tracker->low];
  double high_omega = tables->frequency[4 + tracker->high];
  tone_quality low =
      judge_tone(tracker->low_re, tracker->low_im, tracker->first, e, tables->step * low_omega);
  tone_quality high =
      judge_tone(tracker->high_re, tracker->high_im, tracker->first, e, tables->step * high_omega);
  if (fabs(low.deviation) > MAX_LOW_DEVIATION || fabs(high.deviation) > MAX_HIGH_DEVIATION ||
      low.purity < MIN_PURITY_DB || high.purity < MIN_PURITY_DB)
    return 0;
  double end_distance =
      e->ended ? edge_distance(e, e->last, 1, tables->step_ms) : USUAL_END_DISTANCE_MS;
  const double figures[TONE_TERMS] = {
      [LOW_DEVIATION] = fabs(low.deviation),
      [HIGH_DEVIATION] = fabs(high.deviation),
      [EXCESS_TWIST] = fabs(twist - USUAL_TWIST_DB) - FREE_TWIST_DB,
      [FALL_TIME] = fall_time(e, tables->step_ms),
      [EDGE_DISTANCES] = edge_distance(e, e->first, -1, tables->step_ms) + end_distance,
      [HIGH_PURITY] = high.purity,
      [ENDED] = e->ended ? 1.0 : 0.0,
  };
  const double cost = cost_of(TONE_COST, TONE_TERMS, figures);
  if (cost + least_cost(RESIDUAL_COST, RESIDUAL_TERMS) >= ACCEPT_COST)
    return 0; /* whatever is left beside the tones */
  double residual;
  return residual_cost(tables, tracker, e, low_omega * (1.0 + low.deviation / 100.0),
                       high_omega * (1.0 + high.deviation / 100.0), newest, &residual) &&
         cost + residual < ACCEPT_COST;
}

/* ---- from block to block --------------------------------------------------- */

/* How strongly a confirmed digit sounds at a step, against its own level. */
static float still_on(const rec_dtmf_tracker *tracker, int64_t step) {
  size_t at = (size_t)(step & (REC_DTMF_MEMORY - 1));
  float low = sqrtf(square(tracker->low_re[at]) + square(tracker->low_im[at])) / tracker->low_ref;
  float high =
      sqrtf(square(tracker->high_re[at]) + square(tracker->high_im[at])) / tracker->high_ref;
  return low < high ? low : high;
}

/* Follows a confirmed digit over the steps from `from` on; ends it once it was
 * off for DROPOUT_MS, at the moment it went off. */
static size_t tracker_follow(rec_dtmf *self, rec_dtmf_tracker *tracker, int64_t from,
                             rec_edge *edges) {
  for (int64_t step = from; step < tracker->next; step++) {
    if (still_on(tracker, step) >= ON) {
      tracker->last_on = step;
    } else if ((double)(step - tracker->last_on) * self->tables->step_ms >= DROPOUT_MS) {
      float on[2] = {still_on(tracker, tracker->last_on), still_on(tracker, tracker->last_on + 1)};
      double end = (double)tracker->last_on + crossing(on, 0);
      self->live[tracker - self->trackers] = 0;
      self->last_end[digit_of(tracker)] = end;
      edges[0] = (rec_edge){position_of(self, end), 0, REC_DIGIT_END, KEYPAD[digit_of(tracker)]};
      return 1;
    }
  }
  return 0;
}

static size_t tracker_judge(rec_dtmf *self, rec_dtmf_tracker *tracker, newest_block newest,
                            rec_edge *edges) {
  int64_t from = tracker->next;
  tracker_measure(self->tables, tracker, newest);
  if (tracker->confirmed)
    return tracker_follow(self, tracker, from, edges);
  envelope e;
  if (envelope_of(self, tracker, &e) && is_digit(self, tracker, &e, newest)) {
    tracker->confirmed = 1;
    tracker->low_ref = e.low_ref;
    tracker->high_ref = e.high_ref;
    tracker->onset = onset_position(self, (double)tracker->first + e.start);
    tracker->last_on = tracker->first + (int64_t)e.end;
    edges[0] = (rec_edge){tracker->onset, 0, REC_DIGIT_START, KEYPAD[digit_of(tracker)]};
    return 1 + tracker_follow(self, tracker, tracker->last_on, edges + 1);
  }
  int64_t since_hit = STEPS_PER_BLOCK * (newest.block + 1) - tracker->last_hit;
  if ((double)since_hit * self->tables->step_ms > FORGET_MS)
    self->live[tracker - self->trackers] = 0;
  return 0;
}

static int too_quiet(const rec_dtmf_tables *tables, const int16_t *pcm, size_t n) {
  int16_t highest = 0, lowest = 0;
  for (size_t i = 0; i < n; i++) {
    highest = pcm[i] > highest ? pcm[i] : highest;
    lowest = pcm[i] < lowest ? pcm[i] : lowest;
  }
  const float limit = QUIET_SHARE * tables->weakest_amplitude;
  return (float)highest < limit && (float)lowest > -limit;
}

static size_t process_block(rec_dtmf *self, const int16_t *pcm, rec_edge *edges) {
  const rec_dtmf_tables *tables = self->tables;
  const int64_t block = self->blocks;
  float *x = slot_of(self, block);
  if (tables->factor > 1)
    rec_decimator_process(&self->decimator, &tables->decimator, pcm, tables->block, x);
  else
    for (uint32_t i = 0; i < tables->block; i++)
      x[i] = pcm[i];

  newest_block newest = {block, x};
  int quiet = too_quiet(tables, pcm, (size_t)tables->block * tables->factor), low, high;
  if (!quiet && block_hit(tables, newest, &low, &high)) {
    rec_dtmf_tracker *tracker = tracker_for(self, block, low, high);
    if (tracker)
      tracker->last_hit = STEPS_PER_BLOCK * (block + 1);
  }
  self->blocks++;
  static const uint8_t none[REC_DTMF_TRACKERS] = {0};
  size_t count = 0;
  if (memcmp(self->live, none, sizeof none) != 0) {
    float history[REC_DTMF_HISTORY_MAX + REC_DTMF_BLOCK_MAX];
    newest = with_history(self, block, history);
    for (int i = 0; i < REC_DTMF_TRACKERS; i++)
      if (self->live[i])
        count += tracker_judge(self, &self->trackers[i], newest, edges + count);
  }
  if (quiet) {
    /* Whatever sounded before is over, and all of it has been looked at. */
    for (int i = 0; i < REC_DTMF_TRACKERS; i++)
      self->live[i] = self->live[i] && self->trackers[i].confirmed;
    self->quiet_until = position_of_block(self, self->blocks);
  }
  return count;
}

size_t rec_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n, rec_edge *edges) {
  const size_t whole = (size_t)self->tables->block * self->tables->factor;
  size_t count = 0;
  while (n > 0) {
    size_t used = whole - self->filled;
    if (used > n)
      used = n;
    if (used == whole) {
      count += process_block(self, pcm, edges + count);
    } else {
      memcpy(self->pending + self->filled, pcm, used * sizeof *pcm);
      self->filled += (uint32_t)used;
      if (self->filled == whole) {
        count += process_block(self, self->pending, edges + count);
        self->filled = 0;
      }
    }
    pcm += used;
    n -= used;
  }
  return count;
}

size_t rec_dtmf_finish(rec_dtmf *self, rec_edge *edges) {
  static const int16_t silence[REC_DECIMATE_IN_MAX] = {0};
  const int64_t end = position_of_block(self, self->blocks) + self->filled;
  size_t count = 0;
  for (int i = 0; i < 4; i++) /* 80 ms: longer than any decision takes */
    count += rec_dtmf_process(self, silence, (size_t)self->tables->block * self->tables->factor,
                              edges + count);
  for (size_t i = 0; i < count; i++)
    if (edges[i].position > end)
      edges[i].position = end;
  return count;
}

int64_t rec_dtmf_settled_until(const rec_dtmf *self) {
  double oldest = (double)(STEPS_PER_BLOCK * self->blocks - LOOK_BACK);
  for (int i = 0; i < REC_DTMF_TRACKERS; i++)
    if (self->live[i] && !self->trackers[i].confirmed && (double)self->trackers[i].first < oldest)
      oldest = (double)self->trackers[i].first;
  return onset_position(self, oldest);
}

int64_t rec_dtmf_sounding(const rec_dtmf *self, int digit) {
  for (int i = 0; i < REC_DTMF_TRACKERS; i++) {
    const rec_dtmf_tracker *tracker = &self->trackers[i];
    if (self->live[i] && tracker->confirmed && KEYPAD[digit_of(tracker)] == digit)
      return tracker->onset;
  }
  return -1;
}

size_t rec_dtmf_edges_bound(uint32_t rate, size_t n) {
  /* A block may confirm and end the digit of each tracker. n samples end a block once per
   * block's length, rounded up; a finish ends four. */
  const size_t factor = rate / 8000, block = STEPS_PER_BLOCK * (rate / factor / 400) * factor;
  const size_t blocks = n ? n / block + (n % block != 0) : 4;
  return blocks * 2 * REC_DTMF_TRACKERS;
}
