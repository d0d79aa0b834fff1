/* frontend/nvml/init.c -- begin and end, the system, errors, events */
#include "frontend/nvml/nvml_api.h"

#include "frontend/nvml/pool.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

nvmlReturn_t
nv_text(const char *text, char *to, unsigned length)
{
    size_t bytes = strlen(text) + 1;

    if (to == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (length < bytes)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(to, text, bytes);
    return NVML_SUCCESS;
}

/* --- begin and end --------------------------------------------------------------- */

GP_EXPORT nvmlReturn_t
nvmlInitWithFlags(unsigned int flags)
{
    (void)flags; /* 1: no GPU is fine too; 2: attach to none. Both need a server here */
    return nv_pool_open();
}

GP_EXPORT nvmlReturn_t
nvmlInit_v2(void)
{
    return nv_pool_open();
}

GP_EXPORT nvmlReturn_t
nvmlInit(void)
{
    return nv_pool_open();
}

GP_EXPORT nvmlReturn_t
nvmlShutdown(void)
{
    return nv_pool_close();
}

/*
 * Undocumented; nvidia-smi asks for a table and prints "Mismatch in versions" when it gets none.
 * One that says it is empty (its first word is its size) is enough for the table of 535.
 */
GP_EXPORT nvmlReturn_t
nvmlInternalGetExportTable(const void **table, const void *id)
{
    static const unsigned long long empty[1] = {sizeof(empty)};

    (void)id;
    if (table == NULL)
        return NVML_ERROR_INVALID_ARGUMENT;
    *table = empty;
    return NVML_SUCCESS;
}

GP_EXPORT const char *
nvmlErrorString(nvmlReturn_t result)
{
    static const struct {
        nvmlReturn_t result;
        const char *text;
    } texts[] = {
        {NVML_SUCCESS, "Success"},
        {NVML_ERROR_UNINITIALIZED, "Uninitialized"},
        {NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"},
        {NVML_ERROR_NOT_SUPPORTED, "Not Supported"},
        {NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"},
        {NVML_ERROR_ALREADY_INITIALIZED, "Already Initialized"},
        {NVML_ERROR_NOT_FOUND, "Not Found"},
        {NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size"},
        {NVML_ERROR_INSUFFICIENT_POWER, "Insufficient External Power"},
        {NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"},
        {NVML_ERROR_TIMEOUT, "Timeout"},
        {NVML_ERROR_IRQ_ISSUE, "Interrupt Request Issue"},
        {NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"},
        {NVML_ERROR_FUNCTION_NOT_FOUND, "Function Not Found"},
        {NVML_ERROR_CORRUPTED_INFOROM, "Corrupted infoROM"},
        {NVML_ERROR_GPU_IS_LOST, "GPU is lost"},
        {NVML_ERROR_RESET_REQUIRED, "GPU requires reset"},
        {NVML_ERROR_OPERATING_SYSTEM, "GPU access blocked by the operating system"},
        {NVML_ERROR_LIB_RM_VERSION_MISMATCH, "Driver/library version mismatch"},
        {NVML_ERROR_IN_USE, "In use by another client"},
        {NVML_ERROR_MEMORY, "Insufficient Memory"},
        {NVML_ERROR_NO_DATA, "No data"},
        {NVML_ERROR_INSUFFICIENT_RESOURCES, "Insufficient resources"},
        {NVML_ERROR_FREQ_NOT_SUPPORTED, "Frequency not supported"},
        {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument version mismatch"},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(texts); i++)
        if (texts[i].result == result)
            return texts[i].text;
    return "Unknown Error";
}

/* --- the system -------------------------------------------------------------------- */

/*
 * The driver branch that brought a CUDA version, from NVIDIA's release notes: programs compare
 * numbers, and the server says which CUDA it has, not which driver.
 */
static const char *
driver_branch(int cuda)
{
    static const struct {
        int cuda;
        const char *branch;
    } branches[] = {
        {13000, "580.65"}, {12090, "575.51"}, {12080, "570.26"}, {12060, "560.28"},
        {12050, "555.42"}, {12040, "550.54"}, {12030, "545.23"}, {12020, "535.54"},
        {12010, "530.30"}, {12000, "525.60"}, {11080, "520.61"}, {11000, "450.36"},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(branches); i++)
        if (cuda >= branches[i].cuda)
            return branches[i].branch;
    return "450.36";
}

static nvmlReturn_t
initialised(void)
{
    unsigned count;

    return nv_pool_count(&count);
}

GP_EXPORT nvmlReturn_t
nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    nvmlReturn_t nr = initialised();

    return nr == NVML_SUCCESS ? nv_text(driver_branch(nv_pool_cuda_version()), version, length)
                              : nr;
}

GP_EXPORT nvmlReturn_t
nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    char text[32];
    nvmlReturn_t nr = initialised();

    if (nr != NVML_SUCCESS)
        return nr;
    snprintf(text, sizeof(text), "%d.%s", nv_pool_cuda_version() / 1000,
             driver_branch(nv_pool_cuda_version()));
    return nv_text(text, version, length);
}

GP_EXPORT nvmlReturn_t
nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    nvmlReturn_t nr = initialised();

    if (nr == NVML_SUCCESS && version == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *version = nv_pool_cuda_version();
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

/* Of a process of this machine, as `ps` names it. */
GP_EXPORT nvmlReturn_t
nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
    nvmlReturn_t nr = initialised();
    char path[32], text[1024];
    ssize_t n;

    if (nr != NVML_SUCCESS)
        return nr;
    snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
    GP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? NVML_ERROR_NO_PERMISSION : NVML_ERROR_NOT_FOUND;
    n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return NVML_ERROR_NOT_FOUND;
    text[n] = '\0'; /* arguments end with NUL: only the first is taken */
    return nv_text(text, name, length);
}

/* --- events: there are none, but who waits for them waits -------------------------------- */

struct nvmlEventSet_st {
    int unused;
};

GP_EXPORT nvmlReturn_t
nvmlEventSetCreate(nvmlEventSet_t *set)
{
    nvmlReturn_t nr = initialised();

    if (nr == NVML_SUCCESS && set == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr != NVML_SUCCESS)
        return nr;
    *set = calloc(1, sizeof(**set));
    return *set != NULL ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

GP_EXPORT nvmlReturn_t
nvmlEventSetFree(nvmlEventSet_t set)
{
    nvmlReturn_t nr = initialised();

    if (nr == NVML_SUCCESS)
        free(set);
    return nr;
}

GP_EXPORT nvmlReturn_t
nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};
    nvmlReturn_t nr = initialised();

    if (nr == NVML_SUCCESS && (set == NULL || data == NULL))
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr != NVML_SUCCESS)
        return nr;
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
    return NVML_ERROR_TIMEOUT;
}

GP_EXPORT nvmlReturn_t
nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
    return nvmlEventSetWait_v2(set, data, timeout_ms);
}

GP_EXPORT nvmlReturn_t
nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
    nvmlReturn_t nr = nv_pool_check(device);

    if (nr == NVML_SUCCESS && types == NULL)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *types = 0;
    return nr;
}
