/* frontend/core/config.h -- where the pool is and who we are
 *
 * From, a later one wins: the first file there is of GPUPOOL_CONFIG, ~/.config/gpupool/client.ini,
 * /etc/gpupool/client.ini ([client] server, cert, key, ca); the environment (GPUPOOL_SERVER,
 * GPUPOOL_CERT, GPUPOOL_KEY, GPUPOOL_CA). Without cert, key, ca: client.crt, client.key, ca.crt in
 * the file's folder, or where the file would be.
 */
#ifndef FE_CONFIG_H
#define FE_CONFIG_H

#include "protocol/base/status.h"

#include <stddef.h>

#define FE_SERVERS_MAX 16

struct fe_config {
    size_t server_count;
    char *servers[FE_SERVERS_MAX]; /* URLs; owned, as are the rest */
    char *cert, *key, *ca;         /* NULL: none found */
    char *file;                    /* NULL: no file */
};

/* Errors: GP_ERR_INVALID (logged), GP_ERR_NOT_FOUND: no server named (not logged),
 * GP_ERR_NO_MEMORY. *config_p is set in every case, to be finished with fe_config_fini(). */
GP_CHECK enum gp_status fe_config_load(struct fe_config *config_p);
void fe_config_fini(struct fe_config *config);

#endif
