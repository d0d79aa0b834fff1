/* tests/programs/c/drv_notifications.c -- functions that would hear of a budget of memory */
#include "drv.h"

static void
never(CUasyncNotificationInfo *info, void *data, CUasyncCallbackHandle handle)
{
    (void)info;
    (void)handle;
    ++*(int *)data;
}

int
main(void)
{
    CUasyncCallbackHandle a = NULL, b = NULL;
    CUdevice dev = drv_open();
    CUdeviceptr memory;
    int heard = 0;

    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceRegisterAsyncNotification(99, never, &heard, &a));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceRegisterAsyncNotification(dev, NULL, &heard, &a));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuDeviceRegisterAsyncNotification(dev, never, &heard, NULL));
    CU(cuDeviceRegisterAsyncNotification(dev, never, &heard, &a));
    CU(cuDeviceRegisterAsyncNotification(dev, never, &heard, &b));
    EXPECT(a != NULL && b != NULL && a != b);
    CU(cuMemAlloc(&memory, 1 << 20)); /* nobody is over anything */
    CU(cuMemFree(memory));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceUnregisterAsyncNotification(99, a));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceUnregisterAsyncNotification(dev, NULL));
    CU(cuDeviceUnregisterAsyncNotification(dev, a));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuDeviceUnregisterAsyncNotification(dev, a));
    CU(cuDeviceUnregisterAsyncNotification(dev, b));
    EXPECT(heard == 0);
    printf("notifications: %d heard\n", heard);
    drv_close(dev);
    return drv_result("drv_notifications");
}
