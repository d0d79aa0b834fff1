/* backend/session/count.c */
#include "backend/session/count.h"

#include "protocol/base/util.h"
#include "wire_calls.h"

#include <string.h>

static uint8_t classes[WIRE_CALL_COUNT];

/* The first that fits counts. */
static const struct {
    const char *prefix;
    enum be_count class;
} prefixes[] = {
    {"cuLaunch", BE_COUNT_LAUNCHES}, {"cuGraphLaunch", BE_COUNT_LAUNCHES},
    {"cuMemcpy", BE_COUNT_COPIES},   {"cuMemset", BE_COUNT_COPIES},
    {"gpCopy", BE_COUNT_COPIES},     {"gpPull", BE_COUNT_COPIES},
    {"gpPut", BE_COUNT_COPIES},      {"cuMem", BE_COUNT_MEMORY},
    {"cuArray", BE_COUNT_MEMORY},    {"gpLease", BE_COUNT_MEMORY},
    {"gpMem", BE_COUNT_MEMORY},      {"gpManaged", BE_COUNT_MEMORY},
    {"cuModule", BE_COUNT_MODULES},  {"cuLibrary", BE_COUNT_MODULES},
    {"cuLink", BE_COUNT_MODULES},    {"cuKernel", BE_COUNT_MODULES},
    {"cuFunc", BE_COUNT_MODULES},    {"gpUpload", BE_COUNT_MODULES},
    {"cuStream", BE_COUNT_STREAMS},  {"cuEvent", BE_COUNT_STREAMS},
    {"cuGraph", BE_COUNT_GRAPHS},    {"gpPages", BE_COUNT_COPIES},
};

static enum be_count
class_of(const char *name)
{
    for (size_t i = 0; i < GP_ARRAY_LEN(prefixes); i++)
        if (strncmp(name, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            return prefixes[i].class;
    return BE_COUNT_OTHERS;
}

void
be_count_init(void)
{
    for (size_t id = 0; id < WIRE_CALL_COUNT; id++)
        classes[id] = (uint8_t)(wire_calls[id].name != NULL ? class_of(wire_calls[id].name)
                                                            : BE_COUNT_OTHERS);
}

enum be_count
be_count_class(uint16_t id)
{
    return (enum be_count)classes[id];
}
