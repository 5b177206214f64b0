# SPDX-License-Identifier: MIT
"""Builds `recorder._core`, the cffi extension around csrc/: the cdef and the list of sources."""

import sys

if __name__ == "__main__" and __spec__ is not None:
    # `python -m build` in this folder finds this file before PyPA's tool.
    sys.exit("this is recorder's extension builder; to build the package use: python -Pm build")

from cffi import FFI

SOURCES = ["decimate", "dtmf", "g711", "highpass", "rate", "residual", "voice"]

WINDOWS = sys.platform == "win32"

ffibuilder = FFI()
ffibuilder.cdef(
    """
    #define REC_VOICE_START ...
    #define REC_VOICE_END ...
    #define REC_DIGIT_START ...
    #define REC_DIGIT_END ...
    #define REC_VOICE_REVISED ...

    typedef struct { int64_t position, known; int32_t kind, detail; } rec_edge;
    typedef struct { ...; } rec_voice;
    typedef struct { ...; } rec_dtmf;

    size_t rec_edges_bound(uint32_t rate, size_t n);
    uint32_t rec_level_frame(uint32_t rate);

    typedef struct {
        double input_sensitivity; int noise_tracking, voice_only, quiet_blocks;
    } rec_voice_options;
    int rec_voice_init(rec_voice *self, uint32_t rate, const rec_voice_options *options);
    size_t rec_voice_process(rec_voice *self, const int16_t *pcm, size_t n, rec_edge *edges,
                             float *levels);
    size_t rec_voice_finish(rec_voice *self, rec_edge *edges);
    int64_t rec_voice_known(const rec_voice *self);

    int rec_dtmf_init(rec_dtmf *self, uint32_t rate);
    size_t rec_dtmf_process(rec_dtmf *self, const int16_t *pcm, size_t n, rec_edge *edges);
    size_t rec_dtmf_finish(rec_dtmf *self, rec_edge *edges);
    int64_t rec_dtmf_known(const rec_dtmf *self);
    int64_t rec_dtmf_sounding(const rec_dtmf *self, int digit);

    void rec_ulaw_decode(const uint8_t *in, int16_t *out, size_t n);
    void rec_alaw_decode(const uint8_t *in, int16_t *out, size_t n);
    void rec_ulaw_encode(const int16_t *in, uint8_t *out, size_t n);
    void rec_alaw_encode(const int16_t *in, uint8_t *out, size_t n);
    """
)
# cffi gives up Python's lock around every call. These take a microsecond; to get the lock back
# from a thread that writes files can take milliseconds.
KEEP_THE_LOCK = """
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }
"""
ffibuilder.set_source(
    "recorder._core",
    '#include "recorder_core.h"' + KEEP_THE_LOCK,
    sources=[f"csrc/{name}.c" for name in SOURCES],
    include_dirs=["csrc"],
    depends=["csrc/recorder_core.h"],
    # At -O3 gcc 12 unrolls the eight bins of the digit decoder before it can vectorise them.
    extra_compile_args=[] if WINDOWS else ["-std=c11", "-O2", "-ftree-vectorize"],
    libraries=[] if WINDOWS else ["m"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
