/* SPDX-License-Identifier: MIT */
/*
 * The C core of recorder: what is heard on one leg of a telephone call.
 *
 * Samples are mono, 16-bit, at one of the rates of rec_rate_supported(). Every
 * object is a plain struct that the caller owns: init, then process as often as
 * wanted, with any number of samples at a time. Nothing here allocates, keeps
 * a global or does input and output. What comes out depends on the samples
 * alone, never on how they were cut into calls. Positions count samples from
 * the first one processed. An object whose init was refused must not be used.
 */
#ifndef RECORDER_CORE_H
#define RECORDER_CORE_H

#include <stddef.h>
#include <stdint.h>

/* ---- what is reported ------------------------------------------------- */

enum rec_edge_kind {
  REC_VOICE_START = 1, /* the first sample of a stretch of input */
  REC_VOICE_END = 2,   /* the sample after its last */
  REC_DIGIT_START = 3, /* the first sample of a DTMF tone, told once it is sure */
  REC_DIGIT_END = 4,   /* the sample after its last */
  /* What began at this position or later is withdrawn; the next `detail` edges take
   * its place, as of `known`. */
  REC_VOICE_REVISED = 5
};

typedef struct {
  int64_t position; /* in samples */
  int64_t known;    /* of voice: rec_voice_known() as told before, of a revision, after it */
  int32_t kind;     /* enum rec_edge_kind */
  int32_t detail;   /* ASCII of a digit; of a revision: how many edges; 0 otherwise */
} rec_edge;

/* How many edges one call at a supported rate of a process function with n samples can report. */
size_t rec_edges_bound(uint32_t rate, size_t n);

/* 8000, 16000, 24000, 32000, 44100 or 48000 Hz: 1, anything else: 0. */
int rec_rate_supported(uint32_t rate);

/* The frame in which level is measured: 20 ms, in samples. */
uint32_t rec_level_frame(uint32_t rate);

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

/* ---- voice: is there input? ------------------------------------------- */

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
  int in_burst, hole, burst_frames, evident, burst_told;
  int told, heard; /* this stretch, or any, was reported */
} rec_voice_rule;

typedef struct {
  rec_highpass highpass;
  double gate_power, low_power, cap_power;
  int64_t position;    /* end of the last whole frame */
  int64_t known;       /* the most that rec_voice_known has told */
  int64_t frame_count; /* whole frames so far */
  uint32_t rate, frame, filled;
  int tracking, voice_only, quiet_blocks;
  rec_voice_rule rule;    /* as of the newest frame */
  rec_voice_rule settled; /* as of the newest frame that the look-back has left behind */
  int quiet, digital;     /* the line: is it quiet, and quiet as in digital silence? */
  int low_run, zero_run, since_low;
  float threshold, peak;
  float tone_power;
  double tone_hz;
  int tone_frames;
  rec_voice_frame frames[REC_VOICE_MEMORY];
  rec_voice_block blocks[REC_VOICE_BLOCKS];
  float slow[REC_VOICE_SLOW]; /* 40 ms at 2 kHz */
  int16_t pending[REC_LEVEL_FRAME_MAX];
} rec_voice;

typedef struct {
  /* 0 to 100: the gate is at -input_sensitivity dBFS. At 0 nothing passes it, at 100
   * all but digital silence. */
  double input_sensitivity;
  int noise_tracking; /* steady noise above the gate is learnt, and no input */
  int voice_only;     /* breaths, knocks and slams are none either */
  int quiet_blocks;   /* low blocks of 100 ms that make a noisy line quiet; >= 1 */
} rec_voice_options;

/* Returns 0, or -1 for a rate or sensitivity that is not allowed. */
int rec_voice_init(rec_voice *self, uint32_t rate, const rec_voice_options *options);

/* Reports what became known to `edges` (room: rec_edges_bound) and returns how
 * many. `levels`, unless NULL, receives one level in dBFS per 20 ms frame that
 * n samples complete (at most n / frame + 1); digital silence is -INFINITY. */
size_t rec_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                         float *levels);

/* The end of the samples: closes a stretch that is still open. A last frame
 * that is not whole is not judged. */
size_t rec_voice_finish(rec_voice *self, rec_edge *edges);

/* Nothing will change any more before this position, which never goes back. After a revision an
 * edge may come to light that has an earlier one: it takes effect at its `known`. */
int64_t rec_voice_known(const rec_voice *self);

/* ---- decimation to the inner rate of the digit decoder ---------------- */

enum {
  REC_DECIMATE_MAX = 6,       /* 48 kHz to 8 kHz */
  REC_DECIMATE_TAPS_MAX = 48, /* 8 per factor */
  REC_DECIMATE_OUT_MAX = 176, /* one block of the digit decoder */
  REC_DECIMATE_IN_MAX = 960
};

typedef struct {
  uint32_t factor;
  uint32_t taps;
  int16_t coefficients[REC_DECIMATE_TAPS_MAX]; /* they add up to 2^15 */
  int16_t history[REC_DECIMATE_TAPS_MAX + REC_DECIMATE_IN_MAX];
} rec_decimator;

void rec_decimator_init(rec_decimator *self, uint32_t factor);

/* n_out * factor samples in, n_out samples out; n_out <= REC_DECIMATE_OUT_MAX
 * and n_out * factor <= REC_DECIMATE_IN_MAX. */
void rec_decimator_process(rec_decimator *self, const int16_t *pcm, size_t n_out, float *out);

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
  REC_DTMF_MEMORY = 64,                          /* steps a tracker remembers */
  REC_DTMF_TRACKERS = 4
};

/* One digit that may be on the line: both tones' complex amplitudes, one per
 * step, in rings of REC_DTMF_MEMORY. */
typedef struct {
  int live, confirmed;
  int low, high;           /* index of the tone in its group, 0 to 3 */
  int64_t first;           /* first step held */
  int64_t next;            /* step to measure next */
  int64_t last_hit;        /* the newest block that heard it, as its last step */
  int64_t last_on;         /* once confirmed: the newest step at which it was on */
  int64_t onset;           /* once confirmed: the position reported */
  float low_ref, high_ref; /* the tones' amplitudes */
  float low_re[REC_DTMF_MEMORY], low_im[REC_DTMF_MEMORY];
  float high_re[REC_DTMF_MEMORY], high_im[REC_DTMF_MEMORY];
} rec_dtmf_tracker;

typedef struct {
  uint32_t rate, factor, step, block, window;
  uint32_t filled;     /* of pending, in samples of the outer rate */
  int64_t blocks;      /* whole blocks processed */
  int64_t quiet_until; /* end of the last block too quiet for any tone */
  double inner_rate, step_ms;
  float weakest_amplitude; /* of each tone */
  double frequency[8];     /* 697 .. 1633 Hz */
  float block_cos[2][REC_DTMF_BLOCK_MAX / 2][4], block_sin[2][REC_DTMF_BLOCK_MAX / 2][4];
  float window_cos[8][REC_DTMF_WINDOW_MAX], window_sin[8][REC_DTMF_WINDOW_MAX];
  float window_sum;
  double last_end[16]; /* per digit: where its last press ended, in steps */
  rec_dtmf_tracker trackers[REC_DTMF_TRACKERS];
  rec_decimator decimator;
  float samples[REC_DTMF_HISTORY_MAX + REC_DTMF_BLOCK_MAX];
  int16_t pending[REC_DECIMATE_IN_MAX];
} rec_dtmf;

/* Returns 0, or -1 for a rate that is not supported. */
int rec_dtmf_init(rec_dtmf *self, uint32_t rate);

/* As rec_voice_process. A digit's start is reported when it is sure (about 40
 * to 60 ms after its onset), its end 30 ms after the tone went. */
size_t rec_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n, rec_edge *edges);

/* The end of the samples: decides on what is still open (room for edges:
 * rec_edges_bound(rate, 0)). No process call may follow. */
size_t rec_dtmf_finish(rec_dtmf *self, rec_edge *edges);

/* No start of a digit before this position will be reported any more. */
int64_t rec_dtmf_known(const rec_dtmf *self);

/* Where a tone of this digit that sounds now, sure or not yet, began; -1: none.
 * A tone counts until its end is sure, too: about 50 ms, in noise up to 100 ms. */
int64_t rec_dtmf_sounding(const rec_dtmf *self, int digit);

/* ---- G.711 ------------------------------------------------------------- */

void rec_ulaw_decode(const uint8_t *in, int16_t *out, size_t n);
void rec_alaw_decode(const uint8_t *in, int16_t *out, size_t n);
void rec_ulaw_encode(const int16_t *in, uint8_t *out, size_t n);
void rec_alaw_encode(const int16_t *in, uint8_t *out, size_t n);

#endif
