/* protocol/base/log.h -- one event, one line, on standard error
 *
 * Threads: any; a line is written by one write(2), so lines never mix.
 * Level:   GPUPOOL_LOG=error|warn|info|debug (default warn in the client
 *          libraries, info in the server); gp_log_set_level() overrides.
 * Form:    "gpupool: <level>: <message>\n" on a terminal or a file, or with
 *          sd-daemon prefixes ("<4>") once gp_log_set_journal(true) was called.
 *          lowercase, where: what, which object, why; %m for errno.
 */
#ifndef GP_LOG_H
#define GP_LOG_H

#include "protocol/base/util.h"

#include <stdbool.h>

enum gp_log_level {
    GP_LOG_ERROR,
    GP_LOG_WARN,
    GP_LOG_INFO,
    GP_LOG_DEBUG,
};

void gp_log_set_level(enum gp_log_level level);
void gp_log_set_journal(bool on);
/* Names the process in each line, e.g. "gpupoold[4711]"; name is copied. */
void gp_log_set_name(const char *name);
/* Who else hears each line, without prefix and end: from any thread, with whatever locks are held.
 * Before threads start. */
void gp_log_set_sink(void (*sink)(enum gp_log_level level, const char *text));
bool gp_log_enabled(enum gp_log_level level);
/* Keeps errno. Never fails: a line that cannot be written is lost. */
void gp_log_write(enum gp_log_level level, const char *fmt, ...) GP_PRINTF(2, 3);

#define gp_log_at(level, ...)                                                                      \
    do {                                                                                           \
        if (gp_log_enabled(level))                                                                 \
            gp_log_write(level, __VA_ARGS__);                                                      \
    } while (0)

#define log_error(...) gp_log_at(GP_LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  gp_log_at(GP_LOG_WARN, __VA_ARGS__)
#define log_info(...)  gp_log_at(GP_LOG_INFO, __VA_ARGS__)
#define log_debug(...) gp_log_at(GP_LOG_DEBUG, __VA_ARGS__)

#endif
