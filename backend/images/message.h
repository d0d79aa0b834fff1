/* backend/images/message.h -- between the keeper, workers and the supervisor; SOCK_SEQPACKET */
#ifndef BE_IMAGES_MESSAGE_H
#define BE_IMAGES_MESSAGE_H

#include "backend/images/store.h"

#include <stddef.h>
#include <sys/socket.h>

enum be_image_word {
    BE_IMAGE_LINE = 1, /* supervisor: a worker's line, a descriptor */
    BE_IMAGE_GET,      /* worker: answered by one of the two below */
    BE_IMAGE_PUT,      /* worker, with a sealed memory file */
    BE_IMAGE_DROP,     /* worker: it is not what its name says */
    BE_IMAGE_NOTE_GET, /* as the ones above, for notes */
    BE_IMAGE_NOTE_PUT,
    BE_IMAGE_HERE, /* keeper, with a descriptor */
    BE_IMAGE_MISSING,
};

struct be_image_message {
    uint32_t word; /* enum be_image_word */
    uint32_t kind; /* enum be_store_kind; of what is no note */
    uint64_t bytes;
    struct be_image_name name;
};

/* fd -1: none. GP_ERR_IO. Does not wait. */
GP_CHECK enum gp_status be_image_send(int socket, const struct be_image_message *message, int fd);
/* *fd_p is the caller's, -1 if none came. GP_ERR_AGAIN, GP_ERR_CLOSED, GP_ERR_PROTOCOL. */
GP_CHECK enum gp_status be_image_receive(int socket, struct be_image_message *message_p, int *fd_p,
                                         int flags);

#endif
