/* transport/transport.h -- lanes that move whole frames between two processes
 *
 * A lane is one bidirectional line to a peer: "tcp" (loopback addresses only), "tls" (TLS 1.3 with
 * a certificate on both sides), "rdma" (opened like tls, then by RDMA and not encrypted), "shm"
 * (shared memory, met over a unix socket), "loop" (inside one process, for tests). What a frame is,
 * opts->framing says; the transport never looks into one.
 *
 * Threads: one thread may send and another receive at the same time. Senders serialise among
 *          themselves, receivers too (the caller's locks). tp_shutdown(), tp_wake(), tp_stats(),
 *          tp_peer(), tp_caps() and tp_set_spin() may come from any thread at any time; tp_close()
 *          only when nobody else uses the lane.
 * Time:    deadlines are absolute (gp_now_ns()), GP_FOREVER waits without end, TP_NOW does not
 *          wait.
 * Errors:  logged where they are decided, unless opts->why takes the text; a line that is cut or
 *          ends is logged at level info only, what it means the caller knows. A failed send ends
 *          sending, a failed receive (but GP_ERR_AGAIN, GP_ERR_TIMEOUT, GP_ERR_INVALID) ends
 *          receiving: the direction repeats its status from then on. What a peer sent before it
 *          went can still be received after a send failed.
 * Fork:    descriptors are close-on-exec. A forked child that goes on without exec calls
 *          tp_abandon() and nothing else.
 */
#ifndef TP_TRANSPORT_H
#define TP_TRANSPORT_H

#include "protocol/base/clock.h"
#include "protocol/base/framing.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct tp_lane;
struct tp_listener;

#define TP_NOW                 0ull
#define TP_CONNECT_DEFAULT_NS  (5 * GP_NS_PER_S)
#define TP_PAYLOAD_MAX_DEFAULT (16u << 20)
#define TP_URIS_MAX            16
#define TP_NAME_MAX            255
#define TP_ADDRESS_MAX         95
#define TP_WHY_BYTES           320
#define TP_PORT_DEFAULT        7470
#define TP_KEY_BYTES           32
#define TP_GROUPS_MAX          64
/* "gpupool://host:port": connected to as tls://, from where a session may go over to a better lane.
 */
#define TP_SCHEME_BEST "gpupool"
#define TP_PREFACE_MAX 64

enum {
    TP_CAP_ENCRYPTED = 1u << 0, /* nobody on the way can read or change a frame */
    TP_CAP_IDENTITY = 1u << 1,  /* tp_peer() names the peer by its certificate */
    TP_CAP_LOCAL = 1u << 2,     /* both ends are on the same machine */
    TP_CAP_POLL = 1u << 3,      /* tp_event_fd() can be polled */
    TP_CAP_STEADY = 1u << 4,    /* only a process's end ends it: nothing to come back for */
};

enum tp_role {
    TP_CLIENT,
    TP_SERVER,
};

/* Where a tls lane's credentials lie; strings are the caller's and only read during the call. */
struct tp_tls_opts {
    const char *cert_path;   /* own certificate and chain, PEM */
    const char *key_path;    /* its private key, PEM */
    const char *ca_path;     /* who may have signed the peer's certificate, PEM */
    const char *crl_path;    /* which of those certificates are revoked, PEM; NULL: none. Then a
                                list that is missing, or is over its date, refuses everybody */
    const char *server_name; /* client: name or IP address that the server's certificate must
                                carry; NULL: the URL's host */
    const uint8_t *psk;      /* TP_KEY_BYTES that both ends have: no certificates and no files then,
                                and a peer without it is refused (GP_ERR_AUTH) */
    const char *psk_name;    /* client: which key psk is, for psk_find at the other end; NULL: the
                                one that every connection of a session has */
    /* Server: keys beside psk, by name; false: there is none. During the handshake only. */
    bool (*psk_find)(void *user, const char *name, size_t name_bytes, uint8_t key[TP_KEY_BYTES]);
    void *psk_user;
};

/* Which fabrics may carry a lane that nobody encrypts (transport/rdma/rdma.h); strings are only
 * read during the call. A server takes none but these, a client any if there are none. */
struct tp_rdma_opts {
    const char *const *fabrics;
    size_t fabric_count;
    uint32_t ports_max; /* bulk goes by so many ports at once; 0: as many as both ends have */
};

/* Zero means the default in each field but framing. */
struct tp_opts {
    const struct gp_framing *framing; /* needed; lives as long as the lane (&wire_framing) */
    uint32_t max_payload_bytes;       /* longer frames are refused unread; 0: 16 MiB */
    uint64_t deadline_ns;             /* for names, connecting and handshake; 0: in 5 s */
    uint32_t spin_us;                 /* receive: look this long before sleeping */
    uint32_t send_buffer_bytes;       /* of the socket; 0: the system's choice */
    uint32_t recv_buffer_bytes;
    const char *congestion; /* TCP_CONGESTION, e.g. "bbr"; NULL: the system's choice, of loopback
                               addresses reno, which does not pace */
    uint32_t keepalive_s;   /* idle time before the first probe; 0: 30 s */
    /* tp_connect(): sent in clear before anything else; at most TP_PREFACE_MAX bytes. */
    const void *preface;
    size_t preface_bytes;
    struct tp_tls_opts tls;
    bool kernel_tls;      /* with tls.psk: the kernel ciphers, if it can; the peer need not know */
    uint64_t rekey_bytes; /* tls: new keys after so much in a direction; 0: 64 GiB, 256 GiB of
                             the kernel's */
    struct tp_rdma_opts rdma;
    char *why; /* TP_WHY_BYTES; takes the one-line reason of a failure, which is then not logged */
};

/* Who is at the other end; strings are never NULL, "" where the transport does not know. */
struct tp_peer {
    char address[TP_ADDRESS_MAX + 1]; /* "192.0.2.7:40022", "[::1]:40022", "pid 7 of uid 0" */
    char common_name[TP_NAME_MAX + 1];
    unsigned uri_count; /* of the certificate's subject alternative names */
    char uris[TP_URIS_MAX][TP_NAME_MAX + 1];
    uint8_t cert_sha256[32]; /* of the peer's certificate; zeros without one */
    char protocol[16];       /* "TLSv1.3" */
    char cipher[48];         /* "TLS_AES_128_GCM_SHA256" */
    /* shm: what the kernel says of the process that connected; it may have passed the socket on. */
    bool has_ids;
    uint32_t pid, uid;
    unsigned gid_count; /* its own group first */
    uint32_t gids[TP_GROUPS_MAX];
};

/* Since the lane was made; headers and payloads as the frames have them, without TLS's own. */
struct tp_stats {
    uint64_t bytes_sent, bytes_received;
    uint64_t sends;           /* tp_send calls: batches on their way */
    uint64_t frames_received; /* headers taken */
    uint64_t sleeps;          /* receives that found nothing and slept */
};

/* A frame that tp_recv_frame() holds; borrowed from the lane until its next receive. */
struct tp_frame {
    const uint8_t *header;  /* framing->header_bytes, not aligned */
    const uint8_t *payload; /* 8-byte aligned; NULL only if payload_bytes is 0 */
    uint32_t payload_bytes;
};

/* False, with errno: connections cannot have it as tp_opts.congestion, here or for us. */
GP_CHECK bool tp_congestion_known(const char *name);

/*
 * Connect to url: "tls://host[:port]", "tcp://127.0.0.1:port", "shm:///path", "shm://@name"; IPv6
 * in brackets.
 *
 * All addresses of the name are tried, the next one while the last is silent, until one answers or
 * opts->deadline_ns passes. With
 * TLS a server that refuses our certificate says so in the first receive only (GP_ERR_AUTH).
 * Ownership: *lane_p is the caller's on GP_OK, to be closed with tp_close().
 * Errors:    GP_ERR_INVALID for a bad URL or options, GP_ERR_NOT_FOUND for an unknown name,
 *            GP_ERR_NOT_SUPPORTED where rdma:// or shm:// cannot be had, GP_ERR_AUTH for the
 * server's certificate or ours, GP_ERR_TIMEOUT, GP_ERR_IO, GP_ERR_PROTOCOL (peer is no TLS server).
 */
GP_CHECK enum gp_status tp_connect(const char *url, const struct tp_opts *opts,
                                   struct tp_lane **lane_p);

/*
 * Listen on url, "tls://0.0.0.0:7470", "tls://[::]:0"; port 0 picks one, host "*" means
 * every address of both families. "shm:///path" replaces a socket that nobody answers at.
 *
 * Reads no credentials: the process that accepts needs none.
 * Ownership: *listener_p is the caller's, to be closed with tp_listener_close().
 * Errors:    as tp_connect(); GP_ERR_INVALID also for tcp:// beyond loopback.
 */
GP_CHECK enum gp_status tp_listen(const char *url, const struct tp_opts *opts,
                                  struct tp_listener **listener_p);
/* The same with a socket that listens already, at url, inherited from another process; fd belongs
 * to the listener on GP_OK. GP_ERR_INVALID if it is none. */
GP_CHECK enum gp_status tp_listen_inherited(const char *url, int fd, const struct tp_opts *opts,
                                            struct tp_listener **listener_p);
int tp_listener_fd(const struct tp_listener *listener);          /* to poll; the listener's */
const char *tp_listener_url(const struct tp_listener *listener); /* with the real port */
const char *tp_listener_scheme(const struct tp_listener *listener);
void tp_listener_close(struct tp_listener *listener);

/*
 * Take the next connection, if one waits, as a bare descriptor: close-on-exec, to be adopted here
 * or in a process it is passed to. Never waits.
 *
 * Errors: GP_ERR_AGAIN if none waits (or it died meanwhile), GP_ERR_LIMIT when the process has no
 *         descriptors left (logged), GP_ERR_IO.
 */
GP_CHECK enum gp_status tp_accept(struct tp_listener *listener, int *fd_p);

/*
 * Make a lane of a connected socket: for tls run the handshake, whoever is silent or slow is
 * dropped at opts->deadline_ns. The private key is wiped from memory before this returns.
 *
 * Ownership: takes fd in every case; *lane_p is the caller's on GP_OK.
 * Errors:    as tp_connect(); GP_ERR_INVALID for a tcp connection that is not loopback.
 */
GP_CHECK enum gp_status tp_adopt(const char *scheme, int fd, enum tp_role role,
                                 const struct tp_opts *opts, struct tp_lane **lane_p);

/* Say the orderly end as far as the line takes it without waiting, then free. NULL is allowed. */
void tp_close(struct tp_lane *lane);
/* In a forked child: close the descriptors, say nothing, leak the rest. */
void tp_abandon(struct tp_lane *lane);
/* End both directions now; whoever waits in a send or receive returns. Any thread, twice is fine.
 */
void tp_shutdown(struct tp_lane *lane);
/* Make the receive that waits, or the next that would, return GP_ERR_AGAIN once. Any thread. */
void tp_wake(struct tp_lane *lane);

/*
 * Send iov: one or more whole frames, headers included. Returns when the lane has taken all.
 *
 * Ownership: the memory may be reused on return.
 * Errors:    GP_ERR_TIMEOUT, GP_ERR_CLOSED (shut down here), GP_ERR_IO: how much has left is
 *            unknown, nothing more can be sent.
 */
GP_CHECK enum gp_status tp_send(struct tp_lane *lane, const struct iovec *iov, int iovcnt);
GP_CHECK enum gp_status tp_send_by(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                   uint64_t deadline_ns);

/*
 * The same, but what lies in one of the lent ranges must stay as it is after the return, too, until
 * tp_settle() has said that it need not: where a lane keeps what was sent (transport/link) it does
 * so without a copy.
 */
GP_CHECK enum gp_status tp_send_lent(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                     const struct iovec *lent, int lents, uint64_t deadline_ns);
/*
 * These bytes are the caller's again: what is still needed of them is copied. Any thread.
 *
 * Errors: GP_ERR_NO_MEMORY: they are not.
 */
GP_CHECK enum gp_status tp_settle(struct tp_lane *lane, const void *base, size_t bytes);

/* Bytes that are written to where the peer reads them, some at a time and in order. */
struct tp_fill {
    void (*put)(void *user, size_t at, void *to, size_t bytes);
    void *user;
    size_t bytes;
};

/*
 * Send iov, which ends within a frame, and behind it the frame's last bytes, without a copy of
 * them. The peer may see and change them while they are being written. put() must not wait for the
 * peer, nor can it fail: what it cannot say any other way it says in a frame of its own.
 *
 * Errors: as tp_send_by(); GP_ERR_NOT_SUPPORTED where tp_fills() is false.
 */
GP_CHECK enum gp_status tp_send_filled(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                       const struct tp_fill *fill, uint64_t deadline_ns);
/* What was true once stays true. Any thread. */
bool tp_fills(const struct tp_lane *lane);

/* Bytes of a device's memory (transport/kept.h), which the processor may not touch. */
struct tp_direct {
    const void *at;
    size_t bytes;
    /* Copy some of them to where the processor reaches; any thread, and locks of the lane are held.
     * What cannot be had any more is whatever it leaves there, and the owner's to say. */
    void (*fetch)(void *user, void *to, const void *from, size_t bytes);
    void *user;
};

/*
 * Whether the device that carries this lane now reads and writes memory of that device by itself,
 * which is on the list of kept memory; why (TP_WHY_BYTES) says how, or why not. To try tells it.
 * Not by the sender's thread in the middle of a send.
 */
bool tp_takes_device(struct tp_lane *lane, const void *at, size_t bytes, char *why);

/*
 * Send iov, which ends within a frame, and behind it the frame's last bytes, from where they lie in
 * a device's memory as far as the lane's device takes them there, and else fetched. They may not
 * change before this returns.
 *
 * Errors: as tp_send_by().
 */
GP_CHECK enum gp_status tp_send_direct(struct tp_lane *lane, const struct iovec *iov, int iovcnt,
                                       const struct tp_direct *direct, uint64_t deadline_ns);

/*
 * Receive the next bytes of the payload into a device's memory, if they come by a way that puts
 * them there: *got_p of them. Where others come first, or they come another way, nothing is
 * received and *others_p says how many are to be had by tp_recv_payload() before this is worth
 * another try. bytes 0 waits until one of both can be done.
 *
 * Errors: as tp_recv_payload().
 */
GP_CHECK enum gp_status tp_recv_direct(struct tp_lane *lane, void *dst, size_t bytes,
                                       uint64_t deadline_ns, size_t *got_p, size_t *others_p);

/*
 * Receive the next frame whole, into the lane's memory (which grows to the largest frame seen).
 * What was not fetched of an earlier frame's payload is skipped. A receive that ended with
 * GP_ERR_AGAIN or GP_ERR_TIMEOUT is to be repeated by the same function.
 *
 * Errors: GP_ERR_TIMEOUT or, with TP_NOW or after tp_wake(), GP_ERR_AGAIN: nothing is lost, call
 *         again. GP_ERR_CLOSED: orderly end between two frames. GP_ERR_IO: the line was cut.
 *         GP_ERR_PROTOCOL, GP_ERR_LIMIT: the peer sent no frame of ours or one too long.
 *         GP_ERR_AUTH: the peer refused our certificate (first receive of a tls lane).
 */
GP_CHECK enum gp_status tp_recv_frame(struct tp_lane *lane, struct tp_frame *frame_p,
                                      uint64_t deadline_ns);

/*
 * The same, but a payload of more than whole_bytes is left to tp_recv_payload(), with payload NULL.
 */
GP_CHECK enum gp_status tp_recv_frame_upto(struct tp_lane *lane, struct tp_frame *frame_p,
                                           uint32_t whole_bytes, uint64_t deadline_ns);

/*
 * The same in steps, for payloads that belong somewhere: first the header, then its payload in as
 * many pieces as the caller likes, straight to where it shall lie.
 *
 * tp_recv_header() sets payload NULL, payload_bytes is right. tp_recv_payload() reads exactly
 * bytes, at most what is left of the payload (tp_payload_left()); *got_p (may be NULL) says how
 * many arrived if it did not return GP_OK, and the next call goes on behind them.
 */
GP_CHECK enum gp_status tp_recv_header(struct tp_lane *lane, struct tp_frame *frame_p,
                                       uint64_t deadline_ns);
GP_CHECK enum gp_status tp_recv_payload(struct tp_lane *lane, void *dst, size_t bytes,
                                        uint64_t deadline_ns, size_t *got_p);
uint32_t tp_payload_left(const struct tp_lane *lane);
/*
 * Where the next bytes of the payload lie in memory that the peer has written to, most at most,
 * *bytes_p in a row; NULL where nothing is there or the lane is none of the kind. They may still be
 * changed by the peer, and stay there until tp_skip_payload(), after which they count as received.
 */
const void *tp_peek_payload(struct tp_lane *lane, size_t most, size_t *bytes_p);
void tp_skip_payload(struct tp_lane *lane, size_t bytes);
bool tp_peeks(const struct tp_lane *lane);

/*
 * Readable when a receive may find something; the lane's own, poll it for POLLIN only.
 * First ask tp_pending(): bytes that are here already do not make it readable.
 */
int tp_event_fd(const struct tp_lane *lane);
/* True if a receive would find bytes without the line. Receiver's thread. */
bool tp_pending(const struct tp_lane *lane);

/* Shows by POLLRDHUP that the peer has ended its direction, whatever it sent before; the lane's
 * own. Any thread. */
int tp_end_fd(const struct tp_lane *lane);

/* What poll(2) must ask the descriptor for: POLLIN, and POLLOUT while something of the lane's own
 * is left to be sent by the receiver. Receiver's thread. */
short tp_event_mask(const struct tp_lane *lane);

/* Bytes received since the opening, for the next header that is sent: with it they count as
 * acknowledged. 0 for a lane that does not survive its line (transport/link). Any thread. */
uint64_t tp_received(struct tp_lane *lane);

/* 32 bytes that the two ends of this lane's handshake have and nobody else; zeros for tcp. */
GP_CHECK enum gp_status tp_export_key(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES]);

/* Look for spin_us before sleeping in a receive; shrinks by itself while looking finds nothing. */
void tp_set_spin(struct tp_lane *lane, uint32_t spin_us);
/* After the sides agreed on another limit; receiver's thread, between two frames. */
void tp_set_max_payload(struct tp_lane *lane, uint32_t max_payload_bytes);

uint32_t tp_caps(const struct tp_lane *lane);
const char *tp_scheme(const struct tp_lane *lane);         /* "tls"; of now, for a link */
const struct tp_peer *tp_peer(const struct tp_lane *lane); /* borrowed; constant */
void tp_stats(const struct tp_lane *lane, struct tp_stats *stats_p);

#endif
