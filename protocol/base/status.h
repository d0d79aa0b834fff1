/* protocol/base/status.h -- result codes of our own functions */
#ifndef GP_STATUS_H
#define GP_STATUS_H

enum gp_status {
    GP_OK = 0,
    GP_ERR_AGAIN,         /* nothing done, try later (no credit, would block) */
    GP_ERR_CLOSED,        /* the peer closed the line in an orderly way */
    GP_ERR_IO,            /* a system call or the line failed */
    GP_ERR_TIMEOUT,       /* a deadline passed */
    GP_ERR_PROTOCOL,      /* the peer sent what the protocol forbids */
    GP_ERR_VERSION,       /* no common version with the peer */
    GP_ERR_AUTH,          /* certificate or name refused, by us or by the peer */
    GP_ERR_NO_MEMORY,     /* host memory or another limited resource is exhausted */
    GP_ERR_NOT_FOUND,     /* no such object, file or symbol */
    GP_ERR_INVALID,       /* the caller's argument or the configuration is wrong */
    GP_ERR_NOT_SUPPORTED, /* known, but not available in this build or on this host */
    GP_ERR_LIMIT,         /* over a configured limit */
    GP_ERR_REFUSED,       /* the host is there, and nobody listens */
};

/* Every function that returns enum gp_status is marked GP_CHECK. */
#define GP_CHECK __attribute__((warn_unused_result))

/* A few words in English for a log line; never NULL. */
const char *gp_status_text(enum gp_status status);

#endif
