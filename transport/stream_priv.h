/* transport/stream_priv.h -- between stream.c and stream_recv.c only */
#ifndef TP_STREAM_PRIV_H
#define TP_STREAM_PRIV_H

#include "transport/stream.h"

/* Read at least a byte, waiting as the deadline says; keeps recv_status, dry and the counters. */
GP_CHECK enum gp_status tp_stream_read(struct tp_stream *s, const struct iovec *iov, int iovcnt,
                                       uint64_t deadline_ns, size_t *got_p);

#endif
