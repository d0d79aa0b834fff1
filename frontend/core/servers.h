/* frontend/core/servers.h -- a file that lists servers, where there is no directory
 *
 *   # URL [region=NAME] [zone=NAME] [cost=onprem|cloud]
 *   tls://gpu1.example:7470 region=home
 *   tls://rented.example:7470 region=west cost=cloud
 *
 * Pure but for reading the file.
 */
#ifndef FE_SERVERS_H
#define FE_SERVERS_H

#include "protocol/directory/place.h"
#include "protocol/base/status.h"

struct fe_server_line {
    char url[PLACE_URLS];
    char region[PLACE_TEXT], zone[PLACE_TEXT];
    enum place_cost cost;
};

/* Read at most max lines. Errors: GP_ERR_INVALID, logged with file and line. */
GP_CHECK enum gp_status fe_servers_read(const char *path, struct fe_server_line *lines, size_t max,
                                        size_t *count_p);

#endif
