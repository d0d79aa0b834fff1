/* frontend/cuda/promise.c */
#include "frontend/cuda/promise.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PROMISES_MAX 32u

struct promise {
    const struct fe_session *session;
    uint64_t total;
    uint8_t digest[FE_PROMISE_HASH_BYTES];
    uint8_t *table;
    size_t len;
};

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct promise list[PROMISES_MAX];
    unsigned count;
} promises = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
fe_promise_add(struct fe_session *s, uint64_t total, const uint32_t sha256[8], const uint8_t *table,
               size_t len)
{
    struct promise p = {.session = s, .total = total, .table = malloc(len + 1), .len = len};

    if (p.table == NULL)
        return; /* then it is loaded as if nothing was said */
    memcpy(p.digest, sha256, sizeof(p.digest));
    memcpy(p.table, table, len);
    pthread_mutex_lock(&promises.lock);
    if (promises.count < PROMISES_MAX) {
        promises.list[promises.count++] = p;
        p.table = NULL;
    }
    pthread_mutex_unlock(&promises.lock);
    free(p.table);
}

bool
fe_promise_any(const struct fe_session *s, uint64_t total)
{
    bool found = false;

    pthread_mutex_lock(&promises.lock);
    for (unsigned i = 0; i < promises.count && !found; i++)
        found = promises.list[i].session == s && promises.list[i].total == total;
    pthread_mutex_unlock(&promises.lock);
    return found;
}

bool
fe_promise_take(const struct fe_session *s, uint64_t total,
                const uint8_t digest[FE_PROMISE_HASH_BYTES], uint8_t **table_p, size_t *len_p)
{
    bool found = false;

    pthread_mutex_lock(&promises.lock);
    for (unsigned i = 0; i < promises.count && !found; i++) {
        struct promise *p = &promises.list[i];

        found = p->session == s && p->total == total &&
                memcmp(p->digest, digest, sizeof(p->digest)) == 0;
        if (found) {
            *table_p = p->table;
            *len_p = p->len;
            *p = promises.list[promises.count - 1];
            promises.count--;
        }
    }
    pthread_mutex_unlock(&promises.lock);
    return found;
}
