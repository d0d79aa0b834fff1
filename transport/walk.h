/* transport/walk.h -- along an iovec, piece by piece; private to transport/ */
#ifndef TP_WALK_H
#define TP_WALK_H

#include "protocol/base/util.h"

#include <stdbool.h>
#include <sys/uio.h>

struct tp_iov_walk {
    const struct iovec *iov;
    int left;
    size_t at;
};

static inline bool
tp_iov_ended(struct tp_iov_walk *w)
{
    while (w->left > 0 && w->at == w->iov->iov_len) {
        w->iov++;
        w->left--;
        w->at = 0;
    }
    return w->left == 0;
}

/* The next piece, most bytes at most; 0 bytes at the end. */
static inline size_t
tp_iov_next(struct tp_iov_walk *w, uint64_t most, uint8_t **piece_p)
{
    size_t n;

    if (tp_iov_ended(w))
        return 0;
    n = gp_min_u64(w->iov->iov_len - w->at, most);
    *piece_p = (uint8_t *)w->iov->iov_base + w->at;
    w->at += n;
    return n;
}

#endif
