/* frontend/core/config.h -- where the pool is and who we are
 *
 * From, a later one wins: the first file there is of GPUPOOL_CONFIG, ~/.config/gpupool/client.ini,
 * /etc/gpupool/client.ini ([client] server, cert, key, ca, tcp-...); the environment
 * (GPUPOOL_SERVER, GPUPOOL_CERT, GPUPOOL_KEY, GPUPOOL_CA, GPUPOOL_TCP_...). Without cert, key, ca:
 * client.crt, client.key, ca.crt in the file's folder, or where the file would be.
 *
 * Servers come from GPUPOOL_SERVER: by comma, of which one is used, the first that takes the
 * session; a plus joins those that are used together, their devices in one list ("a+b,c"). Or,
 * without it, from the lines of GPUPOOL_SERVERS_FILE. What a program needs of GPUs is in need.h.
 * The directory (GPUPOOL_ETCD, etcd-ca, -cert, -key, -user, -password-file) is for the command
 * gpupool, which asks it before a program starts; the library in the program never does.
 */
#ifndef FE_CONFIG_H
#define FE_CONFIG_H

#include "protocol/directory/place.h"
#include "frontend/core/servers.h"
#include "protocol/base/options.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_SERVERS_MAX 16
#define FE_LINES       4
#define FE_FABRICS_MAX 8
#define FE_FABRIC_MAX  79

/* Of the connections; zero: the system's or the transport's choice. */
struct fe_socket {
    char congestion[16]; /* as the kernel calls it */
    uint32_t send_buffer_bytes, recv_buffer_bytes;
    uint32_t keepalive_s;
    bool kernel_tls;      /* further connections are ciphered by the kernel, if it can */
    uint64_t rekey_bytes; /* new TLS keys after so much in a direction */
    uint32_t lines; /* at most so many for one session; 0: FE_LINES to other machines, else 1 */
    uint64_t lines_after; /* once so many bytes have travelled */
    /* RDMA by these only (tp_rdma_fabric_check()); "" after the last, none: by any. */
    char fabrics[FE_FABRICS_MAX][FE_FABRIC_MAX + 1];
    uint32_t rdma_ports; /* at most so many at once; 0: all that both ends have */
};

struct fe_config {
    size_t server_count;
    char *servers[FE_SERVERS_MAX]; /* URLs; owned, as are the rest */
    bool together[FE_SERVERS_MAX]; /* used together with the one before ("a+b") */
    char *cert, *key, *ca;         /* NULL: none found */
    char *file;                    /* NULL: no file */

    struct fe_server_line lines[FE_SERVERS_MAX]; /* about servers[i]; zeros where nothing is told */
    struct place_need need;
    bool has_need;            /* anything of it was asked for */
    uint64_t managed_wait_ns; /* of the program's touch for kernels that may use the memory */
    bool content;             /* copies to the device are named by their hash first */
    uint64_t wait_ns;         /* for a server that takes the session; 0: do not wait */

    size_t etcd_count;
    char *etcd[FE_SERVERS_MAX];
    char *etcd_ca, *etcd_cert, *etcd_key, *etcd_user, *etcd_password_file; /* NULL: none */
    char *notice_hook;                                                     /* hook.h; NULL: none */
    struct fe_socket socket;
};

/* Each is a line of client.ini, and a variable. */
extern const struct gp_option_set fe_config_options;

/* Errors: GP_ERR_INVALID (logged), GP_ERR_NOT_FOUND: no server named (not logged),
 * GP_ERR_NO_MEMORY. *config_p is set in every case, to be finished with fe_config_fini(). */
GP_CHECK enum gp_status fe_config_load(struct fe_config *config_p);
void fe_config_fini(struct fe_config *config);

/* How many servers, or groups that are used together, there are to try from this one on. */
size_t fe_config_choices(const struct fe_config *config, size_t from);

#endif
