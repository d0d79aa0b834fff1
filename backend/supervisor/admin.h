/* backend/supervisor/admin.h -- operators' lines to the supervisor
 *
 * A unix socket for operators of this machine, by the kernel's word for who they are: root, the
 * service's user, members of its group. A worker that has an operator at the other end of TLS gets
 * a line of the same kind. On each: a request, its answer, the next request
 * (protocol/wire/admin.h).
 *
 * Threads: the supervisor's, but for _exchange. Never waits: what a peer does not take stays in a
 * buffer, and he is not listened to until it is gone. Who is silent for five minutes is cut.
 */
#ifndef BE_ADMIN_H
#define BE_ADMIN_H

#include "protocol/base/buf.h"
#include "protocol/base/status.h"
#include "protocol/wire/admin.h"

#include <stdbool.h>
#include <stdint.h>

#define BE_ADMIN_LINES_MAX 16

struct be_admin_line {
    int fd; /* -1: free */
    char who[64];
    uint64_t until_ns;
    struct gp_buf in, out;
    size_t sent; /* of out */
};

struct be_admin {
    int epoll_fd, listen_fd; /* -1: not open */
    char path[108];
    struct be_admin_line lines[BE_ADMIN_LINES_MAX];
    /* Fill *answer_p, which is all zeros; who says who asks, for the log. */
    void (*answer)(void *user, const char *who, const struct wire_admin_request *request,
                   struct wire_admin_answer *answer_p);
    void *user;
};

/* path NULL: only workers' lines. answer and user are set. replace: another server listens there,
 * whose place this one takes. */
GP_CHECK enum gp_status be_admin_open(struct be_admin *admin, const char *path, bool replace);
/* keep: the socket's name stays, somebody else has it now. */
void be_admin_close(struct be_admin *admin, bool keep);
/* A line for a worker; *fd_p is its end, the caller's. GP_ERR_LIMIT: there are too many. */
GP_CHECK enum gp_status be_admin_line_make(struct be_admin *admin, const char *who, int *fd_p);
/* At such an end: one request, and the answer's bytes, which are the caller's to free. Waits.
 * GP_ERR_CLOSED; GP_ERR_NO_MEMORY. */
GP_CHECK enum gp_status be_admin_exchange(int fd, const void *request, size_t request_bytes,
                                          uint8_t **answer_p, size_t *answer_bytes_p);
/* When epoll_fd is readable. */
void be_admin_serve(struct be_admin *admin);
/* Cut who is silent; when to ask again. */
uint64_t be_admin_expire(struct be_admin *admin, uint64_t now_ns);

#endif
