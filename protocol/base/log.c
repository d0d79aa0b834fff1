/* protocol/base/log.c */
#include "protocol/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *const level_words[] = {"error", "warn", "info", "debug"};
static const char level_journal[] = {'3', '4', '6', '7'};

/* -1 until set or read from the environment; relaxed: a racing first reader reads the same. */
static _Atomic int current_level = -1;
static _Atomic bool journal;
/* Set before threads start, then read-only. */
static char name[32] = "gpupool";
static void (*sink)(enum gp_log_level level, const char *text);

void
gp_log_set_level(enum gp_log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

void
gp_log_set_journal(bool on)
{
    atomic_store_explicit(&journal, on, memory_order_relaxed);
}

void
gp_log_set_name(const char *new_name)
{
    snprintf(name, sizeof(name), "%s", new_name);
}

static int
level_from_env(void)
{
    const char *word = getenv("GPUPOOL_LOG");
    size_t i;

    for (i = 0; word != NULL && i < GP_ARRAY_LEN(level_words); i++)
        if (strcmp(word, level_words[i]) == 0)
            return (int)i;
    return GP_LOG_WARN;
}

void
gp_log_set_sink(void (*new_sink)(enum gp_log_level level, const char *text))
{
    sink = new_sink;
}

bool
gp_log_enabled(enum gp_log_level level)
{
    int now = atomic_load_explicit(&current_level, memory_order_relaxed);

    if (GP_UNLIKELY(now < 0)) {
        now = level_from_env();
        atomic_store_explicit(&current_level, now, memory_order_relaxed);
    }
    return (int)level <= now;
}

void
gp_log_write(enum gp_log_level level, const char *fmt, ...)
{
    int saved = errno;
    char line[1024];
    va_list ap;
    int used, more, start;

    if (atomic_load_explicit(&journal, memory_order_relaxed))
        used = snprintf(line, sizeof(line), "<%c>", level_journal[level]);
    else
        used = snprintf(line, sizeof(line), "%s: %s: ", name, level_names[level]);

    start = used;
    va_start(ap, fmt);
    errno = saved;
    more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, fmt, ap);
    va_end(ap);

    if (more > 0)
        used += more;
    if ((size_t)used > sizeof(line) - 2)
        used = (int)sizeof(line) - 2;
    if (sink != NULL) {
        line[used] = 0;
        sink(level, line + start);
    }
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)used) < 0)
        used = 0; /* nowhere left to say so */
    errno = saved;
}
