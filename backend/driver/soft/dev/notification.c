/* backend/driver/soft/dev/notification.c -- functions of the program that hear of its memory budget
 *
 * This device gives a process no budget, so there is nothing that it tells them.
 */
#include "backend/driver/soft/dev/dev.h"
#include "cuda_api.h"

#include <stdlib.h>

struct CUasyncCallbackEntry_st {
    struct CUasyncCallbackEntry_st *next;
    CUdevice device;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static struct CUasyncCallbackEntry_st *entries;          /* guarded by lock */

GP_EXPORT CUresult
cuDeviceRegisterAsyncNotification(CUdevice device, CUasyncCallback callbackFunc, void *userData,
                                  CUasyncCallbackHandle *callback)
{
    struct CUasyncCallbackEntry_st *entry;

    (void)userData;
    SD_ENTER_READY();
    if (sd_device_get(device) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    if (callbackFunc == NULL || callback == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    entry->device = device;
    pthread_mutex_lock(&lock);
    entry->next = entries;
    entries = entry;
    pthread_mutex_unlock(&lock);
    *callback = entry;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuDeviceUnregisterAsyncNotification(CUdevice device, CUasyncCallbackHandle callback)
{
    struct CUasyncCallbackEntry_st **at = &entries;
    CUresult cr = CUDA_ERROR_INVALID_VALUE;

    SD_ENTER_READY();
    if (sd_device_get(device) == NULL)
        return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    while (*at != NULL && *at != callback)
        at = &(*at)->next;
    if (*at != NULL && callback->device == device) {
        *at = callback->next;
        free(callback);
        cr = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return cr;
}
