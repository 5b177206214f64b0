/* SPDX-License-Identifier: MIT */
/*
 * The line: any sound on both legs, cut, fed, processed, read and attached to at random, against
 * its detectors alone. The signal is on both legs, the listen leg's later.
 */
#include "fuzz.h"
#include "lines.h"

static const rec_voice_options OPTIONS[TAPS_MAX] = {
    {44.0, 1, 0, 4}, {30.0, 0, 0, 4}, {50.0, 1, 1, 2}, {100.0, 0, 1, 1}};

/* What has been put on each leg. */
typedef struct {
  int16_t *pcm[REC_LEGS];
  size_t n[REC_LEGS], room;
  int64_t filled[REC_LEGS], alone[REC_LEGS];
} record;

static void put(record *r, int leg, const int16_t *pcm, size_t n) {
  REQUIRE(r->n[leg] + n <= r->room);
  if (pcm)
    memcpy(r->pcm[leg] + r->n[leg], pcm, n * sizeof *pcm);
  else
    memset(r->pcm[leg] + r->n[leg], 0, n * sizeof *pcm);
  r->n[leg] += n;
  r->filled[leg] += pcm ? 0 : (int64_t)n;
}

static void check_standing(const held_line *held, const record *r) {
  for (int leg = 0; leg < REC_LEGS; leg++) {
    REQUIRE(rec_line_position(held->line, leg) == (int64_t)r->n[leg]);
    REQUIRE(rec_line_filled(held->line, leg) == r->filled[leg]);
    REQUIRE(rec_line_alone(held->line, leg) == r->alone[leg]);
  }
}

/* What rec_line_feed is to do, from its description: 1 when it takes the frames. Then `fill`
 * says how much silence each leg gets. */
static int expected(const held_line *held, const record *r, const int *modes, const size_t *bytes,
                    const int *fed, int64_t at, size_t fill[REC_LEGS]) {
  const int64_t longest = held->line->rate / 10;
  fill[0] = fill[1] = 0;
  for (int leg = 0; leg < REC_LEGS; leg++)
    if (fed[leg] && (bytes[leg] % 2 || bytes[leg] == 0 || (int64_t)bytes[leg] / 2 > longest ||
                     modes[leg] != REC_LEG_CONTINUES || (at != -1 && at != (int64_t)r->n[leg])))
      return 0;
  if (fed[0] && fed[1])
    return bytes[0] == bytes[1] && r->n[0] == r->n[1];
  if (!fed[0] && !fed[1])
    return 0;
  const int leg = fed[0] ? 0 : 1;
  const int64_t n = (int64_t)bytes[leg] / 2;
  const int64_t allowed = at == -1 && n > held->line->skew ? n : held->line->skew;
  const int64_t behind = (int64_t)r->n[leg] + n - allowed - (int64_t)r->n[1 - leg];
  if (behind <= 0)
    return 1;
  fill[1 - leg] = (size_t)behind;
  return modes[1 - leg] == REC_LEG_QUIET && behind <= longest;
}

static void feed(program *p, held_line *held, record *r, const signal_t *signal) {
  const uint32_t what = take(p);
  const int fed[REC_LEGS] = {what & 1, (what >> 1) & 1};
  const int modes[REC_LEGS] = {what & 4 ? REC_LEG_CONTINUES : (int)(what >> 4) % 3,
                               what & 8 ? REC_LEG_CONTINUES : (int)(what >> 6) % 3};
  size_t bytes[REC_LEGS], fill[REC_LEGS], offset = 0;
  char *pcm[REC_LEGS] = {NULL, NULL};
  bytes[0] = what & 0x80 ? 2 * (held->line->rate / 50) : take_16(p) % 2048;
  bytes[1] = what & 0x40 ? bytes[0] : take_16(p) % 2048;
  const int64_t at = what & 0x20 ? (int64_t)r->n[what & 1] + take_signed(p) / 64 : -1;
  offset = signal->n > 2048 ? r->n[0] % (signal->n - 2048) : 0;
  for (int leg = 0; leg < REC_LEGS; leg++) {
    rec_line_set_mode(held->line, leg, modes[leg]);
    if (fed[leg]) {
      pcm[leg] = allocate(bytes[leg] + 1, 1);
      const size_t n = signal->n - offset < bytes[leg] / 2 ? signal->n - offset : bytes[leg] / 2;
      if (n)
        memcpy(pcm[leg] + 1, signal->pcm + offset, 2 * n);
    }
  }
  const int takes = expected(held, r, modes, bytes, fed, at, fill);
  const int result = rec_line_feed(held->line, fed[0] ? pcm[0] + 1 : NULL, bytes[0],
                                   fed[1] ? pcm[1] + 1 : NULL, bytes[1], at);
  REQUIRE(result >= -2 && result <= 1);
  REQUIRE((result == -1) == !takes);
  if (result >= 0)
    for (int leg = 0; leg < REC_LEGS; leg++) {
      if (fed[leg]) {
        int16_t *aligned = allocate(bytes[leg] / 2, sizeof *aligned);
        memcpy(aligned, pcm[leg] + 1, bytes[leg]);
        put(r, leg, aligned, bytes[leg] / 2);
        free(aligned);
      } else {
        put(r, leg, NULL, fill[leg]);
      }
      r->alone[leg] = fed[0] && fed[1] ? 0 : fed[leg] ? r->alone[leg] + (int64_t)bytes[leg] / 2 : 0;
    }
  if (result == -2)
    held_grow(held);
  free(pcm[0]);
  free(pcm[1]);
}

static void check_kept(const held_line *held, const record *r, int64_t keep_from) {
  for (int leg = 0; leg < REC_LEGS; leg++) {
    if (keep_from >= (int64_t)r->n[leg])
      continue;
    const size_t n = r->n[leg] - (size_t)keep_from;
    int16_t *out = allocate(n, sizeof *out);
    rec_line_read(held->line, leg, keep_from, n, out);
    REQUIRE(memcmp(out, r->pcm[leg] + keep_from, n * sizeof *out) == 0);
    free(out);
  }
}

static void require_log(const edge_log *log, edge_log expected_log) {
  REQUIRE(edge_logs_equal(log, &expected_log));
  edge_log_free(&expected_log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  program p = {data, data + size};
  const uint32_t rate = take_rate(&p), steps = take(&p);
  cutting how = take_cutting(&p);
  program actions = {p.at, p.at + (size_t)(p.end - p.at) / 2}; /* then the sound */
  p.at = actions.end;
  signal_t signal = expand(&p, rate, 3.0);
  record r = {.room = (size_t)(steps + 1) * 4800 * 2};
  for (int leg = 0; leg < REC_LEGS; leg++)
    r.pcm[leg] = allocate(r.room, sizeof **r.pcm);
  held_line held = held_new(rate, take(&actions) * 8, 8192);
  rec_tap *taps[TAPS_MAX] = {NULL};
  size_t begins[TAPS_MAX] = {0}, decoded_from[REC_LEGS] = {0, 0};
  int64_t keep_from = INT64_MAX;

  for (uint32_t step = 0; step < steps; step++) {
    const uint32_t action = take(&actions);
    switch (action % 8) {
    case 0:
      feed(&actions, &held, &r, &signal);
      break;
    case 1: { /* a tap, ahead of its leg or behind it */
      const int slot = (int)(action >> 3) % TAPS_MAX, leg = (int)(action >> 5) & 1;
      if (taps[slot])
        break;
      const int64_t start = (int64_t)r.n[leg] + take_signed(&actions) * 20;
      taps[slot] = allocate(1, sizeof *taps[slot]);
      REQUIRE(rec_tap_init(taps[slot], rate, leg, start, LEG_SOURCES + slot, &OPTIONS[slot]) == 0);
      rec_line_attach(held.line, taps[slot]);
      begins[slot] = start > (int64_t)r.n[leg] ? (size_t)start : r.n[leg];
      break;
    }
    case 2:
      if (keep_from == INT64_MAX || (action & 0x80)) {
        keep_from = action & 8 ? INT64_MAX : (int64_t)(r.n[0] < r.n[1] ? r.n[1] : r.n[0]);
        rec_line_keep_from(held.line, keep_from);
      }
      break;
    case 3:
      held_take(&held);
      break;
    case 4:
      if (!held.decoders[REC_LISTEN]) {
        decoded_from[REC_LISTEN] = r.n[REC_LISTEN];
        held_decode(&held, REC_LISTEN);
      }
      break;
    default: { /* the signal, cut; or silence */
      size_t n[REC_LEGS];
      const int16_t *pcm[REC_LEGS];
      for (int leg = 0; leg < REC_LEGS; leg++) {
        const size_t from = r.n[leg] < signal.n ? r.n[leg] : signal.n;
        const int silent = from == signal.n || (action >> (3 + leg) & 7) == 7;
        const size_t left = silent ? rate / 10 : signal.n - from;
        n[leg] = next_piece(how.size, left < rate / 10 ? left : rate / 10, &how.source);
        pcm[leg] = silent ? NULL : signal.pcm + from;
      }
      REQUIRE(held_process(&held, pcm[0], n[0], pcm[1], n[1]) >= 0);
      put(&r, 0, pcm[0], n[0]);
      put(&r, 1, pcm[1], n[1]);
    }
    }
    check_standing(&held, &r);
  }
  check_kept(&held, &r, keep_from);
  held_take(&held);
  for (int leg = 0; leg < REC_LEGS; leg++) {
    if (held.decoders[leg])
      require_log(&held.logs[leg], digits_alone(rate, r.pcm[leg], r.n[leg], decoded_from[leg], 0));
    for (int slot = 0; slot < TAPS_MAX; slot++)
      if (taps[slot] && taps[slot]->leg == leg)
        require_log(&held.logs[LEG_SOURCES + slot],
                    voice_alone(rate, &OPTIONS[slot], r.pcm[leg], r.n[leg], begins[slot]));
  }
  for (int slot = 0; slot < TAPS_MAX; slot++) {
    if (taps[slot])
      rec_line_detach(held.line, taps[slot]);
    free(taps[slot]);
  }
  held_free(&held);
  free(r.pcm[0]);
  free(r.pcm[1]);
  signal_free(&signal);
  return 0;
}
