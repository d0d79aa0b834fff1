/* protocol/wire/admin.h -- what an operator asks of a server, and its answer
 *
 * One request, one answer, each in a HELLO frame whose tag is WIRE_CONTROL_ADMIN. On the
 * administrative unix socket that is all there is; over TLS they come after the hellos, in the
 * place of the open request, from who has a certificate that the server's "admin" rules name.
 *
 * On the wire they are protobuf (admin.proto), checked like those of control.h: plain UTF-8 text,
 * bounded counts, memory capped before it is taken.
 *
 * Ownership: decoders fill *out_p on GP_OK only; it is the caller's to finish.
 * Threads:   pure, any.
 * Errors:    as in control.h.
 */
#ifndef WIRE_ADMIN_H
#define WIRE_ADMIN_H

#include "protocol/base/buf.h"
#include "protocol/base/status.h"
#include "protocol/wire/control.h"

#include <stdbool.h>
#include <stdint.h>

#define WIRE_ADMIN_REQUEST_MAX    (32u << 10) /* bytes of one encoded request */
#define WIRE_ADMIN_ANSWER_MAX     (8u << 20)
#define WIRE_ADMIN_SETTINGS_MAX   16
#define WIRE_ADMIN_SESSIONS_MAX   4096
#define WIRE_ADMIN_TENANTS_MAX    1024
#define WIRE_ADMIN_TRANSPORTS_MAX 16
#define WIRE_ADMIN_ACCOUNTS_MAX   4096

enum wire_admin_what {
    WIRE_ADMIN_LIST = 1, /* the parts that were asked for */
    WIRE_ADMIN_DRAIN,    /* no new sessions; undo: again; stop: and end when the last has ended */
    WIRE_ADMIN_KICK,     /* end a session, or all of a tenant */
    WIRE_ADMIN_QUOTA,    /* change a tenant's policy until the configuration is read again */
};

enum {
    WIRE_ADMIN_SERVER = 1u << 0, /* always there */
    WIRE_ADMIN_GPUS = 1u << 1,
    WIRE_ADMIN_SESSIONS = 1u << 2,
    WIRE_ADMIN_TENANTS = 1u << 3,
    WIRE_ADMIN_ACCOUNTS = 1u << 4,
};

struct wire_admin_setting {
    char key[64]; /* as a [tenant] section has it */
    char value[WIRE_TEXT_MAX + 1];
};

struct wire_admin_request {
    uint32_t what;  /* enum wire_admin_what; may be one we do not know */
    uint32_t parts; /* LIST */
    uint64_t session_id;
    char tenant[WIRE_TEXT_MAX + 1];
    uint64_t deadline_ms; /* DRAIN: sessions are ended then; 0: in their own time */
    bool undo, stop;
    uint32_t from_day, to_day; /* LIST of accounts: 20261128; 0: the first, the last there is */
    uint32_t setting_count;
    struct wire_admin_setting *settings;
};

enum wire_admin_server_state {
    WIRE_ADMIN_SERVING,
    WIRE_ADMIN_DRAINING, /* takes no new sessions, goes on otherwise */
    WIRE_ADMIN_STOPPING, /* and ends with the last session */
};

struct wire_admin_server {
    char name[WIRE_TEXT_MAX + 1], build[WIRE_TEXT_MAX + 1];
    uint32_t pid;
    uint64_t started_ms, now_ms; /* since 1970 */
    char driver[WIRE_TEXT_MAX + 1];
    int32_t driver_version;
    bool software, governed; /* governed: there are tenants */
    uint32_t state;          /* enum wire_admin_server_state */
    uint64_t drain_left_ms;  /* 0: no deadline */
    char urls[WIRE_TEXT_MAX + 1];
    uint32_t sessions, sessions_max, opening, workers;
    /* Since the start: connections given to workers, refused before, sessions that ended, workers
     * that died, connections dropped before they were open, and asking for sessions not here. */
    uint64_t accepted, refused, ended, died, dropped, strangers;
    /* Of the host's memory and of the disk, for what does not fit its device; and how much of it is
     * packed. */
    uint64_t paging_host_bytes, paging_disk_bytes, paging_packed_bytes;
    char region[WIRE_TEXT_MAX + 1], cost[32]; /* where it is, and "onprem" or "cloud" */
};

struct wire_admin_gpu {
    uint32_t index;
    char name[WIRE_TEXT_MAX + 1];
    char uuid[64], pci[32];
    uint64_t total_bytes;
    uint64_t used_bytes;     /* of all sessions */
    uint64_t promised_bytes; /* leases and what is outside of them */
    uint64_t paged_bytes;    /* of used, not on the device now: the host's memory has it */
    uint32_t sessions, tenants;
    uint32_t major, minor, processors;
    uint64_t turn_ns; /* the device worked in turns: counted while several sessions want it */
};

/* Of one session or tenant, on one device. */
struct wire_admin_use {
    uint32_t gpu;
    uint64_t used_bytes;  /* of the lease, allocated */
    uint64_t lease_bytes; /* promised */
    uint64_t other_bytes; /* outside of the lease: contexts, modules, arrays */
    uint64_t paged_bytes; /* of used, not on the device now */
    uint64_t turn_ns;
};

/* Calls by what they are about; errors: answered so; waits: calls that a client waits for. */
struct wire_admin_counters {
    uint64_t launches, copies, memory, modules, streams, graphs, others;
    uint64_t errors, waits, bytes_in, bytes_out;
    uint64_t turn_wait_ns;                   /* waited for their turn on a device */
    uint64_t put_in, put_out;                /* bytes from and to sessions on other servers */
    uint64_t put_in_rdma, put_out_rdma;      /* of these, by RDMA */
    uint64_t turn_waits;                     /* turns that were waited for */
    uint64_t paged_in, paged_out, paging_ns; /* bytes */
    uint64_t room_wait_ns;                   /* waited for their memory to be on the devices */
    uint64_t held_ns;                        /* others waited for theirs, as work did not end */
    uint64_t direct_bytes;                   /* of theirs, that RDMA devices moved by themselves */
    /* Turns that others had when they were asked for, by how long that took, and all of that. */
    uint64_t turns_500us, turns_1ms, turns_2ms, turns_5ms, turns_10ms, turns_50ms, turns_200ms;
    uint64_t turns_1s, turns_longer, turns_ns;
};

enum wire_admin_session_state {
    WIRE_ADMIN_OPEN,
    WIRE_ADMIN_AWAY, /* its client lost the line and may come back */
};

/* By work on devices, not by questions; of a tenant's session. */
enum wire_admin_activity {
    WIRE_ADMIN_NONE, /* not known */
    WIRE_ADMIN_ACTIVE,
    WIRE_ADMIN_IDLE,        /* nothing for a second */
    WIRE_ADMIN_COLD,        /* ... for two minutes, or ever */
    WIRE_ADMIN_RECLAIMABLE, /* told that it will be ended */
    WIRE_ADMIN_ACTIVITIES,
};

struct wire_admin_session {
    uint64_t id;
    uint32_t worker; /* the process */
    char tenant[WIRE_TEXT_MAX + 1], common_name[WIRE_TEXT_MAX + 1];
    char program[WIRE_TEXT_MAX + 1], build[WIRE_TEXT_MAX + 1];
    uint32_t pid; /* of the client */
    char address[WIRE_TEXT_MAX + 1], transport[32];
    uint32_t state;    /* enum wire_admin_session_state */
    uint32_t activity; /* enum wire_admin_activity */
    uint64_t opened_ms, idle_ms;
    bool monitor;
    struct wire_admin_counters counters;
    uint32_t use_count;
    struct wire_admin_use *uses;
};

struct wire_admin_tenant {
    char name[WIRE_TEXT_MAX + 1];
    bool gone; /* not configured any more, sessions go on */
    char priority[32];
    uint32_t share, floor;
    bool force;
    uint64_t memory_bytes, memory_total_bytes; /* 0: unlimited */
    uint32_t sessions, sessions_max;           /* 0: unlimited */
    struct wire_admin_counters counters;       /* of ended sessions too */
    uint64_t sessions_ended;
    uint32_t use_count;
    struct wire_admin_use *uses;
};

/* Bytes of all sessions by a transport, of ended ones too. */
struct wire_admin_transport {
    char name[32];
    uint64_t bytes_in, bytes_out;
};

/* What a tenant's sessions did here over some days, of open ones too. */
struct wire_admin_account {
    char tenant[WIRE_TEXT_MAX + 1]; /* the certificate's name where there are no tenants */
    uint64_t sessions;
    uint64_t session_ms; /* they were open */
    uint64_t gpu_ms;     /* times the GPUs on which they had something */
    uint64_t launches, calls, bytes_in, bytes_out;
};

struct wire_admin_answer {
    uint32_t code; /* enum wire_control_code */
    char reason[WIRE_TEXT_MAX + 1], hint[WIRE_TEXT_MAX + 1];
    uint32_t affected; /* sessions that were told to end, settings that were changed */
    struct wire_admin_server server;
    uint32_t gpu_count, session_count, tenant_count, transport_count, account_count;
    struct wire_admin_gpu *gpus;
    struct wire_admin_session *sessions;
    struct wire_admin_tenant *tenants;
    struct wire_admin_transport *transports; /* with WIRE_ADMIN_TENANTS */
    struct wire_admin_account *accounts;
};

GP_CHECK enum gp_status wire_admin_request_encode(const struct wire_admin_request *in,
                                                  struct gp_buf *out);
GP_CHECK enum gp_status wire_admin_request_decode(const void *data, size_t bytes,
                                                  struct wire_admin_request *out_p);
void wire_admin_request_fini(struct wire_admin_request *request);

GP_CHECK enum gp_status wire_admin_answer_encode(const struct wire_admin_answer *in,
                                                 struct gp_buf *out);
GP_CHECK enum gp_status wire_admin_answer_decode(const void *data, size_t bytes,
                                                 struct wire_admin_answer *out_p);
void wire_admin_answer_fini(struct wire_admin_answer *answer);

#endif
