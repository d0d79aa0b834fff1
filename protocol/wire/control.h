/* protocol/wire/control.h -- hello and session opening, as plain C
 *
 * A HELLO frame's payload is one of these messages, its tag says which (enum wire_control_kind):
 *
 *   client                          server
 *   HELLO  wire_hello        ->
 *                            <-     HELLO  wire_hello, or wire_error_answer and BYE
 *   OPEN   wire_open_request ->            (may follow its hello without waiting)
 *                            <-     ANSWER wire_open_answer, or wire_error_answer and BYE
 *
 * A further connection of an open session, after the preface (protocol/wire/preface.h) and a
 * handshake with the session's key:
 *
 *   RESUME wire_resume       ->
 *                            <-     RESUMED wire_resumed, or wire_error_answer
 *
 * and then both directions go on at the byte that the other end named.
 *
 * A further connection may also bring bytes from a session on another server: PUT and PUT_DONE, see
 * protocol/wire/put.h.
 *
 * An operator sends ADMIN messages (protocol/wire/admin.h) after the hellos instead of OPEN.
 *
 * On the wire they are protobuf (control.proto): fields may be added, never changed; a reader
 * skips what it does not know. Everything read is checked against the maxima below: strings are
 * valid UTF-8 without control characters, counts are bounded, memory is capped before it is
 * taken.
 *
 * Ownership: encoders append to a gp_buf of the caller. Decoders fill *out_p on GP_OK only; what
 *            has a _fini is then the caller's to finish.
 * Threads:   pure, any.
 * Errors:    GP_ERR_PROTOCOL for what is malformed or over a maximum (logged with the field's
 *            name), GP_ERR_NO_MEMORY; encoders GP_ERR_INVALID for what would not decode again.
 */
#ifndef WIRE_CONTROL_H
#define WIRE_CONTROL_H

#include "protocol/base/buf.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_CONTROL_BYTES_MAX (256u << 10) /* of one encoded message */
#define WIRE_LANES_MAX         4
#define WIRE_TEXT_MAX          255   /* bytes of any short string */
#define WIRE_CALL_IDS          65536 /* call ids are 16 bits */
#define WIRE_DEVICES_MAX       64
#define WIRE_WANTED_MAX        64
#define WIRE_PRIORITY_HIGH     1
#define WIRE_PRIORITY_NORMAL   2
#define WIRE_PRIORITY_LOW      3
#define WIRE_ATTRIBUTES_MAX    256
#define WIRE_UUID_BYTES        16
#define WIRE_SECRET_BYTES      32

enum wire_control_kind {
    WIRE_CONTROL_HELLO = 1,
    WIRE_CONTROL_OPEN,
    WIRE_CONTROL_ANSWER,
    WIRE_CONTROL_ERROR,
    WIRE_CONTROL_RESUME,
    WIRE_CONTROL_RESUMED,
    WIRE_CONTROL_ADMIN, /* protocol/wire/admin.h, request and answer */
    WIRE_CONTROL_PUT,   /* protocol/wire/put.h */
    WIRE_CONTROL_PUT_DONE,
};

/* Why something was refused; the client maps it to a CUDA result. Numbers are on the wire. */
enum wire_control_code {
    WIRE_CODE_OK = 0,
    WIRE_CODE_VERSION,       /* no common wire format */
    WIRE_CODE_NOT_ALLOWED,   /* certificate is good but names no tenant here */
    WIRE_CODE_BUSY,          /* no free device or session now, may work later */
    WIRE_CODE_QUOTA,         /* over the tenant's quota */
    WIRE_CODE_NO_DEVICE,     /* nothing here matches what was asked for */
    WIRE_CODE_DRIVER,        /* the server's driver failed or is missing */
    WIRE_CODE_NO_SESSION,    /* nothing to resume under this id and secret */
    WIRE_CODE_PROTOCOL,      /* the peer broke the protocol */
    WIRE_CODE_LIMIT,         /* over a limit that the reason names */
    WIRE_CODE_DRAINING,      /* the server is going down */
    WIRE_CODE_WORKER_DIED,   /* the session's process ended */
    WIRE_CODE_NOT_SUPPORTED, /* known but not in this build */
    WIRE_CODE_INTERNAL,
    WIRE_CODE_KICKED, /* the server's operator ended the session */
};

/* A set of call ids; 8 KiB. On the wire only the used groups of 256 travel. */
struct wire_call_set {
    uint8_t bits[WIRE_CALL_IDS / 8];
};

static inline void
wire_call_set_add(struct wire_call_set *set, uint16_t id)
{
    set->bits[id / 8] |= (uint8_t)(1u << (id % 8));
}

static inline bool
wire_call_set_has(const struct wire_call_set *set, uint16_t id)
{
    return (set->bits[id / 8] >> (id % 8) & 1) != 0;
}

/* The first message in each direction. */
struct wire_hello {
    uint32_t wire_format;       /* must be equal */
    uint32_t minor;             /* the lower of both counts */
    uint64_t features;          /* WIRE_FEATURE_*; those of both count */
    uint32_t max_payload_bytes; /* the longest frame payload this side takes */
    uint32_t pid;
    char build[WIRE_TEXT_MAX + 1];   /* "gpupool 0.1.0 (gcc 12.2.0)" */
    char program[WIRE_TEXT_MAX + 1]; /* client: argv[0]'s last part; server: its name */
    struct wire_call_set calls;      /* what this side can execute; empty from a client.
                                        An id never changes its meaning, so it needs no version */
};

/* The client's wish for devices, in its order; text is a UUID, a model name or an index. */
struct wire_wanted {
    char text[WIRE_TEXT_MAX + 1];
};

struct wire_open_request {
    uint64_t resume_id; /* 0: a new session; a session goes on by wire_resume, so: always */
    uint8_t resume_secret[WIRE_SECRET_BYTES];
    uint64_t resume_received_seq;
    uint32_t wanted_count; /* 0: whatever the tenant may use */
    struct wire_wanted *wanted;
    uint64_t device_base_hint; /* where the client could reserve device addresses; 0: anywhere */
    uint64_t device_bytes_hint;
    bool monitor; /* only to look at the devices: no addresses, no lease */
};

struct wire_device {
    bool hidden; /* the tenant may not use it: it only keeps its place in the table */
    char name[WIRE_TEXT_MAX + 1];
    uint8_t uuid[WIRE_UUID_BYTES];
    uint8_t uuid_v2[WIRE_UUID_BYTES]; /* differs for MIG instances */
    char pci_bus_id[32];              /* "0000:3b:00.0" */
    char model[32];                   /* "h200", what clients ask for; empty from older servers */
    uint32_t priority;                /* WIRE_PRIORITY_*: the client's class; 0: there are none */
    uint64_t total_bytes;             /* as the tenant sees it */
    uint64_t free_bytes;              /* at the time of the answer */
    uint64_t lease_bytes;             /* the client may allocate this much without asking */
    uint64_t granularity_bytes;       /* physical memory comes in multiples of it */
    int32_t stream_priority_least, stream_priority_greatest;
    uint32_t attribute_count; /* valid entries below; index is enum CUdevice_attribute */
    int32_t attributes[WIRE_ATTRIBUTES_MAX];
    /* cuDeviceGetP2PAttribute towards each device of the table, bit n: attribute n + 1 is 1. */
    uint32_t peer_bits[WIRE_DEVICES_MAX];
};

/* A range of addresses that both sides keep for one purpose. */
struct wire_range {
    uint64_t base, bytes;
};

struct wire_open_answer {
    uint64_t session_id;
    uint8_t resume_secret[WIRE_SECRET_BYTES]; /* goes into the key of further connections */
    uint64_t resumed_received_seq;            /* 0 */
    int32_t driver_version;                   /* cuDriverGetVersion, e.g. 13000 */
    char driver[WIRE_TEXT_MAX + 1];           /* "cuda 580.65", "software device" */
    char server[WIRE_TEXT_MAX + 1];           /* the server's name */
    bool software;                            /* the devices are the software device's */
    struct wire_range device_range;           /* device memory of all devices of the session */
    struct wire_range host_range;             /* pinned and mapped host memory */
    uint32_t heartbeat_ms;                    /* silence after which a side sends PING; 0: never */
    uint32_t grace_ms;                        /* the session outlives a cut line for this long */
    uint32_t device_count;
    struct wire_device *devices;
    /* Where else a preface with this session's id is heard, best first: URLs; host "*" is the one
     * that the client knows. What is more than so many is left out. */
    uint32_t lane_count;
    char lanes[WIRE_LANES_MAX][WIRE_TEXT_MAX + 1];
    uint32_t lines_max; /* connections that the session may go by at once; less than 2: one */
};

/* The client has lost its line and is here with another one. Or with several that are one together
 * (transport/bundle): each says which of how many it is, the first one last, and only with it the
 * session goes over. */
struct wire_resume {
    uint64_t session_id;
    uint64_t attempt;        /* grows with each one: what was said once is of no use again */
    uint64_t received_bytes; /* of the server's frames since the opening */
    uint8_t proof[WIRE_SECRET_BYTES];
    uint32_t line, lines; /* this one of so many; 0 of 0: one alone */
};

struct wire_resumed {
    uint64_t received_bytes; /* of the client's; 0 to a line that is not the first of several */
};

struct wire_error_answer {
    uint32_t code;                  /* enum wire_control_code; may be one we do not know */
    char reason[WIRE_TEXT_MAX + 1]; /* one line: what was refused and why */
    char hint[WIRE_TEXT_MAX + 1];   /* one line: what to do; may be empty */
};

/* "no common wire format"; never NULL. */
const char *wire_control_code_text(uint32_t code);

GP_CHECK enum gp_status wire_hello_encode(const struct wire_hello *in, struct gp_buf *out);
GP_CHECK enum gp_status wire_hello_decode(const void *data, size_t bytes, struct wire_hello *out_p);

GP_CHECK enum gp_status wire_open_request_encode(const struct wire_open_request *in,
                                                 struct gp_buf *out);
GP_CHECK enum gp_status wire_open_request_decode(const void *data, size_t bytes,
                                                 struct wire_open_request *out_p);
void wire_open_request_fini(struct wire_open_request *request);

GP_CHECK enum gp_status wire_open_answer_encode(const struct wire_open_answer *in,
                                                struct gp_buf *out);
GP_CHECK enum gp_status wire_open_answer_decode(const void *data, size_t bytes,
                                                struct wire_open_answer *out_p);
void wire_open_answer_fini(struct wire_open_answer *answer); /* wipes the secret */

GP_CHECK enum gp_status wire_resume_encode(const struct wire_resume *in, struct gp_buf *out);
GP_CHECK enum gp_status wire_resume_decode(const void *data, size_t bytes,
                                           struct wire_resume *out_p);
GP_CHECK enum gp_status wire_resumed_encode(const struct wire_resumed *in, struct gp_buf *out);
GP_CHECK enum gp_status wire_resumed_decode(const void *data, size_t bytes,
                                            struct wire_resumed *out_p);

GP_CHECK enum gp_status wire_error_answer_encode(const struct wire_error_answer *in,
                                                 struct gp_buf *out);
GP_CHECK enum gp_status wire_error_answer_decode(const void *data, size_t bytes,
                                                 struct wire_error_answer *out_p);

#endif
