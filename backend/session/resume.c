/* backend/session/resume.c */
#include "backend/session/resume.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* From the first byte to the proof; an honest client needs a few round trips. */
#define TRY_NS (5 * GP_NS_PER_S)
/* More than so many at once, and the oldest is let go: the honest one is soon done. */
#define TRIES_EASY 8

struct be_resume_try {
    struct be_resume *resume;
    struct be_resume_try *next, **place;
    int fd;
    int watch_fd; /* the same socket, to end the try from outside */
    char scheme[16];
};

enum gp_status
be_resume_init(struct be_resume *resume, struct tp_lane *lane, struct be_opened *opened)
{
    enum gp_status status;

    *resume = (struct be_resume){.session_id = opened->session_id};
    status = tp_link_key(lane, opened->session_id, opened->secret, resume->key);
    explicit_bzero(opened->secret, sizeof(opened->secret));
    pthread_mutex_init(&resume->lock, NULL);
    pthread_cond_init(&resume->none, NULL);
    return status;
}

/* Under the lock. */
static void
wide_drop(struct be_resume *resume)
{
    for (unsigned i = 1; i < resume->wide.lines; i++)
        tp_close(resume->wide.further[i]);
    resume->wide = (struct be_resume_wide){.lines = 0};
}

void
be_resume_fini(struct be_resume *resume)
{
    pthread_mutex_lock(&resume->lock);
    for (struct be_resume_try *t = resume->tries; t != NULL; t = t->next)
        (void)shutdown(t->watch_fd, SHUT_RDWR);
    while (resume->tries != NULL)
        pthread_cond_wait(&resume->none, &resume->lock);
    wide_drop(resume);
    pthread_mutex_unlock(&resume->lock);
    pthread_mutex_destroy(&resume->lock);
    pthread_cond_destroy(&resume->none);
    explicit_bzero(resume->key, sizeof(resume->key));
}

/* -- one try --------------------------------------------------------------------------------------
 */

static void
say(struct tp_lane *lane, enum wire_control_kind kind, const struct gp_buf *message,
    uint64_t deadline_ns)
{
    struct wire_frame_header header = {
        .payload_bytes = (uint32_t)message->len, .kind = WIRE_FRAME_HELLO, .tag = kind};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {message->data, message->len}};

    wire_frame_encode(&header, head);
    if (tp_send_by(lane, iov, 2, deadline_ns) != GP_OK) /* then the line is lost once more */
        log_debug("session: %s: gone before an answer", tp_peer(lane)->address);
}

static void
refuse(struct tp_lane *lane, const char *reason, uint64_t deadline_ns)
{
    struct wire_error_answer no = {.code = WIRE_CODE_NOT_ALLOWED};
    GP_AUTO_BUF struct gp_buf message = {0};

    log_warn("session: a further connection from %s is refused: %s", tp_peer(lane)->address,
             reason);
    snprintf(no.reason, sizeof(no.reason), "%s", reason);
    if (wire_error_answer_encode(&no, &message) == GP_OK)
        say(lane, WIRE_CONTROL_ERROR, &message, deadline_ns);
}

/* What a further connection wants. */
struct wish {
    struct wire_resume resume;
    struct wire_put put; /* id 0: it is the client */
};

static enum gp_status
hear(struct tp_lane *lane, uint64_t deadline_ns, struct wish *wish)
{
    struct wire_frame_header header;
    struct tp_frame frame;
    enum gp_status status;

    do
        status = tp_recv_frame(lane, &frame, deadline_ns);
    while (status == GP_ERR_AGAIN);
    if (status == GP_OK)
        status = wire_frame_decode(frame.header, WIRE_FRAME_PAYLOAD_MIN, &header);
    if (status != GP_OK)
        return status;
    if (header.kind == WIRE_FRAME_HELLO && header.tag == WIRE_CONTROL_PUT)
        return wire_put_decode(frame.payload, frame.payload_bytes, &wish->put);
    if (header.kind != WIRE_FRAME_HELLO || header.tag != WIRE_CONTROL_RESUME)
        return GP_ERR_PROTOCOL;
    return wire_resume_decode(frame.payload, frame.payload_bytes, &wish->resume);
}

/* Under the lock: NULL if one of so many is what may come now. */
static const char *
check_lines(const struct be_resume *resume, const struct wire_resume *ask)
{
    const struct be_resume_wide *wide = &resume->wide;

    if (ask->lines == 0)
        return ask->line == 0 ? NULL : "it is no line of any";
    if (ask->lines < 2 || ask->lines > resume->lines_max || ask->line >= ask->lines)
        return "a session may not go by so many connections";
    if (ask->line > 0) {
        if (wide->lines == 0 || wide->attempt < ask->attempt)
            return NULL;
        if (wide->attempt > ask->attempt || wide->lines != ask->lines ||
            wide->further[ask->line] != NULL)
            return "what it says was said before";
        return NULL;
    }
    if (wide->attempt != ask->attempt || wide->lines != ask->lines)
        return "the further ones are not here";
    for (unsigned i = 1; i < wide->lines; i++)
        if (wide->further[i] == NULL)
            return "the further ones are not here";
    return NULL;
}

/* Under the lock: NULL if this is the session's client with something new to say. */
static const char *
check(struct be_resume *resume, const struct wire_resume *ask)
{
    const struct tp_link_claim claim = {.session_id = ask->session_id,
                                        .attempt = ask->attempt,
                                        .received = ask->received_bytes,
                                        .line = ask->line,
                                        .lines = ask->lines};
    uint8_t proof[WIRE_SECRET_BYTES];

    if (tp_link_proof(resume->key, &claim, proof) != GP_OK)
        return "no memory";
    if (ask->session_id != resume->session_id || !gp_secret_equal(proof, ask->proof, sizeof(proof)))
        return "it does not have the session's key";
    if (ask->attempt <= resume->attempt)
        return "what it says was said before";
    return check_lines(resume, ask);
}

/* Under the lock: takes lane, to be asked for with the first one. */
static void
wide_keep(struct be_resume *resume, struct tp_lane *lane, const struct wire_resume *ask,
          uint64_t deadline_ns)
{
    const struct wire_resumed answer = {.received_bytes = 0};
    GP_AUTO_BUF struct gp_buf message = {0};

    if (resume->wide.attempt != ask->attempt)
        wide_drop(resume);
    if (wire_resumed_encode(&answer, &message) != GP_OK) {
        tp_close(lane);
        return;
    }
    say(lane, WIRE_CONTROL_RESUMED, &message, deadline_ns);
    resume->wide.attempt = ask->attempt;
    resume->wide.lines = ask->lines;
    resume->wide.further[ask->line] = lane;
}

/* Under the lock: first and those that wait for it become one. Takes first. */
static enum gp_status
wide_make(struct be_resume *resume, struct tp_lane *first, struct tp_lane **lane_p)
{
    uint32_t lines = resume->wide.lines;

    resume->wide.lines = 0;
    resume->wide.further[0] = first;
    return tp_bundle_make(resume->wide.further, lines, lane_p);
}

/* Under the lock, so that of two tries one comes after the other: takes lane. */
static enum gp_status
let_in(struct be_resume *resume, struct tp_lane *lane, const struct wire_resume *ask,
       uint64_t deadline_ns)
{
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_resumed answer;
    enum gp_status status;

    status = tp_link_detach(resume->link, &answer.received_bytes);
    if (status == GP_OK)
        status = wire_resumed_encode(&answer, &message);
    if (status != GP_OK) {
        wide_drop(resume);
        tp_close(lane);
        return status;
    }
    say(lane, WIRE_CONTROL_RESUMED, &message, deadline_ns);
    tp_set_max_payload(lane, resume->max_payload_bytes);
    if (ask->lines > 0)
        status = wide_make(resume, lane, &lane);
    wide_drop(resume);
    if (status != GP_OK)
        return status;
    return tp_link_attach(resume->link, lane, ask->received_bytes);
}

/* Takes lane. */
static void
decide(struct be_resume *resume, struct tp_lane *lane, enum gp_status status,
       const struct wire_resume *ask, uint64_t deadline_ns)
{
    char address[TP_ADDRESS_MAX + 1];
    const char *why = "it did not ask for what is due now";

    snprintf(address, sizeof(address), "%s", tp_peer(lane)->address);
    pthread_mutex_lock(&resume->lock);
    if (status == GP_OK)
        why = check(resume, ask);
    if (why == NULL && ask->line > 0) {
        wide_keep(resume, lane, ask, deadline_ns);
        pthread_mutex_unlock(&resume->lock);
        return;
    }
    if (why == NULL) {
        resume->attempt = ask->attempt;
        status = let_in(resume, lane, ask, deadline_ns);
    }
    pthread_mutex_unlock(&resume->lock);
    if (why != NULL) {
        if (status == GP_OK || status == GP_ERR_PROTOCOL)
            refuse(lane, why, deadline_ns);
        tp_close(lane);
    } else if (status == GP_OK) {
        log_info("session: its client is on the line again, at %s, by %u connections", address,
                 ask->lines > 0 ? ask->lines : 1);
        tp_link_catch_up(resume->link);
    } else if (status != GP_ERR_CLOSED) {
        log_warn("session: %s cannot go on: %s", address, gp_status_text(status));
    }
}

static void
try_leave(struct be_resume_try *t)
{
    struct be_resume *resume = t->resume;

    pthread_mutex_lock(&resume->lock);
    *t->place = t->next;
    if (t->next != NULL)
        t->next->place = t->place;
    resume->count--;
    close(t->watch_fd);
    if (resume->tries == NULL)
        pthread_cond_broadcast(&resume->none);
    pthread_mutex_unlock(&resume->lock);
    free(t);
}

static struct tp_lane *
try_adopt(struct be_resume_try *t, uint64_t deadline_ns)
{
    struct be_resume *resume = t->resume;
    char why[TP_WHY_BYTES] = "";
    struct tp_opts opts = resume->socket;
    struct tp_lane *lane;

    opts.framing = &wire_framing;
    opts.max_payload_bytes = WIRE_FRAME_PAYLOAD_MIN;
    opts.deadline_ns = deadline_ns;
    opts.tls = (struct tp_tls_opts){.psk = resume->key};
    if (resume->puts != NULL) {
        opts.tls.psk_find = be_put_lines_key;
        opts.tls.psk_user = resume->puts;
    }
    opts.why = why;
    if (tp_adopt(t->scheme, t->fd, TP_SERVER, &opts, &lane) == GP_OK)
        return lane;
    log_warn("session: a further connection is refused: %s", why);
    return NULL;
}

static void *
try_main(void *arg)
{
    uint64_t deadline = gp_deadline_after(gp_now_ns(), TRY_NS);
    struct be_resume_try *t = arg;
    struct be_put_lines *puts = t->resume->puts;
    struct tp_lane *lane = try_adopt(t, deadline);
    struct wish wish = {.put = {0}};
    enum gp_status status;

    if (lane != NULL) {
        status = hear(lane, deadline, &wish);
        if (status == GP_OK && wish.put.id != 0 && puts != NULL && be_put_lines_enter(puts, lane)) {
            try_leave(t); /* it counts there now */
            be_put_lines_serve(puts, lane, &wish.put);
            return NULL;
        }
        decide(t->resume, lane, wish.put.id != 0 ? GP_ERR_PROTOCOL : status, &wish.resume,
               deadline);
    }
    try_leave(t);
    return NULL;
}

/* -- all of them ----------------------------------------------------------------------------------
 */

/* Under the lock. */
static void
end_oldest(struct be_resume *resume)
{
    struct be_resume_try *oldest = resume->tries;

    while (oldest->next != NULL)
        oldest = oldest->next;
    (void)shutdown(oldest->watch_fd, SHUT_RDWR);
}

/* Under the lock. */
static bool
try_start(struct be_resume *resume, struct be_resume_try *t)
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    t->next = resume->tries;
    t->place = &resume->tries;
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, try_main, t);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return false;
    if (t->next != NULL)
        t->next->place = &t->next;
    resume->tries = t;
    resume->count++;
    return true;
}

void
be_resume_take(struct be_resume *resume, const char *scheme, int fd)
{
    struct be_resume_try *t = calloc(1, sizeof(*t));
    bool started = false;

    if (t != NULL) {
        t->resume = resume;
        t->fd = fd;
        t->watch_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        snprintf(t->scheme, sizeof(t->scheme), "%s", scheme);
        pthread_mutex_lock(&resume->lock);
        if (resume->count >= TRIES_EASY)
            end_oldest(resume);
        started = t->watch_fd >= 0 && resume->count < BE_RESUME_TRIES_MAX && try_start(resume, t);
        pthread_mutex_unlock(&resume->lock);
    }
    if (started)
        return;
    log_warn("session: no room for a further connection");
    if (t != NULL && t->watch_fd >= 0)
        close(t->watch_fd);
    free(t);
    close(fd);
}
