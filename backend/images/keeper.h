/* backend/images/keeper.h -- the process that keeps images, and what workers say to it
 *
 * The supervisor forks it once; each worker gets one end of a pair of sockets, the keeper the
 * other. A worker asks for what its own tenant has sent, by SHA-256, and offers what it was sent.
 * It gets a descriptor to read from and no way to the directory, so a worker that a client has
 * taken over finds nothing whose hash it does not know.
 */
#ifndef BE_IMAGES_KEEPER_H
#define BE_IMAGES_KEEPER_H

#include "backend/images/store.h"

#include <stdbool.h>
#include <stddef.h>

/* -- the supervisor ----------------------------------------------------------------------------
 */

struct be_keeper {
    int pid;     /* 0: there is none */
    int control; /* -1: there is none, or it is gone */
};

struct be_keeper_opts {
    const char *dir;      /* NULL: in memory */
    uint64_t limit_bytes; /* 0: nothing of the kind is kept */
};

/* Before anything is opened that it must not have. No keeper where nothing is kept; one that cannot
 * start is logged and missed by nobody. */
void be_keeper_start(const struct be_keeper_opts opts[BE_STORES], struct be_keeper *keeper);
/* A line to it for a worker; -1 if there is none. */
int be_keeper_line(struct be_keeper *keeper);
void be_keeper_stop(struct be_keeper *keeper);

/* -- a worker ----------------------------------------------------------------------------------
 */

/* One thread's. */
struct be_images {
    int socket;                         /* -1: none is kept */
    uint8_t scope[BE_IMAGE_HASH_BYTES]; /* of the tenant: whose images all of them are */
    /* The same, or everybody's, for contents. */
    bool has_contents;
    uint8_t contents[BE_IMAGE_HASH_BYTES];
};

/* The image as malloc'ed bytes, hash checked. GP_ERR_NOT_FOUND; GP_ERR_NO_MEMORY. */
GP_CHECK enum gp_status be_images_get(struct be_images *images,
                                      const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes,
                                      uint8_t **data_p);
/* Offer it; whether it is kept is not waited for. */
void be_images_put(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                   const void *data, uint64_t bytes);
/* Keep hold of it and read it later: a descriptor, the caller's. GP_ERR_NOT_FOUND. */
GP_CHECK enum gp_status be_images_hold(struct be_images *images,
                                       const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes,
                                       int *fd_p);
/* From such a descriptor, hash checked. GP_ERR_PROTOCOL, GP_ERR_NO_MEMORY. */
GP_CHECK enum gp_status be_images_read(int fd, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                                       uint64_t bytes, uint8_t **data_p);
/* What copies brought: mapped for reading, to be unmapped by the caller. GP_ERR_NOT_FOUND. */
GP_CHECK enum gp_status be_contents_map(struct be_images *images,
                                        const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes,
                                        const uint8_t **data_p);
/* As be_images_put(), but a keeper that has much to do is waited for a moment. */
void be_contents_put(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                     const void *data, uint64_t bytes);
/* Notes; what is in one is the worker's own word, but perhaps of an earlier worker. */
GP_CHECK enum gp_status be_images_note_get(struct be_images *images,
                                           const uint8_t digest[BE_IMAGE_HASH_BYTES],
                                           uint8_t **data_p, size_t *bytes_p);
void be_images_note_put(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                        const void *data, size_t bytes);
/* What be_images.scope is for a tenant. */
GP_CHECK enum gp_status be_images_scope(const char *tenant, uint8_t scope[BE_IMAGE_HASH_BYTES]);

#endif
