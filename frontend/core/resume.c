/* frontend/core/resume.c -- another line for a session that lost its own, or could have a better
 * one
 *
 * The link (transport/link) keeps what is sent and not acknowledged; the thread here, made when a
 * line is lost, connects anew until it is let in, and ends. All others only notice that it takes
 * longer.
 */
#include "frontend/core/connect.h"
#include "frontend/core/futex.h"
#include "frontend/core/line.h"

#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"
#include "protocol/wire/preface.h"
#include "transport/bundle/bundle.h"
#include "transport/link/link.h"

#include <stdio.h>
#include <string.h>

#define TRY_NS       (3 * GP_NS_PER_S)
#define PAUSE_MIN_NS (20 * GP_NS_PER_MS)
#define PAUSE_MAX_NS (1 * GP_NS_PER_S)
/* Between two tries for a lane that is better than the one the session goes on by. */
#define BETTER_MIN_NS (2 * GP_NS_PER_S)
#define BETTER_MAX_NS (60 * GP_NS_PER_S)
/* The host answers that nobody listens: a server that is gone has taken its sessions with it, and
 * what stands before one that is not may be restarting. */
#define REFUSED_NS (2 * GP_NS_PER_S)

/* Several connections that were lost together are tried again after this, longer each time, unless
 * they lived for a while: something on the way may allow one only. */
#define WIDE_MIN_NS   (50 * GP_NS_PER_MS)
#define WIDE_MAX_NS   (30 * GP_NS_PER_S)
#define WIDE_LIVED_NS (2 * GP_NS_PER_S)

/* --- one try ------------------------------------------------------------------------ */

static enum gp_status
dial(struct fe_line *l, const char *url, char why[TP_WHY_BYTES], uint64_t deadline_ns,
     struct tp_lane **lane_p)
{
    uint8_t preface[WIRE_PREFACE_BYTES];
    const char *fabrics[FE_FABRICS_MAX];
    struct tp_opts opts = {
        .framing = &wire_framing,
        .max_payload_bytes = WIRE_FRAME_PAYLOAD_DEFAULT,
        .deadline_ns = deadline_ns,
        .preface = preface,
        .preface_bytes = sizeof(preface),
        .tls = {.psk = l->resume.key},
        .why = why,
    };

    fe_socket_fill(&l->session->socket, fabrics, &opts);
    wire_preface_encode(l->resume.session_id, preface);
    return tp_connect(url, &opts, lane_p);
}

/* Of this attempt, one line of so many. */
static enum gp_status
ask(struct fe_line *l, struct tp_lane *lane, uint64_t received, uint32_t line, uint32_t lines,
    uint64_t deadline_ns)
{
    const struct tp_link_claim claim = {
        .session_id = l->resume.session_id,
        .attempt = l->resume.attempt,
        .received = received,
        .line = line,
        .lines = lines,
    };
    struct wire_resume resume = {
        .session_id = claim.session_id,
        .attempt = claim.attempt,
        .received_bytes = received,
        .line = line,
        .lines = lines,
    };
    struct wire_frame_header header = {.kind = WIRE_FRAME_HELLO, .tag = WIRE_CONTROL_RESUME};
    GP_AUTO_BUF struct gp_buf message = {0};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    enum gp_status status;

    status = tp_link_proof(l->resume.key, &claim, resume.proof);
    if (status == GP_OK)
        status = wire_resume_encode(&resume, &message);
    if (status == GP_OK) {
        struct iovec iov[2] = {{head, sizeof(head)}, {message.data, message.len}};

        header.payload_bytes = (uint32_t)message.len;
        wire_frame_encode(&header, head);
        status = tp_send_by(lane, iov, 2, deadline_ns);
    }
    return status;
}

/* GP_ERR_NOT_FOUND, GP_ERR_AUTH: the server does not have this session, or not for us. */
static enum gp_status
hear(struct tp_lane *lane, uint64_t deadline_ns, uint64_t *received_p)
{
    struct wire_frame_header header;
    struct wire_error_answer error;
    struct wire_resumed answer;
    struct tp_frame frame;
    enum gp_status status;

    do
        status = tp_recv_frame(lane, &frame, deadline_ns);
    while (status == GP_ERR_AGAIN);
    if (status == GP_OK)
        status = wire_frame_decode(frame.header, WIRE_FRAME_PAYLOAD_DEFAULT, &header);
    if (status != GP_OK)
        return status;
    if (header.kind == WIRE_FRAME_HELLO && header.tag == WIRE_CONTROL_ERROR &&
        wire_error_answer_decode(frame.payload, frame.payload_bytes, &error) == GP_OK)
        return error.code == WIRE_CODE_NO_SESSION ? GP_ERR_NOT_FOUND : GP_ERR_AUTH;
    if (header.kind != WIRE_FRAME_HELLO || header.tag != WIRE_CONTROL_RESUMED)
        return GP_ERR_PROTOCOL;
    status = wire_resumed_decode(frame.payload, frame.payload_bytes, &answer);
    if (status == GP_OK)
        *received_p = answer.received_bytes;
    return status;
}

/* Dial, and have the server wait with this line for the first one. */
static enum gp_status
dial_further(struct fe_line *l, const char *url, uint32_t line, uint32_t lines,
             char why[TP_WHY_BYTES], struct tp_lane **lane_p)
{
    uint64_t deadline_ns = gp_now_ns() + TRY_NS, none;
    enum gp_status status = dial(l, url, why, deadline_ns, lane_p);

    if (status != GP_OK)
        return status;
    status = ask(l, *lane_p, 0, line, lines, deadline_ns);
    if (status == GP_OK || status == GP_ERR_IO || status == GP_ERR_CLOSED)
        status = hear(*lane_p, deadline_ns, &none);
    if (status != GP_OK) {
        tp_close(*lane_p);
        *lane_p = NULL;
    }
    return status;
}

/* The session goes over to lane; takes it. */
static enum gp_status
enter(struct fe_line *l, struct tp_lane *further[TP_BUNDLE_MAX], uint32_t lines,
      struct tp_lane *lane, uint64_t deadline_ns)
{
    uint64_t received, peer_received = 0;
    enum gp_status status;

    status = tp_link_detach(l->lane, &received);
    if (status == GP_OK)
        status = ask(l, lane, received, 0, lines, deadline_ns);
    if (status == GP_OK || status == GP_ERR_IO || status == GP_ERR_CLOSED)
        status = hear(lane, deadline_ns, &peer_received);
    if (status != GP_OK) {
        tp_close(lane);
        return status;
    }
    tp_set_max_payload(lane, WIRE_FRAME_PAYLOAD_DEFAULT);
    if (lines > 0) {
        struct tp_lane *all[TP_BUNDLE_MAX] = {lane};

        memcpy(all + 1, further + 1, (lines - 1) * sizeof(all[0]));
        memset(further, 0, TP_BUNDLE_MAX * sizeof(further[0])); /* the bundle's */
        status = tp_bundle_make(all, lines, &lane);
        if (status != GP_OK)
            return status;
    }
    return tp_link_attach(l->lane, lane, peer_received);
}

/* Connect anew, by so many lines that are one together; lines 0: by one. */
static enum gp_status
try_lines(struct fe_line *l, const char *url, uint32_t lines, char why[TP_WHY_BYTES])
{
    struct tp_lane *further[TP_BUNDLE_MAX] = {NULL}, *lane;
    enum gp_status status = GP_OK;
    uint64_t deadline_ns;

    l->resume.attempt++;
    for (uint32_t i = 1; i < lines && status == GP_OK; i++)
        status = dial_further(l, url, i, lines, why, &further[i]);
    deadline_ns = gp_now_ns() + TRY_NS;
    if (status == GP_OK)
        status = dial(l, url, why, deadline_ns, &lane);
    if (status == GP_OK)
        status = enter(l, further, lines, lane, deadline_ns);
    for (uint32_t i = 1; i < lines; i++)
        tp_close(further[i]);
    return status;
}

static enum gp_status
try_once(struct fe_line *l, const char *url, char why[TP_WHY_BYTES])
{
    return try_lines(l, url, 0, why);
}

/* In words what whoever has the session, or had it, has said for good; NULL: nothing. */
static const char *
verdict(enum gp_status status)
{
    if (status == GP_ERR_NOT_FOUND)
        return "it no longer has the session";
    if (status == GP_ERR_AUTH)
        return "it does not let the session go on";
    if (status == GP_ERR_INVALID || status == GP_ERR_VERSION)
        return "it is not the server that it was";
    return NULL;
}

/* By the address where the server was met, and where that leads nowhere by its name: client or
 * server may be elsewhere by now. The name decides nothing: without a network nobody knows it, and
 * other servers may have it too. */
static enum gp_status
try_places(struct fe_line *l, char why[TP_WHY_BYTES])
{
    enum gp_status status = try_once(l, l->resume.url, why);
    char other[TP_WHY_BYTES] = "";

    if (status == GP_OK || verdict(status) != NULL || strcmp(l->resume.url, l->session->url) == 0)
        return status;
    if (try_once(l, l->session->url, other) == GP_OK)
        return GP_OK;
    log_info("%s: the line is lost: %s", l->session->url, other);
    return status;
}

/* --- several ------------------------------------------------------------------------------- */

static bool
wants_wide(struct fe_line *l)
{
    struct tp_stats stats;
    const char *scheme;

    if (l->resume.lines < 2 || atomic_load_explicit(&l->resume.wide, memory_order_relaxed) ||
        atomic_load_explicit(&l->over, memory_order_acquire) ||
        tp_link_state(l->lane) != TP_LINK_LIVE)
        return false;
    tp_stats(l->lane, &stats);
    scheme = tp_scheme(l->lane);
    return stats.bytes_sent + stats.bytes_received >= l->resume.lines_after &&
           (strcmp(scheme, "tls") == 0 || strcmp(scheme, "tcp") == 0) &&
           gp_now_ns() >= atomic_load_explicit(&l->resume.wide_not_before_ns, memory_order_relaxed);
}

static void
wide_later(struct fe_line *l)
{
    struct fe_resume *r = &l->resume;

    r->wide_pause_ns = gp_min_u64(gp_max_u64(r->wide_pause_ns * 2, WIDE_MIN_NS), WIDE_MAX_NS);
    atomic_store_explicit(&r->wide_not_before_ns, gp_now_ns() + r->wide_pause_ns,
                          memory_order_relaxed);
}

/* The line was lost and there is one again, a single one. */
static void
wide_lost(struct fe_line *l)
{
    struct fe_resume *r = &l->resume;

    if (!atomic_load_explicit(&r->wide, memory_order_relaxed))
        return;
    if (gp_now_ns() - r->wide_ns > WIDE_LIVED_NS)
        r->wide_pause_ns = 0;
    wide_later(l);
    atomic_store_explicit(&r->wide, false, memory_order_relaxed);
}

static void
widen(struct fe_line *l)
{
    char why[TP_WHY_BYTES] = "";
    enum gp_status status;

    if (!wants_wide(l))
        return;
    status = try_lines(l, l->resume.url, l->resume.lines, why);
    if (status == GP_OK) {
        l->resume.wide_ns = gp_now_ns();
        atomic_store_explicit(&l->resume.wide, true, memory_order_relaxed);
        log_info("the session at %s goes by %u connections", l->session->url, l->resume.lines);
        tp_link_catch_up(l->lane);
        return;
    }
    log_info("the session at %s stays with one connection: %s", l->session->url,
             why[0] != '\0' ? why : gp_status_text(status));
    wide_later(l);
}

/* --- until it is let in --------------------------------------------------------------- */

struct search {
    uint64_t begin_ns, refused_ns; /* refused_ns: since when nobody listens; 0: somebody may */
    uint64_t pause_ns;
};

static bool
wanted(const struct fe_line *l)
{
    return !atomic_load_explicit(&l->over, memory_order_acquire) &&
           tp_link_state(l->lane) == TP_LINK_BROKEN;
}

/* NULL, or in words why there is no more to hope for. */
static const char *
hopeless(const struct fe_line *l, struct search *s, enum gp_status status)
{
    uint64_t now = gp_now_ns();

    if (verdict(status) != NULL)
        return verdict(status);
    if (status != GP_ERR_REFUSED)
        s->refused_ns = 0;
    else if (s->refused_ns == 0)
        s->refused_ns = now;
    else if (now - s->refused_ns > REFUSED_NS)
        return "nobody listens there any more";
    return now - s->begin_ns > l->resume.grace_ns ? "it was out of reach for too long" : NULL;
}

/* Longer each time, and not all clients of a server at once. */
static void
pause_some(struct fe_line *l, struct search *s)
{
    uint32_t bell = atomic_load_explicit(&l->resume.bell, memory_order_relaxed);
    uint64_t dice = 0;

    if (gp_random_bytes(&dice, sizeof(dice)) != GP_OK)
        dice = 0;
    if (wanted(l))
        fe_futex_wait(&l->resume.bell, bell, s->pause_ns / 2 + dice % s->pause_ns);
    s->pause_ns = gp_min_u64(s->pause_ns * 2, PAUSE_MAX_NS);
}

static void
search(struct fe_line *l)
{
    struct search s = {.begin_ns = gp_now_ns(), .pause_ns = PAUSE_MIN_NS};
    char why[TP_WHY_BYTES];
    const char *end;
    enum gp_status status;

    while (wanted(l)) {
        why[0] = '\0';
        status = try_places(l, why);
        if (status == GP_OK) {
            log_warn("the line to %s was lost for %llu ms, the session goes on by %s",
                     l->session->url,
                     (unsigned long long)((gp_now_ns() - s.begin_ns) / GP_NS_PER_MS),
                     tp_scheme(l->lane));
            wide_lost(l);
            tp_link_catch_up(l->lane);
            return;
        }
        log_info("%s: the line is lost: %s", l->resume.url,
                 why[0] != '\0' ? why : gp_status_text(status));
        end = hopeless(l, &s, status);
        if (end != NULL) {
            fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE, "%s", end);
            return;
        }
        pause_some(l, &s);
    }
}

static bool
could_be_better(const struct fe_line *l)
{
    return l->resume.rdma_url[0] != '\0' && !atomic_load_explicit(&l->over, memory_order_acquire) &&
           tp_link_state(l->lane) == TP_LINK_LIVE && strcmp(tp_scheme(l->lane), "rdma") != 0;
}

/* RDMA failed and the session went on by tls: perhaps there is another port, or the cable comes
 * back. The lane that there is stays in use until the new one is proved to work. */
static void
go_back(struct fe_line *l)
{
    uint64_t pause_ns = BETTER_MIN_NS;
    char why[TP_WHY_BYTES];

    while (could_be_better(l)) {
        uint32_t bell = atomic_load_explicit(&l->resume.bell, memory_order_acquire);

        why[0] = '\0';
        if (try_once(l, l->resume.rdma_url, why) == GP_OK) {
            log_warn("the session at %s goes by rdma again", l->session->url);
            tp_link_catch_up(l->lane);
            return;
        }
        log_debug("%s: no rdma yet: %s", l->session->url, why);
        if (could_be_better(l))
            fe_futex_wait(&l->resume.bell, bell, pause_ns);
        pause_ns = gp_min_u64(pause_ns * 2, BETTER_MAX_NS);
    }
}

static void *
resume_thread(void *line)
{
    struct fe_line *l = line;

    do {
        search(l);
        widen(l);
        search(l); /* a refusal comes when the line is given up already */
        go_back(l);
        atomic_store(&l->resume.at_work, false);
        /* Lost again before that: whoever saw it left it to us. */
    } while (wanted(l) && !atomic_exchange(&l->resume.at_work, true));
    return NULL;
}

void
fe_resume_changed(void *line)
{
    struct fe_line *l = line;

    fe_receive_poke(l);
    if (!wanted(l))
        return;
    if (atomic_exchange(&l->resume.at_work, true)) {
        /* It may rest. */
        atomic_fetch_add_explicit(&l->resume.bell, 1, memory_order_release);
        fe_futex_wake(&l->resume.bell);
        return;
    }
    if (fe_thread_create("gpupool-line", resume_thread, l) != GP_OK)
        fe_session_failf(l->session, CUDA_ERROR_DEVICE_UNAVAILABLE,
                         "the line is lost, and there is no thread to look for another one");
}

void
fe_resume_bulk(struct fe_line *l)
{
    if (GP_LIKELY(l->resume.lines < 2) ||
        atomic_load_explicit(&l->resume.wide, memory_order_relaxed) || !wants_wide(l) ||
        atomic_exchange(&l->resume.at_work, true))
        return;
    if (fe_thread_create("gpupool-line", resume_thread, l) == GP_OK)
        return;
    wide_later(l);
    atomic_store(&l->resume.at_work, false);
    if (wanted(l))
        fe_resume_changed(l);
}

/* --- a better one ----------------------------------------------------------------------- */

bool
fe_lane_url(const char *session_url, const char *offered, char *url, size_t bytes)
{
    static const char shm[] = "shm://@gpupool-", rdma[] = "rdma://*";
    struct gp_url to, there;

    if (gp_url_parse(offered, &to) != GP_OK || gp_url_parse(session_url, &there) != GP_OK)
        return false;
    if (strncmp(offered, shm, sizeof(shm) - 1) == 0) {
        if (strlen(offered) >= bytes)
            return false;
        memcpy(url, offered, strlen(offered) + 1);
        return true;
    }
    if (strncmp(offered, rdma, sizeof(rdma) - 1) != 0)
        return false;
    memcpy(to.host, there.host, sizeof(to.host));
    to.is_ipv6 = there.is_ipv6;
    gp_url_format(&to, url, bytes);
    return true;
}

/* What leads to this server and no other for as long as it keeps its address. */
static void
place_note(struct fe_line *l)
{
    char address[TP_ADDRESS_MAX + 16];
    struct gp_url url, at;

    if (gp_url_parse(l->session->url, &url) != GP_OK)
        return; /* cannot be: it was connected to */
    snprintf(address, sizeof(address), "at://%s", tp_peer(l->lane)->address);
    if (!url.is_path && gp_url_parse(address, &at) == GP_OK && at.has_port) {
        memcpy(at.scheme, url.scheme, sizeof(at.scheme));
        url = at;
    }
    gp_url_format(&url, l->resume.url, sizeof(l->resume.url));
}

/* How many connections this session may go by for bulk. */
static void
lines_choose(struct fe_line *l, const struct wire_open_answer *answer)
{
    const struct fe_socket *socket = &l->session->socket;
    const char *peer = tp_peer(l->lane)->address;
    bool here = strncmp(peer, "127.", 4) == 0 || strncmp(peer, "[::1]", 5) == 0;
    uint32_t lines = socket->lines != 0 ? socket->lines : here ? 1 : FE_LINES;

    l->resume.lines = (uint32_t)gp_min_u64(gp_min_u64(lines, answer->lines_max), TP_BUNDLE_MAX);
    l->resume.lines_after = socket->lines_after;
}

/* For those that look for the server by RDMA later. */
static void
offer_note(struct fe_line *l, const struct wire_open_answer *answer)
{
    char url[GP_URL_TEXT_MAX + 1];

    for (uint32_t i = 0; i < answer->lane_count; i++)
        if (fe_lane_url(l->session->url, answer->lanes[i], url, sizeof(url)) &&
            strncmp(url, "rdma:", 5) == 0)
            memcpy(l->resume.rdma_offered, url, sizeof(url));
}

/* Whatever happens, the session goes on. */
static void
go_over(struct fe_line *l, const struct wire_open_answer *answer)
{
    const char *here = l->session->url;
    char url[GP_URL_TEXT_MAX + 1], why[TP_WHY_BYTES];
    enum gp_status status = GP_ERR_AGAIN;

    if (strncmp(here, TP_SCHEME_BEST ":", sizeof(TP_SCHEME_BEST)) != 0)
        return;
    for (uint32_t i = 0; i < answer->lane_count && status != GP_OK; i++) {
        if (tp_link_state(l->lane) != TP_LINK_LIVE)
            break;
        if (!fe_lane_url(l->resume.url, answer->lanes[i], url, sizeof(url)))
            continue;
        why[0] = '\0';
        status = try_once(l, url, why);
        if (status == GP_OK && strncmp(url, "rdma:", 5) == 0)
            memcpy(l->resume.rdma_url, url, sizeof(url)); /* for go_back() */
        if (status == GP_OK)
            tp_link_catch_up(l->lane);
        else if (status == GP_ERR_REFUSED || status == GP_ERR_NOT_SUPPORTED)
            log_debug("%s: %s", here, why); /* another machine, or this one cannot */
        else
            log_warn("%s: %.24s... is offered and does not work (%s): the session goes on by tls",
                     here, url, why[0] != '\0' ? why : gp_status_text(status));
    }
}

void
fe_resume_choose(struct fe_line *l, const struct wire_open_answer *answer)
{
    if (!tp_link_is(l->lane))
        return;
    place_note(l);
    lines_choose(l, answer);
    offer_note(l, answer);
    atomic_store(&l->resume.at_work, true); /* what goes meanwhile we see ourselves */
    go_over(l, answer);
    if (l->resume.lines_after == 0)
        widen(l);
    atomic_store(&l->resume.at_work, false);
    if (wanted(l))
        fe_resume_changed(l);
}
