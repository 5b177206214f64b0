/* SPDX-License-Identifier: MIT */
/*
 * The smallest test harness that serves: checks count, failures say where and in
 * which case, main returns check_report().
 */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define CHECK_SHOWN 20 /* one mistake in a loop must not bury the first failures */

static long check_count, check_failures;
static char check_case_name[128];

/* What is being tried, for failures inside loops. */
__attribute__((format(printf, 1, 2))) static inline void check_case(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(check_case_name, sizeof check_case_name, format, arguments);
  va_end(arguments);
}

static inline int check_passes(int passes) {
  check_count++;
  check_failures += !passes;
  return passes || check_failures > CHECK_SHOWN;
}

static inline void check_that(int passes, const char *file, int line, const char *text) {
  if (!check_passes(passes))
    fprintf(stderr, "%s:%d: [%s] %s\n", file, line, check_case_name, text);
}

/* Written so that a NaN on either side fails. */
static inline void check_near(double a, double b, double tolerance, const char *file, int line,
                              const char *text) {
  if (!check_passes(fabs(a - b) <= tolerance))
    fprintf(stderr, "%s:%d: [%s] %s: %.9g, not %.9g +- %.3g\n", file, line, check_case_name, text,
            a, b, tolerance);
}

#define CHECK(cond) check_that((cond) ? 1 : 0, __FILE__, __LINE__, #cond)
#define CHECK_NEAR(a, b, tolerance)                                                                \
  check_near((double)(a), (double)(b), (double)(tolerance), __FILE__, __LINE__, #a " ~ " #b)

static inline int check_report(const char *name) {
  printf("%-15s %8ld checks, %ld failed\n", name, check_count, check_failures);
  return check_failures > 0;
}

#endif
