/* SPDX-License-Identifier: MIT */
/* The layout of the objects of recorder_core.h, and the parts they are made of. */
#ifndef RECORDER_INTERNAL_H
#define RECORDER_INTERNAL_H

#include "recorder_core.h"

/* ---- high-pass: DC and hum off ---------------------------------------- */

enum { REC_HIGHPASS_TAPS = 9, REC_LEVEL_FRAME_MAX = 960 };

typedef struct {
  float taps[REC_HIGHPASS_TAPS];
  float c4, c8;
  float x[REC_HIGHPASS_TAPS - 1]; /* the last inputs, oldest first */
  int32_t offset;                 /* taken off all inputs: the first one */
  float newer[4], older[4];       /* the last eight outputs, oldest first in each */
  int primed;
} rec_highpass;

void rec_highpass_init(rec_highpass *self, uint32_t rate);

/* Filters n <= REC_LEVEL_FRAME_MAX samples into y; returns their mean square, in
 * int16 units. */
double rec_highpass_process(rec_highpass *self, const int16_t *pcm, size_t n, float *y);

/* ---- voice ------------------------------------------------------------- */

enum {
  REC_VOICE_LOOK_BACK = 200, /* frames that may be judged again: 4 s */
  REC_VOICE_MEMORY = 205,    /* frames that are remembered */
  REC_VOICE_BLOCKS = 30,     /* blocks of 100 ms that the background is learnt from */
  REC_VOICE_SLOW = 80        /* samples at 2 kHz that a pitch is looked for in */
};

typedef struct {
  float power, smooth; /* mean square: of the frame, and of the last five */
  uint8_t flags;
} rec_voice_frame;

typedef struct {
  float power;
  uint8_t flags;
} rec_voice_block;

/* Three frames of five, and evidence. */
typedef struct {
  int64_t start;       /* of the stretch, while active */
  int64_t last_end;    /* end of the newest stretch's last frame of input */
  int64_t burst_start; /* stretches with short holes make a burst */
  uint32_t window;     /* the last five frames, newest in bit 0: input? */
  int active;
  int in_burst, hole, burst_frames, evident;
  int reported, burst_reported, any_reported; /* this stretch, one of this burst, any at all */
} rec_voice_rule;

/* What each frame touches comes first. */
struct rec_voice {
  uint32_t rate, frame;
  uint32_t filled; /* of pending */
  int tracking, voice_only, quiet_blocks;
  int64_t position;      /* end of the last whole frame */
  int64_t settled_until; /* never goes back */
  int64_t frame_count;   /* whole frames so far */
  rec_highpass highpass;
  double gate_power, low_power, cap_power;
  rec_voice_rule rule; /* as of the newest frame */
  rec_voice_rule past; /* as of the newest frame that the look-back has left behind */
  int quiet, digital;  /* the line: is it quiet, and quiet as in digital silence? */
  int low_run, zero_run, since_low;
  float threshold, peak;
  float tone_power;
  double tone_hz;
  int tone_frames;
  rec_voice_block blocks[REC_VOICE_BLOCKS];
  rec_voice_frame frames[REC_VOICE_MEMORY];
  float slow[REC_VOICE_SLOW]; /* 40 ms at 2 kHz */
  int16_t pending[REC_LEVEL_FRAME_MAX];
};

/* ---- decimation to the inner rate of the digit decoder ---------------- */

enum {
  REC_DECIMATE_MAX = 6,       /* 48 kHz to 8 kHz */
  REC_DECIMATE_TAPS_MAX = 48, /* 8 per factor */
  REC_DECIMATE_OLD_MAX = REC_DECIMATE_TAPS_MAX - REC_DECIMATE_MAX,
  REC_DECIMATE_OUT_MAX = 176, /* one block of the digit decoder */
  REC_DECIMATE_IN_MAX = 960
};

typedef struct {
  uint32_t factor;
  uint32_t taps;
  int16_t coefficients[REC_DECIMATE_TAPS_MAX]; /* they add up to 2^15 */
} rec_decimator_table;

typedef struct {
  int16_t old[REC_DECIMATE_OLD_MAX]; /* the last taps - factor inputs */
} rec_decimator;

void rec_decimator_table_init(rec_decimator_table *self, uint32_t factor);

void rec_decimator_init(rec_decimator *self);

/* n_out * factor samples in, n_out samples out; n_out <= REC_DECIMATE_OUT_MAX
 * and n_out * factor <= REC_DECIMATE_IN_MAX. */
void rec_decimator_process(rec_decimator *self, const rec_decimator_table *table,
                           const int16_t *pcm, size_t n_out, float *out);

/* ---- what two tones leave over ------------------------------------------ */

/* Energies under one window: each tone's own, and of what is left without them
 * below 550 Hz, to 1050 Hz, to 1800 Hz and above. */
typedef struct {
  double low_tone, high_tone;
  double bands[4];
} rec_residual;

/* Fits tones of the given angular frequencies, in radians per sample, to the first
 * n samples, 512 at most. */
void rec_residual_measure(const float *x, int n, double rate, double low_omega, double high_omega,
                          rec_residual *out);

/* ---- DTMF -------------------------------------------------------------- */

enum {
  REC_DTMF_STEP_MAX = 22,                        /* 2.5 ms at 8.82 kHz */
  REC_DTMF_BLOCK_MAX = 8 * REC_DTMF_STEP_MAX,    /* 20 ms */
  REC_DTMF_WINDOW_MAX = 6 * REC_DTMF_STEP_MAX,   /* 15 ms */
  REC_DTMF_HISTORY_MAX = 21 * REC_DTMF_STEP_MAX, /* what a tracker looks back on */
  REC_DTMF_SLOTS = 4,                            /* blocks remembered: the history and the newest */
  REC_DTMF_MEMORY = 64,                          /* steps a tracker remembers */
  REC_DTMF_TRACKERS = 4
};

struct rec_dtmf_tables {
  uint32_t rate, factor, step, block, window;
  double inner_rate, step_ms;
  float weakest_amplitude; /* of each tone */
  float window_sum;
  double frequency[8]; /* 697 .. 1633 Hz, in radians per sample */
  rec_decimator_table decimator;
  float block_cos[2][REC_DTMF_BLOCK_MAX / 2][4], block_sin[2][REC_DTMF_BLOCK_MAX / 2][4];
  float window_cos[8][REC_DTMF_WINDOW_MAX], window_sin[8][REC_DTMF_WINDOW_MAX];
};

/* One digit that may be on the line: both tones' complex amplitudes, one per
 * step, in rings of REC_DTMF_MEMORY. */
typedef struct {
  int confirmed;
  int low, high;           /* index of the tone in its group, 0 to 3 */
  int64_t first;           /* first step held */
  int64_t next;            /* step to measure next */
  int64_t last_hit;        /* the newest block with both tones, as its last step */
  int64_t last_on;         /* once confirmed: the newest step at which it was on */
  int64_t onset;           /* once confirmed: the position reported */
  float low_ref, high_ref; /* the tones' amplitudes */
  float low_re[REC_DTMF_MEMORY], low_im[REC_DTMF_MEMORY];
  float high_re[REC_DTMF_MEMORY], high_im[REC_DTMF_MEMORY];
} rec_dtmf_tracker;

/* A block without a tracker touches the first line and its own slot of the samples. */
struct rec_dtmf {
  const rec_dtmf_tables *tables;
  int64_t blocks;      /* whole blocks processed */
  int64_t quiet_until; /* end of the last block too quiet for any tone */
  uint32_t filled;     /* of pending, in samples of the outer rate */
  uint8_t live[REC_DTMF_TRACKERS];
  rec_decimator decimator;
  float samples[REC_DTMF_SLOTS][REC_DTMF_BLOCK_MAX]; /* block b is in slot b % SLOTS */
  double last_end[16]; /* per digit: where its last press ended, in steps */
  rec_dtmf_tracker trackers[REC_DTMF_TRACKERS];
  int16_t pending[REC_DECIMATE_IN_MAX];
};

/* ---- both legs of a call -------------------------------------------------- */

struct rec_tap {
  rec_tap *next;
  int64_t start;
  int32_t leg, source;
  int patient;
  rec_voice voice;
};

typedef struct {
  int64_t position, filled, alone;
  int64_t held_from; /* the ring has the samples from here on */
  int16_t *ring;
  size_t capacity;
  rec_dtmf *decoder;     /* or NULL */
  int64_t decoder_start; /* the position of its first sample */
  int mode;
} rec_leg;

struct rec_line {
  rec_leg legs[REC_LEGS];
  int64_t skew, due, keep_from;
  rec_tap *taps;
  rec_report *reports;
  size_t waiting, reports_capacity, reports_needed;
  int urgent;             /* whether any report that waits is to be taken at once */
  uint32_t rate, longest; /* longest: samples of one leg that one call takes */
};

/* 8000, 16000, 24000, 32000, 44100 or 48000 Hz: 1, anything else: 0. */
int rec_rate_supported(uint32_t rate);

/* The onset of a confirmed tone of this digit whose end has not been reported; -1: there is
 * none. The end is reported about 50 ms after it, in noise up to 100 ms. */
int64_t rec_dtmf_sounding(const rec_dtmf *self, int digit);

/* How many edges a detector can report of one process call with n samples. */
size_t rec_voice_edges_bound(const rec_voice *self, size_t n);
size_t rec_dtmf_edges_bound(uint32_t rate, size_t n);

#endif
