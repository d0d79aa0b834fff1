/* backend/session/resume.h -- a client that lost its line comes back on another one; so do servers
 * that copy something here (put_lines.h)
 *
 * The supervisor hands over connections that name this session; each has a thread of its own until
 * it has shown that it has the session's key, and then becomes the session's line, or is closed.
 * What the threads do is bounded in number and time, so whoever knows only the session's id costs
 * little and keeps nobody out. Several connections can come together, for bulk: the further ones
 * are kept here until the first one asks for all of them, in the same attempt.
 *
 * Threads: take and fini from one thread; the rest inside.
 */
#ifndef BE_RESUME_H
#define BE_RESUME_H

#include "backend/session/put_lines.h"
#include "backend/session/session.h"
#include "transport/bundle/bundle.h"
#include "transport/link/link.h"

#define BE_RESUME_TRIES_MAX 16

struct be_resume_try;

/* Lines of one attempt that wait for its first one. */
struct be_resume_wide {
    uint64_t attempt;
    uint32_t lines;                         /* 0: none */
    struct tp_lane *further[TP_BUNDLE_MAX]; /* [0] is none */
};

struct be_resume {
    /* Set once. */
    struct tp_lane *link;
    uint64_t session_id;
    uint8_t key[TP_KEY_BYTES];
    uint32_t max_payload_bytes;
    uint32_t lines_max;    /* 2 to TP_BUNDLE_MAX, or none but one */
    struct tp_opts socket; /* congestion, buffers, keepalive of further connections */
    struct be_put_lines
        *puts; /* whose connections come here too; borrowed, outlives this; NULL: no */

    pthread_mutex_t lock; /* no rank: nothing else is taken under it but the link's own */
    pthread_cond_t none;  /* no try is left */
    /* Guarded by lock. */
    struct be_resume_try *tries; /* the newest first */
    unsigned count;
    uint64_t attempt; /* the highest that was let in */
    struct be_resume_wide wide;
};

/* The key comes from lane, which was opened with this; opened's secret is wiped. */
GP_CHECK enum gp_status be_resume_init(struct be_resume *resume, struct tp_lane *lane,
                                       struct be_opened *opened);
/* Ends the tries that are left, waits for them, wipes the key. */
void be_resume_fini(struct be_resume *resume);
/* A further connection; takes fd. */
void be_resume_take(struct be_resume *resume, const char *scheme, int fd);

#endif
