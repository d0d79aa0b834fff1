/* backend/images/store.h -- module images that sessions have sent, by tenant and SHA-256
 *
 * In memory, as sealed files of it, or in a directory: DIR/SCOPE/DIGEST, both in hexadecimal. What
 * is put is hashed on its way in; who gets it hashes it again, for a disk may lie. Above the limit
 * the tenant that holds most loses what it has not used for the longest time, so that nobody can
 * see by what is missing what others do.
 *
 * Threads: one.
 */
#ifndef BE_IMAGES_STORE_H
#define BE_IMAGES_STORE_H

#include "protocol/base/status.h"

#include <stdint.h>

#define BE_IMAGE_HASH_BYTES 32
#define BE_IMAGES_MAX       4096u
#define BE_NOTES_MAX        128u
#define BE_NOTE_BYTES_MAX   (256u << 10)

/* What is kept apart, each with a limit of its own. */
enum be_store_kind {
    BE_STORE_IMAGES,   /* of modules, and notes */
    BE_STORE_CONTENTS, /* of copies to the device */
    BE_STORES,
};

struct be_store;

/* Whose it is and what it is; nothing is found by one alone. */
struct be_image_name {
    uint8_t scope[BE_IMAGE_HASH_BYTES];  /* of the tenant's name */
    uint8_t digest[BE_IMAGE_HASH_BYTES]; /* of the bytes */
};

/* dir NULL: in memory. The directory is made if it is not there; what is in it is taken over.
 * Errors are logged. */
GP_CHECK enum gp_status be_store_open(const char *dir, uint64_t limit_bytes,
                                      struct be_store **store_p);
void be_store_close(struct be_store *store);

/* A descriptor of its own to read from, the caller's. GP_ERR_NOT_FOUND. */
GP_CHECK enum gp_status be_store_get(struct be_store *store, const struct be_image_name *name,
                                     int *fd_p);
/* The first bytes of memory file fd, sealed against changes, which stays the caller's.
 * GP_ERR_PROTOCOL: it is not sealed, or not what its name says; GP_ERR_LIMIT: more than a half of
 * all there may be; GP_ERR_IO. */
GP_CHECK enum gp_status be_store_put(struct be_store *store, const struct be_image_name *name,
                                     int fd, uint64_t bytes);
/* Notes, of what a program loads: some KiB each, under a name that is not their hash, in memory
 * only. A later one takes an earlier one's place. Errors as above. */
GP_CHECK enum gp_status be_store_note_get(struct be_store *store, const struct be_image_name *name,
                                          int *fd_p);
GP_CHECK enum gp_status be_store_note_put(struct be_store *store, const struct be_image_name *name,
                                          int fd, uint64_t bytes);
/* What was got is not what its name says: forget it. */
void be_store_drop(struct be_store *store, const struct be_image_name *name);

#endif
