/* frontend/cuda/notification.c -- functions of the program that hear when its memory budget shrinks
 *
 * A tenant's quota is the budget: where an operator makes it smaller than what the program has, the
 * server says by how much. The functions run on a thread of the engine, one after the other.
 */
#include "cuda_api.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <stdlib.h>

struct CUasyncCallbackEntry_st {
    struct CUasyncCallbackEntry_st *next;
    CUdevice device;
    CUasyncCallback fn;
    void *data;
};

/* A leaf; not held while a function runs, `calling` is then. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Guarded by lock. */
static struct CUasyncCallbackEntry_st *entries;
static bool calling;
static pthread_t caller;

/* Take the lock while nothing calls; NOT_PERMITTED, without it, to a function that is called. */
static CUresult
lock_quiet(void)
{
    pthread_mutex_lock(&lock);
    if (calling && pthread_equal(pthread_self(), caller)) {
        pthread_mutex_unlock(&lock);
        return CUDA_ERROR_NOT_PERMITTED;
    }
    while (calling)
        pthread_cond_wait(&changed, &lock);
    return CUDA_SUCCESS;
}

static CUresult
ready(CUdevice device)
{
    struct fe_state *state;
    CUresult cr = CUDA_SUCCESS;

    FE_COUNT_LOCAL();
    state = fe_state_get(&cr);
    if (state == NULL)
        return cr;
    return fe_state_device(state, device) != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

GP_EXPORT CUresult
cuDeviceRegisterAsyncNotification(CUdevice device, CUasyncCallback fn, void *data,
                                  CUasyncCallbackHandle *handle)
{
    struct CUasyncCallbackEntry_st *entry;
    CUresult cr = ready(device);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fn == NULL || handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    entry = malloc(sizeof(*entry));
    if (entry == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *entry = (struct CUasyncCallbackEntry_st){NULL, device, fn, data};
    cr = lock_quiet();
    if (cr != CUDA_SUCCESS) {
        free(entry);
        return cr;
    }
    entry->next = entries;
    entries = entry;
    *handle = entry;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

/* The lock is held, and nothing calls. */
static CUresult
take_out(CUdevice device, CUasyncCallbackHandle handle)
{
    struct CUasyncCallbackEntry_st **at = &entries;

    while (*at != NULL && *at != handle)
        at = &(*at)->next;
    if (*at == NULL || (*at)->device != device)
        return CUDA_ERROR_INVALID_VALUE;
    *at = handle->next;
    free(handle);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceUnregisterAsyncNotification(CUdevice device, CUasyncCallbackHandle handle)
{
    CUresult cr = ready(device);

    if (cr == CUDA_SUCCESS)
        cr = lock_quiet();
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = take_out(device, handle);
    pthread_mutex_unlock(&lock);
    return cr;
}

/* Nothing is added or taken out while `calling`: the list stays as it is. */
void
fe_notify_over_budget(int device, uint64_t bytes)
{
    CUasyncNotificationInfo info = {.type = CU_ASYNC_NOTIFICATION_TYPE_OVER_BUDGET};

    info.info.overBudget.bytesOverBudget = bytes;
    pthread_mutex_lock(&lock);
    calling = true;
    caller = pthread_self();
    pthread_mutex_unlock(&lock);
    for (struct CUasyncCallbackEntry_st *e = entries; e != NULL; e = e->next)
        if (e->device == device)
            e->fn(&info, e->data, e);
    pthread_mutex_lock(&lock);
    calling = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
