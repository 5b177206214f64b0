/* SPDX-License-Identifier: MIT */
/*
 * The C core of recorder: digits and voice on the two legs of a telephone call.
 *
 * Samples are mono, 16-bit, at 8000, 16000, 24000, 32000, 44100 or 48000 Hz. Every
 * object is a struct that the caller owns, declared here and laid out in internal.h:
 * init, then process as often as wanted, with any number of samples at a time.
 * Nothing here allocates, keeps a global or does input and output. The reports depend
 * on the samples alone, never on how they were cut into calls. Positions count
 * samples from the first one processed. An object whose init was refused must not
 * be used.
 */
#ifndef RECORDER_CORE_H
#define RECORDER_CORE_H

#include <stddef.h>
#include <stdint.h>

/* ---- what is reported ------------------------------------------------- */

enum rec_edge_kind {
  REC_VOICE_START = 1, /* the first sample of a stretch of input */
  REC_VOICE_END = 2,   /* the sample after its last */
  REC_DIGIT_START = 3, /* the first sample of a DTMF tone, reported once it is confirmed */
  REC_DIGIT_END = 4,   /* the sample after its last */
  /* What began at this position or later is withdrawn; the next `detail` edges take
   * its place, as of `settled`. */
  REC_VOICE_REVISED = 5
};

typedef struct {
  int64_t position; /* in samples */
  /* Of voice: rec_voice_settled_until() before this edge; of a revision, after it. */
  int64_t settled;
  int32_t kind;   /* enum rec_edge_kind */
  int32_t detail; /* ASCII of a digit; of a revision: how many edges; 0 otherwise */
} rec_edge;

/* How many edges one call at a supported rate of a process function with n samples can
 * report; with n == 0, of a finish function. */
size_t rec_edges_bound(uint32_t rate, size_t n);

/* The frame in which level is measured: 20 ms, in samples. */
uint32_t rec_level_frame(uint32_t rate);

/* ---- voice: is there input? ------------------------------------------- */

typedef struct rec_voice rec_voice;

typedef struct {
  /* 0 to 100: the gate is at -input_sensitivity dBFS. At 0 nothing passes it, at 100
   * all but digital silence. */
  double input_sensitivity;
  int noise_tracking; /* steady noise above the gate is learnt, and is not input */
  int voice_only;     /* breaths, knocks and slams are not input either */
  int quiet_blocks;   /* low blocks of 100 ms that make a noisy line quiet; >= 1 */
} rec_voice_options;

/* Returns 0, or -1 for a rate or sensitivity out of range. */
int rec_voice_init(rec_voice *self, uint32_t rate, const rec_voice_options *options);

/* Writes what was decided to `edges` (room: rec_edges_bound) and returns how many.
 * `levels`, unless NULL, receives one level in dBFS per 20 ms frame that n samples
 * complete (at most n / frame + 1); digital silence is -INFINITY. */
size_t rec_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                         float *levels);

/* The end of the samples: closes a stretch that is still open. A last frame
 * that is not whole is not judged. */
size_t rec_voice_finish(rec_voice *self, rec_edge *edges);

/* All before this position is decided; it never goes back. After a revision an edge may be
 * reported that has an earlier position: it takes effect at its `settled`. */
int64_t rec_voice_settled_until(const rec_voice *self);

/* ---- DTMF -------------------------------------------------------------- */

typedef struct rec_dtmf_tables rec_dtmf_tables;
typedef struct rec_dtmf rec_dtmf;

/* All that decoders of one rate share. Returns 0, or -1 for a rate that is not supported. */
int rec_dtmf_tables_init(rec_dtmf_tables *self, uint32_t rate);

/* The decoder keeps the pointer: the tables must outlive it. */
void rec_dtmf_init(rec_dtmf *self, const rec_dtmf_tables *tables);

/* As rec_voice_process. A digit's start is reported when it is confirmed (about 40
 * to 60 ms after its onset), its end 30 ms after the tone's. */
size_t rec_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n, rec_edge *edges);

/* The end of the samples: decides on what is still open (room for edges:
 * rec_edges_bound(rate, 0)). No process call may follow. */
size_t rec_dtmf_finish(rec_dtmf *self, rec_edge *edges);

/* No start of a digit before this position will be reported any more. */
int64_t rec_dtmf_settled_until(const rec_dtmf *self);

/* ---- both legs of a call -------------------------------------------------- */

enum { REC_SPEAK = 0, REC_LISTEN = 1, REC_LEGS = 2 };

/* What rec_line_feed may do with a leg. ASK: nothing. CONTINUES: its next frame follows the
 * last. QUIET: it has no audio, and silence keeps it within `skew` of the other leg. */
enum { REC_LEG_ASK = 0, REC_LEG_CONTINUES = 1, REC_LEG_QUIET = 2 };

/* Positions of a line, of its reports and of its taps are the call's: samples since it began. */
typedef struct rec_line rec_line;

/* A voice detector on one leg of a line. */
typedef struct rec_tap rec_tap;

typedef struct {
  rec_edge edge;
  int32_t source; /* of a tap's edge: the tap's; of a digit: its leg */
} rec_report;

/* Detects from the leg's sample `start` on, or from where the leg is when that has passed.
 * Returns 0, or -1 for a rate, sensitivity or leg out of range. */
int rec_tap_init(rec_tap *self, uint32_t rate, int leg, int64_t start, int32_t source,
                 const rec_voice_options *options);

/* Begin at another sample. A tap that has begun stays as it is. */
void rec_tap_move(rec_tap *self, int64_t start);

/* Whether a start or an end of voice may wait until something else is due; a revision never
 * waits. At first they may not. */
void rec_tap_set_patient(rec_tap *self, int patient);

/* As rec_voice_settled_until. */
int64_t rec_tap_settled_until(const rec_tap *self);

/* A line is 0 samples long, both legs ASK, nothing is due and nothing kept. It needs rings and
 * room for reports before it can process. `skew`: how far, in samples, a QUIET leg may be
 * behind. Returns 0, or -1 for a rate that is not supported. */
int rec_line_init(rec_line *self, uint32_t rate, int64_t skew);

/* The memory of a leg's newest samples; `capacity` is a power of two. What the old ring holds
 * is copied, as far as it fits; then the old memory may go. */
void rec_line_set_ring(rec_line *self, int leg, int16_t *memory, size_t capacity);

/* Room for reports; those waiting are copied and must fit. Then the old memory may go. */
void rec_line_set_reports(rec_line *self, rec_report *memory, size_t capacity);

/* Room that is enough for one process call when no report is waiting. */
size_t rec_line_reports_needed(const rec_line *self);

/* The tap must stay where it is until it is detached. To detach what is not attached does
 * nothing. */
void rec_line_attach(rec_line *self, rec_tap *tap);
void rec_line_detach(rec_line *self, rec_tap *tap);

/* Decode digits on a leg from its present position on. The decoder has just been initialised
 * for the line's rate, and must stay where it is. NULL: no more digits. */
void rec_line_decode(rec_line *self, int leg, rec_dtmf *decoder);

/* Takes the next samples of each leg, at most rate / 10: native 16-bit PCM at any alignment;
 * NULL is silence. Returns 1 when something is due: a report that may not wait, or the leg that is
 * further on has reached the `due` position; 0 when nothing is; and having taken nothing, -1
 * for too many samples, -2 when a ring or the reports lack room. Each source's reports are in
 * the order they take effect, however the samples were cut. */
int rec_line_process(rec_line *self, const char *speak, size_t n_speak, const char *listen,
                     size_t n_listen);

/* Takes frames, in bytes, that are where they are expected; a leg that is NULL is not fed. `at`
 * is their position, or -1. Returns as rec_line_process, and -1, having taken nothing, when
 * placing the frames needs more than this:
 *
 *   both fed: of one length, both legs CONTINUES and at one position, which `at` does not
 *             contradict. Sets both `alone` to 0.
 *   one fed:  it CONTINUES, and `at` does not contradict its position. The other leg is no
 *             more than max(skew, n) behind the frame's end (the skew alone, with `at`), or is
 *             QUIET and filled up to that in this call. Adds n to its `alone`, sets the other's to
 * 0. */
int rec_line_feed(rec_line *self, const char *speak, size_t speak_bytes, const char *listen,
                  size_t listen_bytes, int64_t at);

/* Reports waiting: so many, from the start of the memory for reports on. They wait until they
 * are dropped, so that a reader who is interrupted between the two loses none. */
size_t rec_line_waiting(const rec_line *self);
void rec_line_drop(rec_line *self, size_t n);

/* Samples `from` to `from + n` of a leg. What it does not hold is read as silence. */
void rec_line_read(const rec_line *self, int leg, int64_t from, size_t n, int16_t *out);

/* Samples from here on stay readable; INT64_MAX: none need to. */
void rec_line_keep_from(rec_line *self, int64_t position);

void rec_line_set_mode(rec_line *self, int leg, int mode);
void rec_line_set_alone(rec_line *self, int leg, int64_t n);
void rec_line_set_due(rec_line *self, int64_t position);

int64_t rec_line_position(const rec_line *self, int leg); /* where the leg continues */
int64_t rec_line_filled(const rec_line *self, int leg);   /* samples of silence put in */
int64_t rec_line_alone(const rec_line *self, int leg);    /* samples fed since the other leg's */

/* As rec_dtmf_settled_until; on a leg without a decoder, its position. */
int64_t rec_line_digits_settled_until(const rec_line *self, int leg);

/* The onset of a confirmed tone of this digit on a leg whose end has not been reported; -1:
 * there is none. The end is reported about 50 ms after it, in noise up to 100 ms. */
int64_t rec_line_sounding(const rec_line *self, int leg, int digit);

/* The edges that the end of audio here would add (room: rec_edges_bound(rate, 0)): finishes a
 * copy of the leg's decoder, in memory of the caller. The line itself is unchanged. */
size_t rec_line_finish_digits(const rec_line *self, int leg, rec_dtmf *copy, rec_edge *edges);

/* ---- sample formats -------------------------------------------------------- */

void rec_ulaw_decode(const uint8_t *in, int16_t *out, size_t n);
void rec_alaw_decode(const uint8_t *in, int16_t *out, size_t n);
void rec_ulaw_encode(const int16_t *in, uint8_t *out, size_t n);
void rec_alaw_encode(const int16_t *in, uint8_t *out, size_t n);

/* n floats, native and at any alignment, times `scale`, rounded half to even and saturated.
 * Returns n, or the index of the first one whose magnitude is not below `limit`: then the
 * output has no meaning. scale * limit is at most 2^21. */
size_t rec_pcm_from_floats(const char *in, size_t n, float scale, float limit, int16_t *out);
size_t rec_pcm_from_doubles(const char *in, size_t n, double scale, double limit, int16_t *out);

#endif
