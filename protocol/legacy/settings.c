/* protocol/legacy/settings.c -- what is set for functions that are launched as before CUDA 4 */
#include "protocol/legacy/settings.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BUCKETS 64u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gp_legacy_setting *buckets[BUCKETS]; /* guarded by lock */
static atomic_uint count;                          /* settings there are */

static struct gp_legacy_setting **
find(CUfunction function)
{
    struct gp_legacy_setting **at = &buckets[(uintptr_t)function / 64 % BUCKETS];

    while (*at != NULL && (*at)->function != function)
        at = &(*at)->next;
    return at;
}

struct gp_legacy_setting *
gp_legacy_begin(CUfunction function)
{
    struct gp_legacy_setting **at;

    pthread_mutex_lock(&lock);
    at = find(function);
    if (*at != NULL)
        return *at;
    *at = calloc(1, sizeof(**at));
    if (*at == NULL) {
        pthread_mutex_unlock(&lock);
        return NULL;
    }
    (*at)->function = function;
    (*at)->block[0] = (*at)->block[1] = (*at)->block[2] = 1;
    atomic_fetch_add(&count, 1);
    return *at;
}

void
gp_legacy_end(void)
{
    pthread_mutex_unlock(&lock);
}

void
gp_legacy_forget(CUfunction function)
{
    struct gp_legacy_setting **at, *gone;

    if (atomic_load_explicit(&count, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&lock);
    at = find(function);
    gone = *at;
    if (gone != NULL) {
        *at = gone->next;
        atomic_fetch_sub(&count, 1);
    }
    pthread_mutex_unlock(&lock);
    free(gone);
}
