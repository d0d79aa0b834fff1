/* backend/session/put_lines.c */
#include "backend/session/put_lines.h"

#include "backend/metrics/board.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "protocol/wire/control.h"
#include "protocol/wire/frame.h"
#include "protocol/wire/preface.h"
#include "transport/rdma/rdma.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIAL_NS   (3 * GP_NS_PER_S)
#define RDMA_NS   (5 * GP_NS_PER_S)  /* the other server tries no longer either */
#define STALL_NS  (30 * GP_NS_PER_S) /* a side that neither takes nor brings anything */
#define ANSWER_NS (60 * GP_NS_PER_S) /* the other session may have to wait for its turn */
#define REASON_NS (1 * GP_NS_PER_S)  /* why it hung up */
#define WHY_BYTES 320
#define URL_MAX   128

/* A line that goes. */
struct be_put_way {
    struct be_put_lines *lines;
    char url[URL_MAX];
    uint64_t session;
    struct tp_lane *lane; /* NULL while it is being made; guarded by lines.lock until then */
    bool busy;            /* guarded by lines.lock */
    bool send_failed;     /* its user's; the next one too */
    uint64_t bytes;       /* of the put */
    struct be_put_way *next;
};

/* A line that came. */
struct incoming {
    struct tp_lane *lane; /* NULL: a free place */
};

struct dialled {
    uint64_t number; /* 0: nobody waits here */
    bool there, allowed;
    int fd;
};

struct be_put_lines {
    struct be_put_lines_config config; /* set once */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Guarded by lock. */
    struct be_put_way *ways;
    unsigned way_count, incoming_count;
    struct incoming incoming[BE_PUT_LINES_MAX];
    struct dialled dials[BE_PUT_LINES_MAX];
    uint64_t next_number;
    bool closed;
};

enum gp_status
be_put_lines_create(const struct be_put_lines_config *config, struct be_put_lines **lines_p)
{
    struct be_put_lines *lines = calloc(1, sizeof(*lines));
    pthread_condattr_t attr;

    if (lines == NULL)
        return GP_ERR_NO_MEMORY;
    lines->config = *config;
    pthread_mutex_init(&lines->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&lines->changed, &attr);
    pthread_condattr_destroy(&attr);
    *lines_p = lines;
    return GP_OK;
}

void
be_put_lines_destroy(struct be_put_lines *lines)
{
    if (lines == NULL)
        return;
    while (lines->ways != NULL) {
        struct be_put_way *way = lines->ways;

        lines->ways = way->next;
        tp_close(way->lane);
        free(way);
    }
    pthread_mutex_destroy(&lines->lock);
    pthread_cond_destroy(&lines->changed);
    free(lines);
}

void
be_put_lines_break(struct be_put_lines *lines)
{
    pthread_mutex_lock(&lines->lock);
    for (struct be_put_way *way = lines->ways; way != NULL; way = way->next)
        if (way->busy && way->lane != NULL)
            tp_shutdown(way->lane);
    pthread_mutex_unlock(&lines->lock);
}

void
be_put_lines_close(struct be_put_lines *lines)
{
    be_put_lines_break(lines);
    pthread_mutex_lock(&lines->lock);
    lines->closed = true;
    for (int i = 0; i < BE_PUT_LINES_MAX; i++)
        if (lines->incoming[i].lane != NULL)
            tp_shutdown(lines->incoming[i].lane);
    pthread_cond_broadcast(&lines->changed);
    while (lines->incoming_count > 0)
        pthread_cond_wait(&lines->changed, &lines->lock);
    pthread_mutex_unlock(&lines->lock);
}

/* -- frames ------------------------------------------------------------------------------------ */

static bool
say(struct tp_lane *lane, uint8_t kind, uint32_t tag, const void *payload, uint32_t bytes,
    uint64_t within_ns)
{
    struct wire_frame_header header = {.payload_bytes = bytes, .kind = kind, .tag = tag};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)payload, bytes}};

    wire_frame_encode(&header, head);
    return tp_send_by(lane, iov, 2, gp_deadline_after(gp_now_ns(), within_ns)) == GP_OK;
}

/* The next frame's header; its payload is left. */
static enum gp_status
hear(struct tp_lane *lane, uint64_t deadline_ns, struct wire_frame_header *header_p)
{
    struct tp_frame frame;
    enum gp_status status;

    do
        status = tp_recv_header(lane, &frame, deadline_ns);
    while (status == GP_ERR_AGAIN);
    return status == GP_OK ? wire_frame_decode(frame.header, WIRE_PUT_BLOCK, header_p) : status;
}

static bool
take(struct tp_lane *lane, uint8_t *to, size_t bytes, uint64_t deadline_ns)
{
    enum gp_status status = GP_OK;

    while (bytes > 0) {
        size_t got = 0;

        status = tp_recv_payload(lane, to, bytes, deadline_ns, &got);
        if (status == GP_OK)
            return true;
        if (status != GP_ERR_AGAIN)
            return false;
        to += got;
        bytes -= got;
    }
    return true;
}

/* -- what comes -------------------------------------------------------------------------------- */

bool
be_put_lines_key(void *user, const char *name, size_t name_bytes, uint8_t key[TP_KEY_BYTES])
{
    struct be_put_lines *lines = user;
    uint64_t id;
    bool found;

    _Static_assert(TP_KEY_BYTES == WIRE_PUT_SECRET_BYTES, "a token's secret is the key");
    if (wire_put_name_decode(name, name_bytes, &id) != GP_OK)
        return false;
    pthread_mutex_lock(&lines->lock);
    found = !lines->closed && be_puts_secret(lines->config.puts, id, key);
    pthread_mutex_unlock(&lines->lock);
    return found;
}

bool
be_put_lines_enter(struct be_put_lines *lines, struct tp_lane *lane)
{
    struct incoming *place = NULL;

    pthread_mutex_lock(&lines->lock);
    for (int i = 0; i < BE_PUT_LINES_MAX && place == NULL; i++)
        if (lines->incoming[i].lane == NULL)
            place = &lines->incoming[i];
    if (lines->closed)
        place = NULL;
    if (place != NULL) {
        place->lane = lane;
        lines->incoming_count++;
    }
    pthread_mutex_unlock(&lines->lock);
    return place != NULL;
}

static void
incoming_leave(struct be_put_lines *lines, struct tp_lane *lane)
{
    pthread_mutex_lock(&lines->lock);
    for (int i = 0; i < BE_PUT_LINES_MAX; i++)
        if (lines->incoming[i].lane == lane)
            lines->incoming[i].lane = NULL;
    pthread_mutex_unlock(&lines->lock);
    tp_close(lane);
    pthread_mutex_lock(&lines->lock);
    lines->incoming_count--;
    pthread_cond_broadcast(&lines->changed);
    pthread_mutex_unlock(&lines->lock);
}

static void
put_count(const struct be_put_lines *lines, const struct tp_lane *lane, enum be_count all,
          enum be_count by_rdma, uint64_t bytes)
{
    be_count(lines->config.row, all, bytes);
    if (strcmp(tp_scheme(lane), "rdma") == 0)
        be_count(lines->config.row, by_rdma, bytes);
}

/* True if all bytes came. */
static bool
blocks_take(struct tp_lane *lane, struct be_put *put, uint64_t bytes)
{
    while (bytes > 0) {
        uint8_t *room = be_put_room(put);
        uint64_t deadline = gp_deadline_after(gp_now_ns(), STALL_NS);
        struct wire_frame_header header;

        if (room == NULL || hear(lane, deadline, &header) != GP_OK)
            return false;
        if (header.kind != WIRE_FRAME_DATA || header.payload_bytes == 0 ||
            header.payload_bytes > gp_min_u64(bytes, WIRE_PUT_BLOCK)) {
            log_warn("session: %s: what it copies here has a frame that does not belong",
                     tp_peer(lane)->address);
            return false;
        }
        if (!take(lane, room, header.payload_bytes, deadline))
            return false;
        be_put_block(put, header.payload_bytes);
        bytes -= header.payload_bytes;
    }
    return true;
}

/* One put; false if the line is to be closed behind it. */
static bool
put_take(struct be_put_lines *lines, struct tp_lane *lane, const struct wire_put *ask)
{
    struct wire_put_done done = {.result = CUDA_ERROR_NOT_PERMITTED};
    uint8_t message[WIRE_PUT_DONE_BYTES];
    struct be_put *put;
    bool whole = false;
    CUresult cr = be_put_begin(lines->config.puts, ask, &put);

    if (cr == CUDA_SUCCESS) {
        whole = blocks_take(lane, put, ask->bytes);
        cr = be_put_end(put, whole);
    } else {
        log_warn("session: %s is refused: its token is %s", tp_peer(lane)->address,
                 cr == CUDA_ERROR_INVALID_VALUE ? "for another number of bytes" : "not good");
    }
    if (cr == CUDA_SUCCESS)
        put_count(lines, lane, BE_COUNT_PUT_IN, BE_COUNT_PUT_IN_RDMA, ask->bytes);
    done.result = (int32_t)cr;
    wire_put_done_encode(&done, message);
    return say(lane, WIRE_FRAME_HELLO, WIRE_CONTROL_PUT_DONE, message, sizeof(message), STALL_NS) &&
           cr == CUDA_SUCCESS && whole;
}

/* The next thing asked for. */
static bool
put_hear(struct tp_lane *lane, struct wire_put *ask)
{
    uint8_t message[WIRE_PUT_BYTES];
    struct wire_frame_header header;
    bool good;

    if (hear(lane, GP_FOREVER, &header) != GP_OK)
        return false;
    good = header.kind == WIRE_FRAME_HELLO && header.tag == WIRE_CONTROL_PUT &&
           header.payload_bytes == sizeof(message) &&
           take(lane, message, sizeof(message), gp_deadline_after(gp_now_ns(), STALL_NS)) &&
           wire_put_decode(message, sizeof(message), ask) == GP_OK;
    explicit_bzero(message, sizeof(message));
    return good;
}

void
be_put_lines_serve(struct be_put_lines *lines, struct tp_lane *lane, const struct wire_put *first)
{
    struct wire_put ask = *first;

    log_info("session: copies come from the server at %s by %s", tp_peer(lane)->address,
             tp_scheme(lane));
    tp_set_max_payload(lane, WIRE_PUT_BLOCK);
    while (put_take(lines, lane, &ask) && put_hear(lane, &ask))
        ;
    explicit_bzero(&ask, sizeof(ask));
    incoming_leave(lines, lane);
}

/* -- connecting -------------------------------------------------------------------------------- */

static bool
address_parse(const struct gp_url *url, struct sockaddr_storage *to)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

    memset(to, 0, sizeof(*to));
    if (!url->has_port || url->port == 0)
        return false;
    if (!url->is_ipv6 && inet_pton(AF_INET, url->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(url->port);
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(url->port);
    return url->is_ipv6 && inet_pton(AF_INET6, url->host, &v6->sin6_addr) == 1;
}

void
be_put_lines_dialled(struct be_put_lines *lines, uint64_t number, bool allowed, int fd)
{
    pthread_mutex_lock(&lines->lock);
    for (int i = 0; i < BE_PUT_LINES_MAX; i++) {
        struct dialled *d = &lines->dials[i];

        if (number == 0 || d->number != number || d->there)
            continue;
        d->there = true;
        d->allowed = allowed;
        d->fd = fd;
        fd = -1;
        pthread_cond_broadcast(&lines->changed);
    }
    pthread_mutex_unlock(&lines->lock);
    if (fd >= 0) /* nobody waits for it any more */
        close(fd);
}

/* The lock is held. */
static struct dialled *
dial_begin_locked(struct be_put_lines *lines)
{
    for (int i = 0; i < BE_PUT_LINES_MAX; i++) {
        if (lines->dials[i].number != 0)
            continue;
        lines->dials[i] = (struct dialled){.number = ++lines->next_number, .fd = -1};
        return &lines->dials[i];
    }
    return NULL;
}

/* The supervisor's answer: a descriptor that connects or has, -1 with why. */
static int
dial(struct be_put_lines *lines, const struct sockaddr_storage *to, uint64_t deadline_ns,
     char why[WHY_BYTES])
{
    struct timespec until = gp_timespec(deadline_ns);
    struct dialled *d, got;
    int rc = 0;

    pthread_mutex_lock(&lines->lock);
    d = dial_begin_locked(lines);
    if (d == NULL || lines->config.dial == NULL) {
        pthread_mutex_unlock(&lines->lock);
        snprintf(why, WHY_BYTES, "too many are being connected to at once");
        return -1;
    }
    pthread_mutex_unlock(&lines->lock);
    lines->config.dial(lines->config.user, to, d->number);
    pthread_mutex_lock(&lines->lock);
    while (!d->there && !lines->closed && rc == 0)
        rc = pthread_cond_timedwait(&lines->changed, &lines->lock, &until);
    got = *d;
    d->number = 0;
    pthread_mutex_unlock(&lines->lock);
    if (got.there && got.allowed)
        return got.fd;
    if (got.fd >= 0)
        close(got.fd);
    snprintf(why, WHY_BYTES, "%s",
             got.there ? "the server copies to no server there (its option --peer)"
                       : "the server does not connect");
    return -1;
}

static bool
connected(int fd, uint64_t deadline_ns, char why[WHY_BYTES])
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    int error = 0, rc;
    socklen_t len = sizeof(error);

    do
        rc = poll(&room, 1, gp_deadline_poll_ms(gp_now_ns(), deadline_ns));
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        error = ETIMEDOUT;
    else if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0)
        return true;
    snprintf(why, WHY_BYTES, "the server cannot reach the other one: %s", strerror(error));
    return false;
}

/* False, and why this scheme goes nowhere from here. */
static bool
scheme_goes(const struct be_put_lines *lines, const char *scheme, char why[WHY_BYTES])
{
    struct tp_rdma_port ports[TP_RDMA_PORTS_MAX];

    _Static_assert(WHY_BYTES >= TP_WHY_BYTES, "a transport's reason fits");
    if (strcmp(scheme, "tls") == 0 || strcmp(scheme, "tcp") == 0)
        return true;
    if (strcmp(scheme, "rdma") != 0)
        snprintf(why, WHY_BYTES, "this is no address of a server");
    else if (lines->config.socket.rdma.fabric_count == 0)
        snprintf(why, WHY_BYTES, "the server trusts no fabric (its option --rdma-fabric)");
    else
        return tp_rdma_probe(ports, TP_RDMA_PORTS_MAX, why) > 0;
    return false;
}

/* A connection that has said for which session it is; -1, and why. */
static int
knock(struct be_put_lines *lines, const struct gp_url *url, uint64_t session, uint64_t deadline_ns,
      char why[WHY_BYTES])
{
    uint8_t preface[WIRE_PREFACE_BYTES];
    struct sockaddr_storage to;
    int fd;

    if (!scheme_goes(lines, url->scheme, why))
        return -1;
    if (!address_parse(url, &to)) {
        snprintf(why, WHY_BYTES, "this is no address of a server");
        return -1;
    }
    fd = dial(lines, &to, deadline_ns, why);
    if (fd < 0)
        return -1;
    wire_preface_encode(session, preface);
    if (connected(fd, deadline_ns, why) &&
        send(fd, preface, sizeof(preface), MSG_NOSIGNAL) == (ssize_t)sizeof(preface))
        return fd;
    if (why[0] == '\0')
        snprintf(why, WHY_BYTES, "the other server hung up");
    close(fd);
    return -1;
}

static struct tp_lane *
lane_open(struct be_put_lines *lines, const char *text, uint64_t session,
          const struct wire_put *put, char why[WHY_BYTES])
{
    struct tp_opts opts = lines->config.socket;
    char name[WIRE_PUT_NAME_MAX];
    struct tp_lane *lane;
    struct gp_url url;
    uint64_t deadline;
    int fd;

    if (gp_url_parse(text, &url) != GP_OK) {
        snprintf(why, WHY_BYTES, "this is no address of a server");
        return NULL;
    }
    deadline = gp_deadline_after(gp_now_ns(), strcmp(url.scheme, "rdma") == 0 ? RDMA_NS : DIAL_NS);
    fd = knock(lines, &url, session, deadline, why);
    if (fd < 0)
        return NULL;
    wire_put_name(put->id, name);
    opts.framing = &wire_framing;
    opts.max_payload_bytes = WIRE_FRAME_PAYLOAD_MIN;
    opts.deadline_ns = deadline;
    opts.tls = (struct tp_tls_opts){.psk = put->secret, .psk_name = name};
    opts.why = why;
    return tp_adopt(url.scheme, fd, TP_CLIENT, &opts, &lane) == GP_OK ? lane : NULL;
}

/* -- what goes --------------------------------------------------------------------------------- */

static void
way_drop(struct be_put_way *way)
{
    struct be_put_lines *lines = way->lines;
    struct be_put_way **at = &lines->ways;

    pthread_mutex_lock(&lines->lock);
    while (*at != way)
        at = &(*at)->next;
    *at = way->next;
    lines->way_count--;
    pthread_mutex_unlock(&lines->lock);
    tp_close(way->lane);
    free(way);
}

/* The lock is held: a line that is there and not in use, which is in use from now on; any: to
 * wherever. */
static struct be_put_way *
idle_locked(struct be_put_lines *lines, const char *url, uint64_t session, bool any)
{
    for (struct be_put_way *way = lines->ways; way != NULL; way = way->next) {
        if (way->busy || (!any && (way->session != session || strcmp(way->url, url) != 0)))
            continue;
        way->busy = true;
        return way;
    }
    return NULL;
}

/* The other side has nothing to say on a line that waits: it hung up. */
static bool
is_stale(const struct be_put_way *way)
{
    struct tp_frame frame;

    return tp_recv_header(way->lane, &frame, TP_NOW) != GP_ERR_AGAIN;
}

/* The lock is held. */
static struct be_put_way *
way_add_locked(struct be_put_lines *lines, const char *url, uint64_t session)
{
    struct be_put_way *way = lines->closed ? NULL : calloc(1, sizeof(*way));

    if (way == NULL)
        return NULL;
    way->lines = lines;
    way->busy = true;
    way->session = session;
    snprintf(way->url, sizeof(way->url), "%s", url);
    way->next = lines->ways;
    lines->ways = way;
    lines->way_count++;
    return way;
}

/* A place for a new line; NULL. */
static struct be_put_way *
way_add(struct be_put_lines *lines, const char *url, uint64_t session)
{
    struct be_put_way *way = NULL, *old = NULL;

    pthread_mutex_lock(&lines->lock);
    if (lines->way_count >= BE_PUT_LINES_MAX)
        old = idle_locked(lines, url, session, true);
    if (lines->way_count < BE_PUT_LINES_MAX || old != NULL)
        way = way_add_locked(lines, url, session);
    pthread_mutex_unlock(&lines->lock);
    if (old != NULL)
        way_drop(old);
    return way;
}

static bool
announce(struct be_put_way *way, const struct wire_put *put)
{
    uint8_t message[WIRE_PUT_BYTES];
    bool said;

    way->send_failed = false;
    way->bytes = put->bytes;
    wire_put_encode(put, message);
    said = say(way->lane, WIRE_FRAME_HELLO, WIRE_CONTROL_PUT, message, sizeof(message), STALL_NS);
    explicit_bzero(message, sizeof(message));
    return said;
}

static bool
way_make(struct be_put_way *way, const struct wire_put *put, char why[WHY_BYTES])
{
    struct tp_lane *lane = lane_open(way->lines, way->url, way->session, put, why);
    bool closed;

    if (lane == NULL)
        return false;
    pthread_mutex_lock(&way->lines->lock);
    way->lane = lane;
    closed = way->lines->closed;
    pthread_mutex_unlock(&way->lines->lock);
    if (!closed && announce(way, put)) {
        log_info("session: copies go to the server at %s by %s", tp_peer(lane)->address,
                 tp_scheme(lane));
        return true;
    }
    snprintf(why, WHY_BYTES, "the other server hung up");
    return false;
}

struct be_put_way *
be_put_way_open(struct be_put_lines *lines, const char *url, uint64_t session,
                const struct wire_put *put, char why[WHY_BYTES])
{
    struct be_put_way *way;
    struct gp_url parsed;

    why[0] = '\0';
    do {
        pthread_mutex_lock(&lines->lock);
        way = idle_locked(lines, url, session, false);
        pthread_mutex_unlock(&lines->lock);
        if (way != NULL && !is_stale(way) && announce(way, put))
            return way;
        if (way != NULL)
            way_drop(way);
    } while (way != NULL);
    way = way_add(lines, url, session);
    if (way == NULL) {
        snprintf(why, WHY_BYTES, "the session has too many lines to other servers");
        return NULL;
    }
    if (way_make(way, put, why))
        return way;
    if (gp_url_parse(url, &parsed) == GP_OK) /* it can be printed */
        log_info("session: no copies go to %s: %s", url, why);
    way_drop(way);
    return NULL;
}

bool
be_put_way_send(struct be_put_way *way, const void *bytes, uint32_t count)
{
    way->send_failed = !say(way->lane, WIRE_FRAME_DATA, 0, bytes, count, STALL_NS);
    return !way->send_failed;
}

/* What the other side says in the end. */
static CUresult
verdict(struct be_put_way *way, uint64_t within_ns, char why[WHY_BYTES])
{
    uint64_t deadline = gp_deadline_after(gp_now_ns(), within_ns);
    uint8_t message[WIRE_PUT_DONE_BYTES];
    struct wire_frame_header header;
    struct wire_put_done done;

    if (hear(way->lane, deadline, &header) != GP_OK || header.kind != WIRE_FRAME_HELLO ||
        header.tag != WIRE_CONTROL_PUT_DONE || header.payload_bytes != sizeof(message) ||
        !take(way->lane, message, sizeof(message), deadline) ||
        wire_put_done_decode(message, sizeof(message), &done) != GP_OK) {
        snprintf(why, WHY_BYTES, "the line to the other server is broken");
        return CUDA_ERROR_UNKNOWN;
    }
    if (done.result == CUDA_ERROR_NOT_PERMITTED)
        snprintf(why, WHY_BYTES, "the other server does not take the token");
    return done.result >= 0 ? (CUresult)done.result : CUDA_ERROR_UNKNOWN;
}

CUresult
be_put_way_close(struct be_put_way *way, bool whole, char why[WHY_BYTES])
{
    struct be_put_lines *lines = way->lines;
    CUresult cr = CUDA_ERROR_UNKNOWN;

    if (whole || way->send_failed)
        cr = verdict(way, whole ? ANSWER_NS : REASON_NS, why);
    if (!whole && cr == CUDA_SUCCESS)
        cr = CUDA_ERROR_UNKNOWN; /* it cannot have all */
    if (cr != CUDA_SUCCESS) {
        way_drop(way);
        return cr;
    }
    put_count(lines, way->lane, BE_COUNT_PUT_OUT, BE_COUNT_PUT_OUT_RDMA, way->bytes);
    pthread_mutex_lock(&lines->lock);
    way->busy = false;
    pthread_mutex_unlock(&lines->lock);
    return CUDA_SUCCESS;
}
