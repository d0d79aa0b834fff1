/* tests/fuzz/fuzz_bundle.c -- what several connections bring, put together
 *
 * Input: messages, each a byte that says on which line (low bits) and whether as it is or with the
 * header of a run made of the next four bytes, a byte of length, and the bytes. Then all lines end.
 * What comes out must be the beginning of what the runs say, and it must come to an end.
 */
#include "tests/fuzz/fuzz.h"

#include "protocol/base/log.h"
#include "protocol/wire/frame.h"
#include "transport/bundle/bundle_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINES      3u
#define ROW_MAX    (64u << 10)
#define ENDS_IN_MS 10000

struct line {
    uint8_t bytes[ROW_MAX];
    size_t len, at;
    uint64_t end;
};

static struct line lines[LINES];
static uint8_t row[ROW_MAX];

static void
put(struct line *l, const void *bytes, size_t n)
{
    if (l->len + n > sizeof(l->bytes))
        return;
    memcpy(l->bytes + l->len, bytes, n);
    l->len += n;
}

static void
read_input(const uint8_t *data, size_t size)
{
    uint8_t header[TP_RUN_HEADER_BYTES];

    for (unsigned i = 0; i < LINES; i++)
        lines[i].len = lines[i].at = lines[i].end = 0;
    while (size >= 6) {
        struct line *l = &lines[data[0] % LINES];
        size_t n = data[5];

        n = n < size - 6 ? n : size - 6;
        if (data[0] & 0x80) {
            tp_run_encode((uint64_t)data[1] | (uint64_t)data[2] << 8,
                          data[0] & 0x40 ? (uint32_t)n : (uint32_t)(data[3] | data[4] << 8),
                          header);
            put(l, header, sizeof(header));
        }
        put(l, data + 6, n);
        data += 6 + n;
        size -= 6 + n;
    }
}

/* The next run of a line, if it has one whole header more. */
static bool
head_of(const struct line *l, uint64_t *at_p, uint32_t *n_p)
{
    return l->len - l->at >= TP_RUN_HEADER_BYTES &&
           tp_run_decode(l->bytes + l->at, l->end, at_p, n_p) == GP_OK;
}

/* Two lines that claim the same place: which is heard first is the lines' own affair. */
static bool
claimed_twice(const struct line *mine, size_t place)
{
    uint64_t at;
    uint32_t n;

    for (unsigned i = 0; i < LINES; i++)
        if (&lines[i] != mine && head_of(&lines[i], &at, &n) && at == place && n > 0)
            return true;
    return false;
}

/* How far the runs reach from the row's beginning, taken in the simplest way. */
static size_t
foretell(bool *clear_p)
{
    size_t done = 0;

    *clear_p = true;
    for (unsigned i = 0; i < LINES;) {
        struct line *l = &lines[i];
        const uint8_t *run = l->bytes + l->at + TP_RUN_HEADER_BYTES;
        uint64_t at;
        uint32_t n;

        if (!head_of(l, &at, &n) || at != done || done + n > sizeof(row)) {
            i++;
            continue;
        }
        *clear_p = *clear_p && (n == 0 || !claimed_twice(l, done));
        if (l->len - l->at - TP_RUN_HEADER_BYTES < n)
            n = (uint32_t)(l->len - l->at - TP_RUN_HEADER_BYTES); /* the line ends in it */
        memcpy(row + done, run, n);
        l->at += TP_RUN_HEADER_BYTES + n;
        l->end = done += n;
        i = n > 0 ? 0 : i + 1;
    }
    return done;
}

static void
compare(struct tp_stream *s, size_t most, bool clear)
{
    static uint8_t got_bytes[4096];
    enum gp_status status;
    size_t done = 0, got;

    for (;;) {
        struct iovec iov[2] = {{got_bytes, 7}, {got_bytes + 7, sizeof(got_bytes) - 7}};
        struct pollfd p = {.fd = s->read_fd, .events = POLLIN};

        status = s->bytes->read(s, iov, 2, &got);
        if (status == GP_ERR_AGAIN && !s->bytes->arm(s)) {
            int ready = poll(&p, 1, ENDS_IN_MS);

            MUST(ready > 0 || (ready < 0 && errno == EINTR)); /* libFuzzer's alarm */
        }
        if (status == GP_ERR_AGAIN)
            continue;
        if (status != GP_OK)
            return;
        MUST(got > 0);
        MUST(!clear || (done + got <= most && memcmp(got_bytes, row + done, got) == 0));
        done += got;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_lane *lanes[LINES], *bundle;
    int fds[LINES][2];
    size_t most;
    bool clear;

    gp_log_set_level(GP_LOG_ERROR);
    read_input(data, size);
    for (unsigned i = 0; i < LINES; i++) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]) == 0);
        MUST(tp_adopt("tcp", fds[i][0], TP_CLIENT, &opts, &lanes[i]) == GP_OK);
        MUST(send(fds[i][1], lines[i].bytes, lines[i].len, MSG_NOSIGNAL) == (ssize_t)lines[i].len);
        close(fds[i][1]);
    }
    MUST(tp_bundle_make(lanes, LINES, &bundle) == GP_OK);
    most = foretell(&clear);
    compare(tp_stream_of(bundle), most, clear);
    tp_close(bundle);
    return 0;
}
