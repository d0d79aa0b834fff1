/* backend/driver/real/load.c -- every CUDA driver is loaded here */
#include "backend/driver/driver.h"

#include "protocol/base/log.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BE_DRIVER_SYSTEM "libcuda.so.1"
#define BE_DRIVER_OLDEST 11000

/* Where our software device may lie, relative to the folder of the executable. */
static const char *const be_soft_places[] = {
    "driver/soft/libcuda.so.1",                          /* build tree: build/backend/gpupoold */
    "../lib/x86_64-linux-gnu/gpupool/soft/libcuda.so.1", /* installed by a distribution */
    "../lib/gpupool/soft/libcuda.so.1",
    "../lib64/gpupool/soft/libcuda.so.1",
    "../backend/driver/soft/libcuda.so.1", /* build tree, other programs */
    "../../backend/driver/soft/libcuda.so.1",
};

static enum gp_status
find_soft(char path[PATH_MAX])
{
    char here[PATH_MAX];
    char *slash;
    ssize_t n;

    n = readlink("/proc/self/exe", here, sizeof(here) - 1);
    if (n < 0) {
        log_error("driver: cannot read /proc/self/exe: %m");
        return GP_ERR_IO;
    }
    here[n] = 0;
    slash = strrchr(here, '/');
    if (slash != NULL)
        *slash = 0;
    for (size_t i = 0; i < sizeof(be_soft_places) / sizeof(be_soft_places[0]); i++) {
        struct stat st;

        if (snprintf(path, PATH_MAX, "%s/%s", here, be_soft_places[i]) >= PATH_MAX)
            continue;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            return GP_OK;
    }
    log_error("driver soft: the software device's libcuda.so.1 is not near %s", here);
    return GP_ERR_NOT_FOUND;
}

static void
fill_table(struct be_driver *driver)
{
    /* dlsym gives the exact ABI by name; cuGetProcAddress would give what the table has no
     * name for, and that we do not call. */
    for (size_t i = 0; i < be_driver_symbol_count; i++) {
        void *symbol = dlsym(driver->library, be_driver_symbols[i].name);

        memcpy((char *)&driver->table + be_driver_symbols[i].offset, &symbol, sizeof(symbol));
    }
}

static enum gp_status
check_table(const struct be_driver_table *t, const char *path)
{
    if (t->cuInit == NULL || t->cuDeviceGetCount == NULL || t->cuDriverGetVersion == NULL ||
        t->cuDeviceGet == NULL || t->cuDeviceGetAttribute == NULL || t->cuCtxSetCurrent == NULL ||
        t->cuEventRecord == NULL || t->cuEventSynchronize == NULL || t->cuEventQuery == NULL) {
        log_error("driver %s: not a CUDA driver, basic functions are missing", path);
        return GP_ERR_NOT_SUPPORTED;
    }
    if (t->cuMemAddressReserve == NULL || t->cuMemCreate == NULL || t->cuMemMap == NULL ||
        t->cuMemSetAccess == NULL || t->cuMemUnmap == NULL || t->cuMemRelease == NULL ||
        t->cuMemAddressFree == NULL || t->cuMemGetAllocationGranularity == NULL) {
        log_error("driver %s: no virtual memory management (cuMemAddressReserve and others); "
                  "a driver of CUDA 11.0 or later is needed",
                  path);
        return GP_ERR_NOT_SUPPORTED;
    }
    return GP_OK;
}

const char *
be_driver_error(const struct be_driver *driver, CUresult cr)
{
    const char *name = NULL;

    if (driver->table.cuGetErrorName == NULL || driver->table.cuGetErrorName(cr, &name) != 0 ||
        name == NULL)
        return "unknown CUDA error";
    return name;
}

static enum gp_status
start(struct be_driver *driver, const char *path)
{
    CUresult cr;

    cr = driver->table.cuInit(0);
    if (cr != CUDA_SUCCESS) {
        log_error("driver %s: cuInit: %s (%d)", path, be_driver_error(driver, cr), (int)cr);
        return GP_ERR_IO;
    }
    cr = driver->table.cuDriverGetVersion(&driver->version);
    if (cr == CUDA_SUCCESS)
        cr = driver->table.cuDeviceGetCount(&driver->device_count);
    if (cr != CUDA_SUCCESS) {
        log_error("driver %s: version or device count: %s", path, be_driver_error(driver, cr));
        return GP_ERR_IO;
    }
    if (driver->version < BE_DRIVER_OLDEST) {
        log_error("driver %s: CUDA %d.%d is too old, 11.0 is needed", path, driver->version / 1000,
                  driver->version % 1000 / 10);
        return GP_ERR_NOT_SUPPORTED;
    }
    if (driver->device_count > BE_DRIVER_DEVICES_MAX)
        driver->device_count = BE_DRIVER_DEVICES_MAX;
    return GP_OK;
}

/* Ours says so in the device's name, whatever path it was loaded from. */
static bool
is_software(const struct be_driver *driver)
{
    char name[128] = "";
    CUdevice device;

    return driver->device_count != 0 && driver->table.cuDeviceGetName != NULL &&
           driver->table.cuDeviceGet(&device, 0) == CUDA_SUCCESS &&
           driver->table.cuDeviceGetName(name, sizeof(name), device) == CUDA_SUCCESS &&
           strstr(name, "software device") != NULL;
}

/* NULL: an older one. */
static const struct gp_near_table *
near_of(const struct be_driver_table *table)
{
    static const CUuuid id = GP_NEAR_TABLE_ID;
    const void *found = NULL;
    const struct gp_near_table *near;

    if (table->cuGetExportTable == NULL || table->cuGetExportTable(&found, &id) != CUDA_SUCCESS)
        return NULL;
    near = found;
    return near != NULL && near->bytes >= sizeof(*near) ? near : NULL;
}

enum gp_status
be_driver_open(const char *name, struct be_driver *driver_p)
{
    struct be_driver driver = {0};
    char path[PATH_MAX];
    enum gp_status status;

    if (strcmp(name, "cuda") == 0) {
        snprintf(path, sizeof(path), "%s", BE_DRIVER_SYSTEM);
    } else if (strcmp(name, "soft") == 0) {
        status = find_soft(path);
        if (status != GP_OK)
            return status;
    } else if (strchr(name, '/') != NULL && strlen(name) < sizeof(path)) {
        snprintf(path, sizeof(path), "%s", name);
    } else {
        log_error("driver %s: want cuda, soft or a path with a '/'", name);
        return GP_ERR_INVALID;
    }

    driver.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (driver.library == NULL) {
        log_error("driver %s: %s", name, dlerror());
        return GP_ERR_NOT_FOUND;
    }
    fill_table(&driver);
    status = check_table(&driver.table, path);
    if (status == GP_OK)
        status = start(&driver, path);
    if (status != GP_OK) {
        dlclose(driver.library);
        return status;
    }
    driver.software = is_software(&driver);
    if (driver.software)
        driver.near = near_of(&driver.table);
    if (driver.software)
        snprintf(driver.text, sizeof(driver.text), "software device");
    else
        snprintf(driver.text, sizeof(driver.text), "cuda %d.%d", driver.version / 1000,
                 driver.version % 1000 / 10);
    *driver_p = driver;
    return GP_OK;
}

void
be_driver_close(struct be_driver *driver)
{
    /* A CUDA driver leaves threads behind; unloading it under them would crash the process. */
    driver->library = NULL;
}
