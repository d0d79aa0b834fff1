/* backend/driver/real/nvml.c */
#include "backend/driver/nvml.h"

#include "protocol/abi/nvml_types.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#define NVML_LIBRARY "libnvidia-ml.so.1"

/* Public functions of NVML; each but the first two may be missing. */
struct nvml_table {
    nvmlReturn_t (*nvmlInit_v2)(void);
    nvmlReturn_t (*nvmlDeviceGetHandleByPciBusId_v2)(const char *, nvmlDevice_t *);
    nvmlReturn_t (*nvmlDeviceGetMemoryInfo)(nvmlDevice_t, nvmlMemory_t *);
    nvmlReturn_t (*nvmlDeviceGetMemoryInfo_v2)(nvmlDevice_t, nvmlMemory_v2_t *);
    nvmlReturn_t (*nvmlDeviceGetUtilizationRates)(nvmlDevice_t, nvmlUtilization_t *);
    nvmlReturn_t (*nvmlDeviceGetTemperature)(nvmlDevice_t, unsigned, unsigned *);
    nvmlReturn_t (*nvmlDeviceGetPowerUsage)(nvmlDevice_t, unsigned *);
    nvmlReturn_t (*nvmlDeviceGetEnforcedPowerLimit)(nvmlDevice_t, unsigned *);
    nvmlReturn_t (*nvmlDeviceGetClockInfo)(nvmlDevice_t, unsigned, unsigned *);
    nvmlReturn_t (*nvmlDeviceGetFanSpeed)(nvmlDevice_t, unsigned *);
    nvmlReturn_t (*nvmlDeviceGetPerformanceState)(nvmlDevice_t, nvmlPstates_t *);
    nvmlReturn_t (*nvmlDeviceGetEccMode)(nvmlDevice_t, nvmlEnableState_t *, nvmlEnableState_t *);
    nvmlReturn_t (*nvmlDeviceGetTotalEccErrors)(nvmlDevice_t, unsigned, unsigned,
                                                unsigned long long *);
};

#define SYMBOL(name)                                                                               \
    {                                                                                              \
#name, offsetof(struct nvml_table, name)                                                   \
    }
static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    SYMBOL(nvmlInit_v2),
    SYMBOL(nvmlDeviceGetHandleByPciBusId_v2),
    SYMBOL(nvmlDeviceGetMemoryInfo),
    SYMBOL(nvmlDeviceGetMemoryInfo_v2),
    SYMBOL(nvmlDeviceGetUtilizationRates),
    SYMBOL(nvmlDeviceGetTemperature),
    SYMBOL(nvmlDeviceGetPowerUsage),
    SYMBOL(nvmlDeviceGetEnforcedPowerLimit),
    SYMBOL(nvmlDeviceGetClockInfo),
    SYMBOL(nvmlDeviceGetFanSpeed),
    SYMBOL(nvmlDeviceGetPerformanceState),
    SYMBOL(nvmlDeviceGetEccMode),
    SYMBOL(nvmlDeviceGetTotalEccErrors),
};

/* Written once under once. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct nvml_table table;
static bool usable;

static void
load(void)
{
    void *library = dlopen(NVML_LIBRARY, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        log_info("%s: %s; temperature, power and load are not shown", NVML_LIBRARY, dlerror());
        return;
    }
    for (size_t i = 0; i < GP_ARRAY_LEN(symbols); i++) {
        void *symbol = dlsym(library, symbols[i].name);

        memcpy((char *)&table + symbols[i].offset, &symbol, sizeof(symbol));
    }
    if (table.nvmlInit_v2 == NULL || table.nvmlDeviceGetHandleByPciBusId_v2 == NULL ||
        table.nvmlInit_v2() != NVML_SUCCESS) {
        log_info("%s cannot be used; temperature, power and load are not shown", NVML_LIBRARY);
        return; /* stays loaded: it may have threads */
    }
    usable = true;
}

static void
memory(nvmlDevice_t device, uint64_t *values)
{
    nvmlMemory_v2_t v2 = {.version = NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2)};
    nvmlMemory_t v1;

    if (table.nvmlDeviceGetMemoryInfo_v2 != NULL &&
        table.nvmlDeviceGetMemoryInfo_v2(device, &v2) == NVML_SUCCESS) {
        values[WIRE_STATUS_MEMORY_TOTAL_BYTES] = v2.total;
        values[WIRE_STATUS_MEMORY_FREE_BYTES] = v2.free;
        values[WIRE_STATUS_MEMORY_RESERVED_BYTES] = v2.reserved;
    } else if (table.nvmlDeviceGetMemoryInfo != NULL &&
               table.nvmlDeviceGetMemoryInfo(device, &v1) == NVML_SUCCESS) {
        values[WIRE_STATUS_MEMORY_TOTAL_BYTES] = v1.total;
        values[WIRE_STATUS_MEMORY_FREE_BYTES] = v1.free;
    }
}

static void
number(nvmlReturn_t (*get)(nvmlDevice_t, unsigned *), nvmlDevice_t device, uint64_t *value)
{
    unsigned n;

    if (get != NULL && get(device, &n) == NVML_SUCCESS)
        *value = n;
}

static void
number_of(nvmlReturn_t (*get)(nvmlDevice_t, unsigned, unsigned *), nvmlDevice_t device,
          unsigned which, uint64_t *value)
{
    unsigned n;

    if (get != NULL && get(device, which, &n) == NVML_SUCCESS)
        *value = n;
}

static void
errors(nvmlDevice_t device, uint64_t *values)
{
    enum {
        UNCORRECTED = 1,
        SINCE_BOOT = 0
    };
    nvmlEnableState_t now, pending;
    unsigned long long count;

    if (table.nvmlDeviceGetEccMode != NULL &&
        table.nvmlDeviceGetEccMode(device, &now, &pending) == NVML_SUCCESS)
        values[WIRE_STATUS_ECC_ON] = now;
    if (table.nvmlDeviceGetTotalEccErrors != NULL &&
        table.nvmlDeviceGetTotalEccErrors(device, UNCORRECTED, SINCE_BOOT, &count) == NVML_SUCCESS)
        values[WIRE_STATUS_ECC_UNCORRECTED] = count;
}

void
be_nvml_status(const char *pci_bus_id, uint64_t values[WIRE_STATUS_COUNT])
{
    nvmlUtilization_t busy;
    nvmlDevice_t device;

    pthread_once(&once, load);
    if (!usable || table.nvmlDeviceGetHandleByPciBusId_v2(pci_bus_id, &device) != NVML_SUCCESS)
        return;
    memory(device, values);
    if (table.nvmlDeviceGetUtilizationRates != NULL &&
        table.nvmlDeviceGetUtilizationRates(device, &busy) == NVML_SUCCESS) {
        values[WIRE_STATUS_BUSY_PERCENT] = busy.gpu;
        values[WIRE_STATUS_MEMORY_BUSY_PERCENT] = busy.memory;
    }
    number_of(table.nvmlDeviceGetTemperature, device, 0, &values[WIRE_STATUS_TEMPERATURE_C]);
    number(table.nvmlDeviceGetPowerUsage, device, &values[WIRE_STATUS_POWER_MW]);
    number(table.nvmlDeviceGetEnforcedPowerLimit, device, &values[WIRE_STATUS_POWER_LIMIT_MW]);
    number_of(table.nvmlDeviceGetClockInfo, device, NVML_CLOCK_SM,
              &values[WIRE_STATUS_SM_CLOCK_MHZ]);
    number_of(table.nvmlDeviceGetClockInfo, device, NVML_CLOCK_MEM,
              &values[WIRE_STATUS_MEMORY_CLOCK_MHZ]);
    number(table.nvmlDeviceGetFanSpeed, device, &values[WIRE_STATUS_FAN_PERCENT]);
    number(table.nvmlDeviceGetPerformanceState, device, &values[WIRE_STATUS_PERFORMANCE_STATE]);
    errors(device, values);
}
