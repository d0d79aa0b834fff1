/* backend/supervisor/handoff.h -- what supervisor and worker say to each other
 *
 * Over a SOCK_SEQPACKET pair. The supervisor sends one connection, with its descriptor, and later
 * further ones of the same session; the worker says how far it is. Either end closed means the
 * other process is gone or wants to be alone. Threads: one on each side.
 */
#ifndef BE_HANDOFF_H
#define BE_HANDOFF_H

#include "protocol/base/status.h"

#include <stdint.h>
#include <sys/socket.h>

#define BE_LANES_MAX 2 /* shared memory, RDMA */
/* No scheme: a connection to another server that the worker asked for; session_id is its number,
 * refuse says that the operator does not want it. */
#define BE_SCHEME_DIALLED "dialled"

/* A connection for the worker. */
struct be_handoff {
    uint32_t refuse;              /* enum wire_control_code; not 0: tell the client and close */
    char scheme[16];              /* as tp_adopt() takes it */
    char lanes[BE_LANES_MAX][64]; /* other ways that the session may be gone on by; "": none */
    uint64_t session_id;          /* between supervisors: whose connection it is */
};

enum be_worker_state {
    BE_WORKER_STARTING,
    BE_WORKER_READY,   /* driver loaded, waits for a connection */
    BE_WORKER_GIVEN,   /* has a connection; handshake and open */
    BE_WORKER_SERVING, /* a session is open */
    BE_WORKER_ADMIN,   /* an operator is there: it wants a line to the supervisor, as a handoff */
};

/* GP_ERR_IO if the other side is gone; fd stays the caller's. */
GP_CHECK enum gp_status be_handoff_send(int socket, const struct be_handoff *what, int fd);
/* Waits. GP_ERR_CLOSED if the supervisor closed; *fd_p is the caller's, close-on-exec. */
GP_CHECK enum gp_status be_handoff_receive(int socket, struct be_handoff *what_p, int *fd_p);
/* What a worker says. */
struct be_word {
    uint32_t state;      /* enum be_worker_state */
    uint32_t lingering;  /* serving: the client is gone and may come back */
    uint64_t session_id; /* serving: 0: its client cannot come back */
    /* Not 0: nothing but the wish for a connection to this address. */
    uint64_t dial_number;
    struct sockaddr_storage dial;
};

/* The worker's state; a supervisor that is gone is noticed elsewhere. */
void be_handoff_tell(int socket, const struct be_word *word);
/* Never waits. GP_ERR_AGAIN: nothing new; GP_ERR_CLOSED: the worker is gone. */
GP_CHECK enum gp_status be_handoff_hear(int socket, struct be_word *word_p);

#endif
