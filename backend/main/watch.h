/* backend/main/watch.h -- a thread beside the executor
 *
 * It sees a client that goes away while the executor is inside the driver, and tells it that we are
 * there while that takes long; the supervisor's wish to end; further connections of the session. A
 * client whose line is lost may come back within the grace time (a link, transport/link); then, or
 * for another client at once, the session ends, by force if the executor does not return.
 */
#ifndef BE_WATCH_H
#define BE_WATCH_H

#include "backend/session/line.h"
#include "backend/session/resume.h"

#include <pthread.h>

struct be_watch {
    /* Set before the start. */
    struct tp_lane *lane;
    struct be_line *line;
    int signals;
    uint64_t beat_ns; /* an executor at work for so long lets the client hear of us; 0: never */
    /* Only for a link. */
    struct be_resume *resume; /* NULL: the client cannot come back */
    int supervisor;           /* further connections come from here, and it is told of the client */
    uint64_t grace_ns;

    /* The watch's own. */
    pthread_t thread;
    bool running;
    int end;          /* eventfd: be_watch_stop() */
    int changed;      /* eventfd: the link lost its line, or has one again */
    uint64_t lost_ns; /* 0: the client is there */
    bool away_said;   /* that it is not */
};

GP_CHECK enum gp_status be_watch_start(struct be_watch *watch);
/* Nothing to do where it does not run. */
void be_watch_stop(struct be_watch *watch);
/* For tp_link_opts.changed; user is the watch. */
void be_watch_changed(void *user);

#endif
