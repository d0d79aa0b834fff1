/* backend/supervisor/accounts.c */
#include "backend/supervisor/accounts.h"

#include "protocol/base/buf.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINES_MANY 4096
#define ROWS_MAX   (256u << 10)
#define DAY_MS     86400000ull

struct slot {
    uint64_t session_id; /* 0: nobody */
    uint64_t looked_ms;
    uint64_t had[BE_ACCOUNT_SUMS]; /* of what only grows */
};

struct be_accounts {
    const char *path;
    struct be_account *rows; /* in the order in which they came: this day's are the last */
    size_t count, room;
    size_t lines;   /* in the file, as far as we know */
    off_t expected; /* its length, if nobody else has written */
    uint64_t looked_ms, saved_ms;
    bool cut; /* the file does not end with a line's end */
    bool complained;
    struct slot slots[BE_ACCOUNT_SLOTS];
};

uint32_t
be_account_day(uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL)
        return 0;
    return (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday);
}

/* -- rows -------------------------------------------------------------------------------------- */

/* Made if it is not there; NULL without memory. */
static struct be_account *
row_of(struct be_accounts *a, uint32_t day, const char *name)
{
    struct be_account *row;

    for (size_t i = a->count; i > 0; i--)
        if (a->rows[i - 1].day == day && strcmp(a->rows[i - 1].name, name) == 0)
            return &a->rows[i - 1];
    if (a->count == a->room) {
        size_t room = a->room * 2 + 64;

        row = room <= ROWS_MAX ? realloc(a->rows, room * sizeof(*row)) : NULL;
        if (row == NULL)
            return NULL;
        a->rows = row;
        a->room = room;
    }
    row = &a->rows[a->count++];
    memset(row, 0, sizeof(*row));
    row->day = day;
    snprintf(row->name, sizeof(row->name), "%s", name);
    return row;
}

/* One word that ends no line. */
static void
name_clean(const char *from, char to[BE_ACCOUNT_NAME_BYTES])
{
    size_t n = 0;

    for (; from != NULL && from[n] != '\0' && n < BE_ACCOUNT_NAME_BYTES - 1; n++)
        to[n] = from[n] > ' ' && from[n] != 0x7f ? from[n] : '_';
    if (n == 0)
        to[n++] = '-';
    to[n] = '\0';
}

/* -- the file ---------------------------------------------------------------------------------- */

/* "20261128 sessions session_ms gpu_ms launches calls in out name"; false for what is none. */
static bool
line_take(struct be_accounts *a, const char *line)
{
    char name[BE_ACCOUNT_NAME_BYTES], clean[BE_ACCOUNT_NAME_BYTES], *end;
    uint64_t values[BE_ACCOUNT_SUMS + 1];
    struct be_account *row;

    for (size_t i = 0; i < GP_ARRAY_LEN(values); i++) {
        errno = 0;
        values[i] = strtoull(line, &end, 10);
        if (end == line || *end != ' ' || errno != 0)
            return false;
        line = end + 1;
    }
    if (strlen(line) >= sizeof(name) || values[0] < 20000101 || values[0] > 99991231)
        return false;
    snprintf(name, sizeof(name), "%s", line);
    name_clean(name, clean);
    if (strcmp(name, clean) != 0)
        return false;
    row = row_of(a, (uint32_t)values[0], name);
    for (int i = 0; row != NULL && i < BE_ACCOUNT_SUMS; i++) {
        row->sums[i] += values[i + 1];
        row->saved[i] += values[i + 1];
    }
    return row != NULL;
}

static enum gp_status
load(struct be_accounts *a)
{
    FILE *file = fopen(a->path, "re");
    size_t bad = 0, room = 0;
    char *line = NULL;
    ssize_t n;

    a->lines = 0;
    a->expected = 0;
    a->cut = false;
    if (file == NULL && errno == ENOENT)
        return GP_OK;
    if (file == NULL) {
        log_error("accounts: %s: %m", a->path);
        return GP_ERR_IO;
    }
    while ((n = getline(&line, &room, file)) > 0) {
        a->expected += n;
        a->lines++;
        if (line[n - 1] != '\n') {
            bad++; /* cut when it was written */
            a->cut = true;
            continue;
        }
        line[n - 1] = '\0';
        bad += n > 1 && !line_take(a, line);
    }
    if (bad > 0)
        log_warn("accounts: %s: %zu lines are none and do not count", a->path, bad);
    free(line);
    fclose(file);
    return GP_OK;
}

static void
line_put(struct gp_buf *out, const struct be_account *row, bool whole)
{
    gp_buf_printf(out, "%u", row->day);
    for (int i = 0; i < BE_ACCOUNT_SUMS; i++)
        gp_buf_printf(out, " %" PRIu64, row->sums[i] - (whole ? 0 : row->saved[i]));
    gp_buf_printf(out, " %s\n", row->name);
}

static bool
grown(const struct be_account *row)
{
    return memcmp(row->sums, row->saved, sizeof(row->sums)) != 0;
}

static bool
write_all(int fd, const struct gp_buf *text)
{
    return gp_buf_status(text) == GP_OK && write(fd, text->data, text->len) == (ssize_t)text->len;
}

static void
complain(struct be_accounts *a)
{
    if (!a->complained)
        log_error("accounts: %s cannot be written, it is tried again each minute: %m", a->path);
    a->complained = true;
}

/* What has grown, at the end of the file. */
static void
append(struct be_accounts *a)
{
    GP_AUTO_BUF struct gp_buf text = {0};
    GP_AUTO_CLOSE int fd = -1;
    struct stat st;
    size_t lines = 0;

    if (a->cut)
        gp_buf_append_text(&text, "\n");
    for (size_t i = 0; i < a->count; i++)
        if (grown(&a->rows[i])) {
            line_put(&text, &a->rows[i], false);
            lines++;
        }
    if (lines == 0)
        return;
    fd = open(a->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0 || fstat(fd, &st) != 0 || !write_all(fd, &text)) {
        complain(a);
        a->cut = true; /* perhaps */
        return;
    }
    a->complained = a->cut = false;
    a->lines += lines;
    /* What another one has written meanwhile is seen by the length. */
    if (a->expected == st.st_size)
        a->expected += (off_t)text.len;
    for (size_t i = 0; i < a->count; i++)
        memcpy(a->rows[i].saved, a->rows[i].sums, sizeof(a->rows[i].saved));
}

/* The file anew, a line a row; old days go. */
static void
compact(struct be_accounts *a, uint64_t now_ms)
{
    uint32_t oldest = be_account_day(now_ms - gp_min_u64(now_ms, BE_ACCOUNT_DAYS * DAY_MS));
    GP_AUTO_BUF struct gp_buf text = {0};
    char path[PATH_MAX];
    size_t kept = 0;
    bool good;
    int fd;

    for (size_t i = 0; i < a->count; i++) {
        if (a->rows[i].day < oldest)
            continue;
        a->rows[kept] = a->rows[i];
        line_put(&text, &a->rows[kept++], true);
    }
    a->count = kept;
    if ((size_t)snprintf(path, sizeof(path), "%s.new", a->path) >= sizeof(path))
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        complain(a);
        return;
    }
    good = write_all(fd, &text) && fsync(fd) == 0;
    close(fd);
    if (!good || rename(path, a->path) != 0) {
        complain(a);
        (void)unlink(path);
        return;
    }
    a->cut = false;
    a->lines = kept;
    a->expected = (off_t)text.len;
    for (size_t i = 0; i < a->count; i++)
        memcpy(a->rows[i].saved, a->rows[i].sums, sizeof(a->rows[i].saved));
}

/* Another supervisor has added something: what we have of it is written, and all is read again. */
static void
catch_up(struct be_accounts *a)
{
    struct stat st;

    if (a->path == NULL || stat(a->path, &st) != 0 || st.st_size == a->expected)
        return;
    append(a);
    a->count = 0;
    if (load(a) != GP_OK)
        a->expected = st.st_size; /* told; not again until it changes */
}

/* -- life -------------------------------------------------------------------------------------- */

enum gp_status
be_accounts_open(const char *path, uint64_t now_ms, struct be_accounts **accounts_p)
{
    struct be_accounts *a = calloc(1, sizeof(*a));
    enum gp_status status = GP_OK;

    if (a == NULL)
        return GP_ERR_NO_MEMORY;
    a->path = path;
    a->looked_ms = a->saved_ms = now_ms;
    if (path != NULL)
        status = load(a);
    if (status != GP_OK) {
        free(a->rows);
        free(a);
        return status;
    }
    *accounts_p = a;
    return GP_OK;
}

void
be_accounts_close(struct be_accounts *a, uint64_t now_ms)
{
    (void)now_ms;
    if (a == NULL)
        return;
    if (a->path != NULL)
        append(a);
    free(a->rows);
    free(a);
}

/* -- looking ----------------------------------------------------------------------------------- */

/* Who writes a smaller number than before wrote a wrong one. */
static uint64_t
since(uint64_t *had, uint64_t now)
{
    uint64_t by = now > *had ? now - *had : 0;

    *had = now;
    return by;
}

void
be_accounts_look(struct be_accounts *a, unsigned slot, const struct be_account_seen *seen,
                 uint64_t now_ms)
{
    const uint64_t grows[BE_ACCOUNT_SUMS] = {[BE_ACCOUNT_LAUNCHES] = seen->launches,
                                             [BE_ACCOUNT_CALLS] = seen->calls,
                                             [BE_ACCOUNT_BYTES_IN] = seen->bytes_in,
                                             [BE_ACCOUNT_BYTES_OUT] = seen->bytes_out};
    char name[BE_ACCOUNT_NAME_BYTES];
    struct be_account *row;
    struct slot *s;
    uint64_t passed;

    if (slot >= BE_ACCOUNT_SLOTS || seen->session_id == 0)
        return;
    name_clean(seen->name, name);
    row = row_of(a, be_account_day(now_ms), name);
    if (row == NULL)
        return;
    s = &a->slots[slot];
    if (s->session_id != seen->session_id) {
        memset(s, 0, sizeof(*s));
        s->session_id = seen->session_id;
        /* It was not there when all were looked at, whatever it says. */
        s->looked_ms = gp_min_u64(now_ms, gp_max_u64(seen->opened_ms, a->looked_ms));
        row->sums[BE_ACCOUNT_SESSIONS]++;
    }
    passed = now_ms > s->looked_ms ? now_ms - s->looked_ms : 0;
    s->looked_ms = now_ms;
    row->sums[BE_ACCOUNT_SESSION_MS] += passed;
    row->sums[BE_ACCOUNT_GPU_MS] += passed * seen->gpus;
    for (int i = BE_ACCOUNT_LAUNCHES; i < BE_ACCOUNT_SUMS; i++)
        row->sums[i] += since(&s->had[i], grows[i]);
}

void
be_accounts_gone(struct be_accounts *a, unsigned slot)
{
    if (slot < BE_ACCOUNT_SLOTS)
        memset(&a->slots[slot], 0, sizeof(a->slots[slot]));
}

void
be_accounts_looked(struct be_accounts *a, uint64_t now_ms, bool alone)
{
    a->looked_ms = now_ms;
    if (a->path == NULL || now_ms - a->saved_ms < BE_ACCOUNT_SAVE_MS)
        return;
    a->saved_ms = now_ms;
    if (!alone) {
        append(a);
        return;
    }
    catch_up(a);
    if (a->lines > LINES_MANY + 2 * a->count)
        compact(a, now_ms);
    else
        append(a);
}

uint64_t
be_accounts_next_ms(const struct be_accounts *a)
{
    return a->looked_ms + BE_ACCOUNT_LOOK_MS;
}

bool
be_accounts_sum(struct be_accounts *a, uint32_t from, uint32_t to, struct be_account **rows_p,
                size_t *count_p)
{
    struct be_accounts sums = {0};

    catch_up(a);
    for (size_t i = 0; i < a->count; i++) {
        struct be_account *row;

        if (a->rows[i].day < from || a->rows[i].day > to)
            continue;
        row = row_of(&sums, 0, a->rows[i].name);
        if (row == NULL) {
            free(sums.rows);
            return false;
        }
        for (int k = 0; k < BE_ACCOUNT_SUMS; k++)
            row->sums[k] += a->rows[i].sums[k];
    }
    *rows_p = sums.rows;
    *count_p = sums.count;
    return true;
}
