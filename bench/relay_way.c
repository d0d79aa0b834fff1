/* bench/relay_way.c */
#include "bench/relay_way.h"

#include "protocol/base/clock.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define READ_MOST       (1u << 20)
#define READ_MOST_RATED (32u << 10) /* so that a narrow line does not come in lumps */

enum gp_status
way_init(struct way *w, const struct line_plan *plan, int from, int to)
{
    *w = (struct way){.plan = plan, .from = from, .to = to};
    w->ring = mmap(NULL, plan->buffer_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    w->marks = malloc(WAY_MARKS * sizeof(*w->marks));
    if (w->ring != MAP_FAILED && w->marks != NULL)
        return GP_OK;
    way_fini(w);
    return GP_ERR_NO_MEMORY;
}

void
way_fini(struct way *w)
{
    if (w->ring != NULL && w->ring != MAP_FAILED)
        munmap(w->ring, w->plan->buffer_bytes);
    free(w->marks);
    w->ring = NULL;
    w->marks = NULL;
}

/* Bytes that may still be taken: room in the ring, and what is left before a stall or a cut. */
static uint64_t
room(const struct way *w)
{
    uint64_t stop =
        gp_min_u64(gp_min_u64(w->plan->cut_after, w->plan->end_after), w->plan->stall_after);
    uint64_t free_bytes = w->plan->buffer_bytes - (w->in - w->out);

    return w->in < stop ? gp_min_u64(free_bytes, stop - w->in) : 0;
}

bool
way_wants_input(const struct way *w)
{
    return !w->ended && w->next_mark - w->first_mark < WAY_MARKS && room(w) > 0;
}

static void
mark(struct way *w, uint64_t bytes, uint64_t now_ns)
{
    struct way_mark *m = &w->marks[w->next_mark++ % WAY_MARKS];

    if (w->in < w->plan->hold_after && w->in + bytes >= w->plan->hold_after)
        w->line_free_ns = gp_max_u64(w->line_free_ns, now_ns) + w->plan->hold_ns;
    w->line_free_ns =
        gp_max_u64(w->line_free_ns, now_ns) + (uint64_t)((double)bytes * w->plan->ns_per_byte);
    w->in += bytes;
    *m = (struct way_mark){w->line_free_ns + w->plan->delay_ns, w->in};
}

/* The ring from byte `at` on, `bytes` of it, as one piece or two. */
static int
pieces(const struct way *w, uint64_t at, uint64_t bytes, struct iovec iov[2])
{
    size_t offset = (at - w->base) % w->plan->buffer_bytes;
    size_t head = gp_min_u64(bytes, w->plan->buffer_bytes - offset);

    iov[0] = (struct iovec){w->ring + offset, head};
    iov[1] = (struct iovec){w->ring, bytes - head};
    return bytes > head ? 2 : 1;
}

enum gp_status
way_take(struct way *w)
{
    while (way_wants_input(w)) {
        uint64_t most = w->plan->ns_per_byte > 0 ? READ_MOST_RATED : READ_MOST;
        struct iovec iov[2];
        ssize_t n;

        if (w->in == w->out)
            w->base = w->in; /* empty: start over in memory that is warm */
        n = readv(w->from, iov, pieces(w, w->in, gp_min_u64(room(w), most), iov));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? GP_OK : GP_ERR_IO;
        mark(w, (uint64_t)n, gp_now_ns());
        w->ended = n == 0;
        if ((uint64_t)n < most)
            break; /* that was all; asking again would cost a call */
    }
    return GP_OK;
}

/* Drop the marks that are wholly given; the end travels as a mark without bytes. */
static void
forget(struct way *w, uint64_t now_ns)
{
    while (w->first_mark != w->next_mark) {
        const struct way_mark *m = &w->marks[w->first_mark % WAY_MARKS];

        if (m->end > w->out || m->due_ns > now_ns)
            break;
        w->first_mark++;
    }
    if (w->ended && w->first_mark == w->next_mark && !w->end_given) {
        w->end_given = true;
        shutdown(w->to, SHUT_WR);
    }
}

static uint64_t
due_bytes(const struct way *w, uint64_t now_ns)
{
    uint64_t end = w->out;

    for (uint64_t i = w->first_mark; i != w->next_mark; i++) {
        if (w->marks[i % WAY_MARKS].due_ns > now_ns)
            break;
        end = w->marks[i % WAY_MARKS].end;
    }
    return end - w->out;
}

enum gp_status
way_give(struct way *w, uint64_t now_ns)
{
    uint64_t bytes = due_bytes(w, now_ns);

    w->full = false;
    while (bytes > 0) {
        struct iovec iov[2];
        struct msghdr message = {.msg_iov = iov};
        ssize_t n;

        message.msg_iovlen = (size_t)pieces(w, w->out, bytes, iov);
        n = sendmsg(w->to, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            w->full = true;
            break;
        }
        if (n < 0)
            return GP_ERR_IO;
        w->out += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    forget(w, now_ns);
    return w->out >= gp_min_u64(w->plan->cut_after, w->plan->end_after) ? GP_ERR_CLOSED : GP_OK;
}

uint64_t
way_due_ns(const struct way *w)
{
    if (w->full || w->first_mark == w->next_mark)
        return GP_FOREVER;
    return w->marks[w->first_mark % WAY_MARKS].due_ns;
}
