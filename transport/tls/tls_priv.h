/* transport/tls/tls_priv.h -- a tls lane from inside, for transport/tls and its test only */
#ifndef TP_TLS_PRIV_H
#define TP_TLS_PRIV_H

#include "protocol/base/buf.h"
#include "transport/stream.h"
#include "transport/tls/turns.h"

#include <openssl/ssl.h>

/* Ciphertext taken by a look at the line; more is read straight into OpenSSL's own buffer. */
#define TP_TLS_LOOK_BYTES (16u << 10)
/* Plaintext of a record, and how much of it is encrypted before it is sent. */
#define TP_TLS_RECORD_BYTES (16u << 10)
#define TP_TLS_CHUNK_BYTES  (256u << 10)
/* New keys after this much, far below AES-GCM's limit of 2^24.5 records. */
#define TP_TLS_REKEY_BYTES (64ull << 30)
/* Where a kernel may not take a second one: as late as that limit allows (2^38.5 bytes), with what
 * a record of a few bytes counts beside them. */
#define TP_TLS_KERNEL_REKEY_BYTES (256ull << 30)
#define TP_TLS_RECORD_COST        32u
#define TP_TLS_SECRET_BYTES       32u

/* What a direction's keys are made of. */
struct tls_secret {
    uint8_t bytes[TP_TLS_SECRET_BYTES];
    bool known;
};

/* What the kernel does of a lane (kernel.c). */
struct tls_kernel {
    bool sends, receives;  /* set once the handshake is over */
    struct tls_secret out; /* the sender's */
    struct tls_secret in;  /* the receiver's */
};

struct tls_lane {
    struct tp_stream s; /* first */
    int fd;
    enum tp_role role;
    char name[256]; /* the server's, "" on a server; set once */

    /* An SSL is not made for two threads: whose turn it is may use ssl and out. A turn lasts while
     * OpenSSL computes, never while anybody waits for the line; nothing is locked in it. */
    struct tp_turn turn;
    SSL *ssl;
    struct gp_buf out; /* ciphertext that OpenSSL has made */

    /* The sender's. */
    struct gp_buf leaving; /* ciphertext on its way; [left_at, len) is not sent yet */
    size_t left_at;
    bool finishing;                  /* nobody misses what does not arrive */
    uint64_t key_bytes, rekey_bytes; /* sent under this key; limit */
    uint8_t *record;                 /* small pieces are gathered here */

    /* The receiver's; OpenSSL reads them through the BIO, in the receiver's thread only. */
    uint8_t *in; /* TP_TLS_LOOK_BYTES of ciphertext; [in_head, in_tail) is unread */
    size_t in_head, in_tail;
    bool exact;   /* handshake: take nothing from the socket that OpenSSL did not ask for */
    bool drained; /* the socket was empty when last asked */
    bool ended;   /* the socket has ended or failed; in_error tells */
    int in_error; /* errno, 0 for an end */
    bool more;    /* OpenSSL may have plaintext that needs no socket */
    enum gp_status read_status;

    struct tls_kernel kernel;
};

/* transport/tls/bio.c: OpenSSL's view of the line. Neither direction ever waits. */
GP_CHECK enum gp_status tp_tls_attach(struct tls_lane *t);
/* Take what the socket has into in. GP_OK, GP_ERR_AGAIN, or GP_ERR_CLOSED once it has ended. */
GP_CHECK enum gp_status tp_tls_look(struct tls_lane *t);
/* Send what is leaving. GP_ERR_AGAIN while something is left. The sender's. */
GP_CHECK enum gp_status tp_tls_send_leaving(struct tls_lane *t);
/* In our turn and with nothing leaving: what OpenSSL made is leaving now. */
void tp_tls_take_out(struct tls_lane *t);
/* Both, as long as it goes, while nobody else uses the lane. GP_ERR_AGAIN while something is left.
 */
GP_CHECK enum gp_status tp_tls_push(struct tls_lane *t);

/* transport/tls/kernel.c: before the handshake, where the kernel may take over; and after it, if it
 * can. Then for the directions that it has; neither ever waits. */
void tp_tls_kernel_prepare(struct tls_lane *t);
void tp_tls_kernel_take(struct tls_lane *t);
GP_CHECK enum gp_status tp_tls_kernel_write(struct tls_lane *t, const struct iovec *iov, int iovcnt,
                                            size_t *put_p);
GP_CHECK enum gp_status tp_tls_kernel_read(struct tls_lane *t, const struct iovec *iov, int iovcnt,
                                           size_t *got_p);
void tp_tls_kernel_finish(struct tls_lane *t); /* say the end, if there is room */

/* transport/tls/handshake.c: until deadline_ns, nothing else uses the lane meanwhile. */
GP_CHECK enum gp_status tp_tls_handshake(struct tls_lane *t, const struct tp_opts *opts);

#endif
