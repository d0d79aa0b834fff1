/* frontend/core/notice.h -- what the server says unasked
 *
 * Device printf is written to standard output by the engine. The rest goes to handlers of
 * frontend/cuda. A server is not trusted: every value below must be looked up in the client's own
 * tables before it is used as an address.
 */
#ifndef FE_NOTICE_H
#define FE_NOTICE_H

#include "frontend/core/session.h"

#include <stddef.h>
#include <stdint.h>

struct fe_notice_handlers {
    /*
     * Run the host function with this client-made number. Called on the callback thread, one
     * after the other in the server's order; may take as long as it likes. The engine answers
     * gpHostDone when it returns.
     */
    void (*host)(struct fe_session *s, uint64_t callback, CUresult status);
    /*
     * Where bytes of host memory at source may be read for a gpPullAsync that this client posted;
     * NULL refuses (the session ends). Called on a thread of its own; the engine sends the bytes.
     * pull_done follows when they are sent or the session is lost.
     */
    const void *(*pull)(struct fe_session *s, uint64_t source, uint64_t bytes);
    void (*pull_done)(struct fe_session *s, uint64_t source, uint64_t bytes);
    /* These device addresses may be used again. On the reading thread: must be quick, must not
     * post or wait. device is the server's ordinal. */
    void (*freed)(struct fe_session *s, int device, const uint64_t *addresses, size_t count);
    /* Others want memory of the device (the server's ordinal): forget what the lease has unused and
     * say how much that is. The engine tells the server. On a thread of its own, must not post. */
    uint64_t (*lease)(struct fe_session *s, int device);
    /* So many bytes of the device are more than the tenant may have. On the thread of leases. */
    void (*over)(struct fe_session *s, int device, uint64_t bytes);
    /* A library whose loading is foretold; on the reading thread, as freed. */
    void (*library)(struct fe_session *s, uint64_t total, const uint32_t sha256[8],
                    const uint8_t *table, size_t len);
    /* The last launch of this executable graph is over. On the callback thread. */
    void (*graph_gone)(struct fe_session *s, uint64_t exec);
    /* A stream has come to the gate with this client-made number, or its event has happened; status
     * says why neither will be. On the thread of gates: may post, must not wait. */
    void (*gate)(struct fe_session *s, uint64_t gate, CUresult status);
    /* One of several servers is lost. On the thread of gates. */
    void (*lost)(struct fe_session *s);
};

/* Before fe_start(); borrowed for ever. Members may be NULL: such notices are logged and, where an
 * answer is owed, answered. */
void fe_notice_set_handlers(const struct fe_notice_handlers *handlers);

/* Hear what the server has said by now; waits for nothing. */
void fe_notice_hear(struct fe_session *s);

/* Something the server will say unasked is on its way (+1: a host callback or a pull was posted) or
 * has come (-1): while the count is above 0 the line is read without delay also when nobody waits.
 * Asynchronous data counts itself. */
void fe_notice_expect(struct fe_session *s, int change);

#endif
