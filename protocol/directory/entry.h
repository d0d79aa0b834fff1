/* protocol/directory/entry.h -- what a server says of itself in the directory, and how it is read
 *
 *   /gpupool/v1/server/REGION/SERVER       {"urls": ..., "cost": ..., "state": ..., ...}
 *   /gpupool/v1/gpu/REGION/SERVER/UUID     {"model": ..., "total": ..., "free": ..., ...}
 *
 * Small JSON values, all under one lease of the server's. What is free is a hint, at most a second
 * old; readers skip what they do not know and leave out entries that are malformed.
 *
 * Pure.
 */
#ifndef DIR_ENTRY_H
#define DIR_ENTRY_H

#include "protocol/directory/place.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>

#define DIR_PREFIX    "/gpupool/v1/"
#define DIR_KEY_BYTES 512

/* What else a server tells about itself. */
struct dir_about {
    const char *version, *driver;
    const char *const *labels; /* "KEY=VALUE"; NULL ends them */
    bool software;
};

/* False if a name is too long; what would end a part of a key becomes '_'. */
bool dir_server_key(const struct place_server *server, char out[DIR_KEY_BYTES]);
bool dir_gpu_key(const struct place_server *server, uint32_t gpu, char out[DIR_KEY_BYTES]);
/* malloc'ed text; NULL without memory. */
char *dir_server_value(const struct place_server *server, const struct dir_about *about);
char *dir_gpu_value(const struct place_server *server, uint32_t gpu);

/* Servers as their entries come in, in any order. */
struct dir_servers {
    struct place_server *list;
    size_t count, capacity;
};

void dir_servers_fini(struct dir_servers *servers);
/* One entry; GP_ERR_INVALID: it is none of ours, or malformed. */
GP_CHECK enum gp_status dir_servers_take(struct dir_servers *servers, const char *key,
                                         const char *value);
/* When all are in: drop servers of which only GPUs are known. */
void dir_servers_finish(struct dir_servers *servers);

#endif
