/* tests/programs/c/drv_device_query.c -- everything that can be asked about the devices */
#include "drv.h"

static void
print_attributes(CUdevice dev)
{
    for (int a = 1; a < CU_DEVICE_ATTRIBUTE_MAX; a++) {
        CUresult cr;
        int value = -1;

        cr = cuDeviceGetAttribute(&value, (CUdevice_attribute)a, dev);
        if (cr == CUDA_SUCCESS)
            printf("  attribute %3d = %d\n", a, value);
        else
            printf("  attribute %3d : %s\n", a, drv_name(cr));
    }
}

static int
attribute(CUdevice dev, CUdevice_attribute a)
{
    int value;

    CU(cuDeviceGetAttribute(&value, a, dev));
    return value;
}

static void
check_plausible(CUdevice dev)
{
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_WARP_SIZE) == 32);
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK) >= 1024);
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) >= 1);
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) >= 7);
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK) >= 48 * 1024);
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING) == 1);
    EXPECT(attribute(dev, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X) == 2147483647);
}

static void
print_device(int ordinal)
{
    char name[256], short_name[8];
    CUdevice dev;
    CUuuid uuid;
    size_t total;

    CU(cuDeviceGet(&dev, ordinal));
    CU(cuDeviceGetName(name, sizeof(name), dev));
    CU(cuDeviceGetName(short_name, sizeof(short_name), dev));
    CU(cuDeviceTotalMem(&total, dev));
    CU(cuDeviceGetUuid_v2(&uuid, dev));
    EXPECT(strlen(name) > 0);
    EXPECT(strlen(short_name) < sizeof(short_name));
    EXPECT(strncmp(short_name, name, strlen(short_name)) == 0);
    EXPECT(total >= 64ul << 20);

    printf("device %d: %s, %zu bytes, uuid ", ordinal, name, total);
    for (size_t i = 0; i < sizeof(uuid.bytes); i++)
        printf("%02x", (unsigned char)uuid.bytes[i]);
    printf("\n");
    print_attributes(dev);
    check_plausible(dev);
}

int
main(void)
{
    int count, version;
    CUdevice dev;

    CU(cuInit(0));
    CU(cuDriverGetVersion(&version));
    EXPECT(version >= 13000);
    CU(cuDeviceGetCount(&count));
    EXPECT(count >= 1);
    printf("driver version %d, %d device(s)\n", version, count);
    for (int i = 0; i < count; i++)
        print_device(i);
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&dev, count));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&dev, -1));
    return drv_result("drv_device_query");
}
