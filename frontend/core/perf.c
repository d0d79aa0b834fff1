/* frontend/core/perf.c */
#include "frontend/core/perf.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t fe_perf_bits = UINT32_MAX;

static const struct {
    const char *name;
    enum fe_perf bit;
} switches[] = {
    {"no_batch", FE_PERF_BATCH},         {"no_spin", FE_PERF_SPIN},
    {"no_zero_copy", FE_PERF_ZERO_COPY}, {"no_cache", FE_PERF_CACHE},
    {"no_async", FE_PERF_ASYNC},         {"no_resume", FE_PERF_RESUME},
    {"no_images", FE_PERF_IMAGES},       {"no_promise", FE_PERF_PROMISE},
    {"no_compress", FE_PERF_COMPRESS},   {"no_direct", FE_PERF_DIRECT},
    {"no_content", FE_PERF_CONTENT},
};

void
fe_perf_names(char *out, size_t bytes)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < GP_ARRAY_LEN(switches) && len < bytes; i++)
        len +=
            (size_t)snprintf(out + len, bytes - len, "%s%s", i > 0 ? ", " : "", switches[i].name);
}

static void
switch_off(const char *word, size_t len)
{
    char names[256];
    size_t i;

    for (i = 0; i < GP_ARRAY_LEN(switches); i++) {
        if (strlen(switches[i].name) == len && memcmp(switches[i].name, word, len) == 0) {
            fe_perf_bits &= ~(uint32_t)switches[i].bit;
            return;
        }
    }
    fe_perf_names(names, sizeof(names));
    log_warn("GPUPOOL_PERF: unknown switch %.*s, there are %s", (int)len, word, names);
}

__attribute__((constructor)) static void
read_switches(void)
{
    const char *at = getenv("GPUPOOL_PERF");

    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ", ");

        if (len > 0)
            switch_off(at, len);
        at += len + (at[len] != '\0');
    }
}
