/* backend/cuda/need.h -- what a call needs of the session's device memory
 *
 * Threads: the executor.
 */
#ifndef BE_NEED_H
#define BE_NEED_H

#include "backend/cuda/state.h"

enum be_need {
    BE_NEED_UNKNOWN,
    BE_NEED_NOTHING,
    BE_NEED_BY_ADDRESS, /* be_need_pages() */
    BE_NEED_NAMED,      /* of what it names, if it can be told (named.h) */
    BE_NEED_MEMORY
};
enum be_need be_need_of(uint16_t call);
/* Whether a call about pages is about device memory: those of host memory are the host's, and a
 * kernel may be waiting for them. */
bool be_need_pages(const struct be_session *session, uint16_t call, const uint8_t *body,
                   size_t len);

#endif
