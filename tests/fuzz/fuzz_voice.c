/* SPDX-License-Identifier: MIT */
/* The voice detector: any options, any sound, cut anywhere. */
#include "fuzz.h"

/* What has been reported, with the revisions applied. */
typedef struct {
  uint32_t rate;
  int64_t *bounds; /* start, end, start, end ... */
  size_t count, room;
  int64_t settled; /* as returned last */
  int revised;     /* what is reported from then on may have been before that */
} reported;

static void reported_add(reported *t, int64_t position) {
  if (t->count == t->room) {
    t->room = 2 * t->room + 16;
    t->bounds = realloc(t->bounds, t->room * sizeof *t->bounds);
    REQUIRE(t->bounds);
  }
  t->bounds[t->count++] = position;
}

static int is_open(const reported *t) { return t->count % 2 == 1; }

static void follow_edge(reported *t, const rec_edge *edge, int64_t since, int64_t fed) {
  REQUIRE(edge->kind == (is_open(t) ? REC_VOICE_END : REC_VOICE_START));
  REQUIRE(edge->detail == 0);
  REQUIRE(edge->position >= since && edge->position <= fed);
  REQUIRE(edge->position % rec_level_frame(t->rate) == 0);
  REQUIRE(t->count == 0 || edge->position > t->bounds[t->count - 1]);
  reported_add(t, edge->position);
}

/* `fed`: the end of the samples so far. */
static void follow(reported *t, const rec_edge *edges, size_t count, int64_t fed) {
  for (size_t i = 0; i < count; i++) {
    const rec_edge *edge = &edges[i];
    if (edge->kind != REC_VOICE_REVISED) {
      REQUIRE(edge->settled >= t->settled && edge->settled <= fed);
      t->settled = edge->settled;
      follow_edge(t, edge, t->revised ? 0 : t->settled, fed);
      continue;
    }
    REQUIRE(edge->position >= 0 && edge->position <= fed);
    REQUIRE(edge->detail >= 0 && (size_t)edge->detail < count - i);
    REQUIRE(edge->settled >= t->settled && edge->settled <= fed);
    while (t->count > 0 && t->bounds[(t->count - 1) / 2 * 2] >= edge->position)
      t->count = (t->count - 1) / 2 * 2;
    REQUIRE(!is_open(t)); /* what began before the revision has ended before it */
    for (int32_t k = 0; k < edge->detail; k++)
      follow_edge(t, &edges[++i], edge->position, fed);
    t->settled = edge->settled;
    t->revised = 1;
  }
}

typedef struct {
  edge_log log;
  float *levels;
  int64_t settled;
} detected;

static detected detect(const rec_voice_options *options, const signal_t *signal, cutting how) {
  const size_t frame = rec_level_frame(signal->rate), n = signal->n;
  const float unwritten = 1e9f;
  detected result = {.levels = allocate(n / frame, sizeof(float))};
  reported t = {.rate = signal->rate};
  rec_voice *voice = malloc(sizeof *voice);
  REQUIRE(voice && rec_voice_init(voice, signal->rate, options) == 0);
  REQUIRE(rec_voice_settled_until(voice) == 0);
  size_t piece;
  for (size_t done = 0; done < n; done += piece) {
    piece = cut_next(&how, n, done);
    int16_t *pcm = exactly(signal->pcm + done, piece);
    rec_edge *edges = room_for_edges(signal->rate, piece);
    float *levels = allocate(piece / frame + 1, sizeof *levels);
    for (size_t i = 0; i < piece / frame + 1; i++)
      levels[i] = unwritten;
    const size_t count = rec_voice_process(voice, pcm, piece, edges, levels);
    REQUIRE(count <= rec_edges_bound(signal->rate, piece));
    follow(&t, edges, count, (int64_t)(done + piece));
    REQUIRE(rec_voice_settled_until(voice) >= t.settled);
    t.settled = rec_voice_settled_until(voice);
    REQUIRE(t.settled <= (int64_t)(done + piece));
    const size_t whole = (done + piece) / frame - done / frame;
    for (size_t i = 0; i < piece / frame + 1; i++)
      REQUIRE(i < whole ? levels[i] < 7.0f : levels[i] == unwritten);
    memcpy(result.levels + done / frame, levels, whole * sizeof *levels);
    edge_log_add(&result.log, edges, count);
    free(pcm);
    free(edges);
    free(levels);
  }
  rec_edge last[1];
  const size_t count = rec_voice_finish(voice, last);
  REQUIRE(count == (size_t)is_open(&t));
  follow(&t, last, count, (int64_t)n);
  REQUIRE(rec_voice_finish(voice, last) == 0);
  edge_log_add(&result.log, last, count);
  result.settled = t.settled;
  free(t.bounds);
  free(voice);
  return result;
}

static void detected_free(detected *h) {
  edge_log_free(&h->log);
  free(h->levels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  program p = {data, data + size};
  const uint32_t flags = take(&p);
  const uint32_t rate = take_rate(&p);
  const double sensitivity = flags & 4 ? take_double(&p) : take(&p) * 0.5;
  const rec_voice_options options = {sensitivity, flags & 1, flags & 2, 1 + (int)(flags >> 4)};
  cutting how = take_cutting(&p);

  if (!(sensitivity >= 0.0 && sensitivity <= 100.0)) {
    rec_voice voice;
    REQUIRE(rec_voice_init(&voice, rate, &options) == -1);
    return 0;
  }
  signal_t signal = expand(&p, rate, 12.0);
  detected whole = detect(&options, &signal, (cutting){signal.n, {1}});
  detected cut = detect(&options, &signal, how);
  REQUIRE(edge_logs_equal(&whole.log, &cut.log));
  REQUIRE(whole.settled == cut.settled);
  REQUIRE(memcmp(whole.levels, cut.levels,
                 signal.n / rec_level_frame(rate) * sizeof *whole.levels) == 0);
  for (size_t i = 0; i < whole.log.count; i++)
    REQUIRE(options.noise_tracking || whole.log.edges[i].kind != REC_VOICE_REVISED);
  REQUIRE(sensitivity > 0.0 || whole.log.count == 0);
  detected_free(&whole);
  detected_free(&cut);
  signal_free(&signal);
  return 0;
}
