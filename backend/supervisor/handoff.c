/* backend/supervisor/handoff.c */
#include "backend/supervisor/handoff.h"

#include "protocol/base/log.h"
#include "protocol/base/pass.h"

#include <errno.h>
#include <sys/socket.h>

enum gp_status
be_handoff_send(int socket, const struct be_handoff *what, int fd)
{
    return gp_pass_send(socket, what, sizeof(*what), fd);
}

enum gp_status
be_handoff_receive(int socket, struct be_handoff *what_p, int *fd_p)
{
    struct be_handoff what;
    int fd = -1;
    enum gp_status status = gp_pass_receive(socket, &what, sizeof(what), 0, &fd);

    if (status == GP_ERR_CLOSED)
        return status;
    if (status != GP_OK || fd < 0) {
        log_error("worker: no connection in the supervisor's message");
        return GP_ERR_IO;
    }
    *fd_p = fd;
    what.scheme[sizeof(what.scheme) - 1] = 0;
    for (int i = 0; i < BE_LANES_MAX; i++)
        what.lanes[i][sizeof(what.lanes[i]) - 1] = 0;
    *what_p = what;
    return GP_OK;
}

void
be_handoff_tell(int socket, const struct be_word *word)
{
    (void)!send(socket, word, sizeof(*word), MSG_NOSIGNAL | MSG_DONTWAIT);
}

enum gp_status
be_handoff_hear(int socket, struct be_word *word_p)
{
    struct be_word word;
    ssize_t n = recv(socket, &word, sizeof(word), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return GP_ERR_AGAIN;
    if (n != (ssize_t)sizeof(word) || word.state > BE_WORKER_ADMIN)
        return GP_ERR_CLOSED;
    *word_p = word;
    return GP_OK;
}
