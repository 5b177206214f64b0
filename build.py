# SPDX-License-Identifier: MIT
"""Builds `recorder._core`, the cffi extension around csrc/: the cdef and the list of sources."""

import sys

if __name__ == "__main__" and __spec__ is not None:
    # `python -m build` in this folder finds this file before PyPA's tool.
    sys.exit("this is recorder's extension builder; to build the package use: python -Pm build")

from cffi import FFI

SOURCES = ["decimate", "dtmf", "floats", "g711", "highpass", "line", "rate", "residual", "voice"]

WINDOWS = sys.platform == "win32"

ffibuilder = FFI()
ffibuilder.cdef(
    """
    #define REC_VOICE_START ...
    #define REC_VOICE_END ...
    #define REC_DIGIT_START ...
    #define REC_DIGIT_END ...
    #define REC_VOICE_REVISED ...

    #define REC_SPEAK ...
    #define REC_LISTEN ...
    #define REC_LEG_ASK ...
    #define REC_LEG_CONTINUES ...
    #define REC_LEG_QUIET ...

    typedef struct { int64_t position, settled; int32_t kind, detail; } rec_edge;
    typedef struct { rec_edge edge; int32_t source; } rec_report;
    typedef struct { ...; } rec_voice;
    typedef struct { ...; } rec_dtmf_tables;
    typedef struct { ...; } rec_dtmf;
    typedef struct { ...; } rec_tap;
    typedef struct { ...; } rec_line;

    size_t rec_edges_bound(uint32_t rate, size_t n);
    uint32_t rec_level_frame(uint32_t rate);

    typedef struct {
        double input_sensitivity; int noise_tracking, voice_only, quiet_blocks;
    } rec_voice_options;
    int rec_voice_init(rec_voice *self, uint32_t rate, const rec_voice_options *options);
    size_t rec_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                             float *levels);
    size_t unlocked_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                                  float *levels);
    size_t rec_voice_finish(rec_voice *self, rec_edge *edges);
    int64_t rec_voice_settled_until(const rec_voice *self);

    int rec_dtmf_tables_init(rec_dtmf_tables *self, uint32_t rate);
    void rec_dtmf_init(rec_dtmf *self, const rec_dtmf_tables *tables);
    size_t rec_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n, rec_edge *edges);
    size_t unlocked_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n, rec_edge *edges);
    size_t rec_dtmf_finish(rec_dtmf *self, rec_edge *edges);
    int64_t rec_dtmf_settled_until(const rec_dtmf *self);

    int rec_tap_init(rec_tap *self, uint32_t rate, int leg, int64_t start, int32_t source,
                     const rec_voice_options *options);
    void rec_tap_move(rec_tap *self, int64_t start);
    void rec_tap_set_patient(rec_tap *self, int patient);
    int64_t rec_tap_settled_until(const rec_tap *self);

    int rec_line_init(rec_line *self, uint32_t rate, int64_t skew);
    void rec_line_set_ring(rec_line *self, int leg, int16_t *memory, size_t capacity);
    void rec_line_set_reports(rec_line *self, rec_report *memory, size_t capacity);
    size_t rec_line_reports_needed(const rec_line *self);
    void rec_line_attach(rec_line *self, rec_tap *tap);
    void rec_line_detach(rec_line *self, rec_tap *tap);
    void rec_line_decode(rec_line *self, int leg, rec_dtmf *decoder);
    int rec_line_process(rec_line *self, const char *speak, size_t n_speak, const char *listen,
                         size_t n_listen);
    int rec_line_feed(rec_line *self, const char *speak, size_t speak_bytes, const char *listen,
                      size_t listen_bytes, int64_t at);
    size_t rec_line_waiting(const rec_line *self);
    void rec_line_drop(rec_line *self, size_t n);
    void rec_line_read(const rec_line *self, int leg, int64_t from, size_t n, int16_t *out);
    void rec_line_keep_from(rec_line *self, int64_t position);
    void rec_line_set_mode(rec_line *self, int leg, int mode);
    void rec_line_set_alone(rec_line *self, int leg, int64_t n);
    void rec_line_set_due(rec_line *self, int64_t position);
    int64_t rec_line_position(const rec_line *self, int leg);
    int64_t rec_line_filled(const rec_line *self, int leg);
    int64_t rec_line_alone(const rec_line *self, int leg);
    int64_t rec_line_digits_settled_until(const rec_line *self, int leg);
    int64_t rec_line_sounding(const rec_line *self, int leg, int digit);
    size_t rec_line_finish_digits(const rec_line *self, int leg, rec_dtmf *copy, rec_edge *edges);

    void rec_ulaw_decode(const uint8_t *in, int16_t *out, size_t n);
    void rec_alaw_decode(const uint8_t *in, int16_t *out, size_t n);
    void rec_ulaw_encode(const int16_t *in, uint8_t *out, size_t n);
    void rec_alaw_encode(const int16_t *in, uint8_t *out, size_t n);
    size_t rec_pcm_from_floats(const char *in, size_t n, float scale, float limit, int16_t *out);
    size_t rec_pcm_from_doubles(const char *in, size_t n, double scale, double limit, int16_t *out);
    """
)
# cffi gives up Python's lock around every call. A tick takes microseconds; to get the lock back
# from a thread that writes files can take milliseconds. Whole files are another matter.
KEEP_THE_LOCK = """
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }
"""
WITHOUT_THE_LOCK = """
static size_t unlocked_voice_process(rec_voice *self, const int16_t *pcm, size_t n,
                                     rec_edge *edges, float *levels) {
  PyThreadState *state = PyEval_SaveThread();
  const size_t count = rec_voice_process(self, pcm, n, edges, levels);
  PyEval_RestoreThread(state);
  return count;
}

static size_t unlocked_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n,
                                    rec_edge *edges) {
  PyThreadState *state = PyEval_SaveThread();
  const size_t count = rec_dtmf_process(self, pcm, n, edges);
  PyEval_RestoreThread(state);
  return count;
}
"""
ffibuilder.set_source(
    "recorder._core",
    '#include "internal.h"' + KEEP_THE_LOCK + WITHOUT_THE_LOCK,
    sources=[f"csrc/{name}.c" for name in SOURCES],
    include_dirs=["csrc"],
    depends=["csrc/recorder_core.h", "csrc/internal.h"],
    # At -O3 gcc 12 unrolls the eight bins of the digit decoder before it can vectorise them.
    extra_compile_args=[] if WINDOWS else ["-std=c11", "-O2", "-ftree-vectorize"],
    libraries=[] if WINDOWS else ["m"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
