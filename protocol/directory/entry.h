/* protocol/directory/entry.h -- what a server says of itself in the directory, and how it is read
 *
 *   /gpupool/v1/server/REGION/SERVER
 *       {"urls": ..., "state": ..., "gpus": [{"uuid": ..., "model": ..., "free": ..., ...}, ...], ...}
 *
 * One JSON value under a lease of the server's: what a reader pays for is mostly the number of
 * entries. What is free is a hint, at most a second old; readers skip what they do not know and
 * leave out entries that are malformed.
 *
 * Pure.
 */
#ifndef DIR_ENTRY_H
#define DIR_ENTRY_H

#include "protocol/directory/place.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>

#define DIR_PREFIX    "/gpupool/v1/server/"
#define DIR_KEY_BYTES 512

/* What else a server tells about itself. */
struct dir_about {
    const char *version, *driver;
    const char *const *labels; /* "KEY=VALUE"; NULL ends them */
    bool software;
};

/* False if a name is too long; what would end a part of a key becomes '_'. */
bool dir_server_key(const struct place_server *server, char out[DIR_KEY_BYTES]);
/* malloc'ed text; NULL without memory. */
char *dir_server_value(const struct place_server *server, const struct dir_about *about);

/* Servers as their entries come in. */
struct dir_servers {
    struct place_server *list;
    size_t count, capacity;
};

void dir_servers_fini(struct dir_servers *servers);
/* One entry, each key once; GP_ERR_INVALID: it is none of ours, malformed, or without an address.
 * Of more than PLACE_GPUS_MAX GPUs the first are taken. */
GP_CHECK enum gp_status dir_servers_take(struct dir_servers *servers, const char *key,
                                         const char *value);

#endif
