/* frontend/core/need.c */
#include "frontend/core/need.h"

#include "protocol/base/log.h"

#include <stdio.h>
#include <string.h>

static enum gp_status
models_fill(const struct gp_options *o, struct place_need *need)
{
    size_t count = gp_options_count(o, "model");

    if (count > PLACE_MODELS_MAX) {
        log_error("%s: more than %d models", gp_options_where(o, "model"), PLACE_MODELS_MAX);
        return GP_ERR_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(gp_options_at(o, "model", i)) >= DIR_MODEL_BYTES) {
            log_error("%s: \"%s\" is too long for a model", gp_options_where(o, "model"),
                      gp_options_at(o, "model", i));
            return GP_ERR_INVALID;
        }
        snprintf(need->models[need->model_count++], DIR_MODEL_BYTES, "%s",
                 gp_options_at(o, "model", i));
    }
    return GP_OK;
}

static enum gp_status
amounts_fill(const struct gp_options *o, struct place_need *need)
{
    uint64_t gpus = gp_options_is_set(o, "gpus") ? gp_options_u64(o, "gpus") : 1;
    uint64_t share = gp_options_u64(o, "share");

    if (gpus < 1 || gpus > PLACE_GPUS_MAX) {
        log_error("%s: gpus is 1 .. %d", gp_options_where(o, "gpus"), PLACE_GPUS_MAX);
        return GP_ERR_INVALID;
    }
    if (share > 100) {
        log_error("%s: share is 0 .. 100 percent", gp_options_where(o, "share"));
        return GP_ERR_INVALID;
    }
    need->gpus = (uint32_t)gpus;
    need->share = (uint32_t)share;
    need->memory_bytes = gp_options_u64(o, "memory");
    return GP_OK;
}

static enum place_priority
priority_of(const char *text)
{
    return strcmp(text, "high") == 0     ? PLACE_HIGH
           : strcmp(text, "normal") == 0 ? PLACE_NORMAL
           : strcmp(text, "low") == 0    ? PLACE_LOW
                                         : PLACE_UNKNOWN;
}

bool
fe_need_fill(const struct gp_options *o, struct place_need *need, enum gp_status *status_p)
{
    const char *prefer = gp_options_text(o, "prefer"), *region = gp_options_text(o, "region");

    memset(need, 0, sizeof(*need));
    need->only_preferred = strncmp(prefer, "only-", 5) == 0;
    need->prefer = strstr(prefer, "cloud") != NULL ? PLACE_CLOUD : PLACE_ONPREM;
    need->priority = priority_of(gp_options_text(o, "priority"));
    need->spread = strcmp(gp_options_text(o, "order"), "spread") == 0;
    if (region != NULL)
        snprintf(need->region, sizeof(need->region), "%.*s", PLACE_TEXT - 1, region);
    *status_p = models_fill(o, need);
    if (*status_p == GP_OK)
        *status_p = amounts_fill(o, need);
    return gp_options_is_set(o, "gpus") || need->model_count > 0 || need->memory_bytes > 0 ||
           need->share > 0 || need->priority != PLACE_UNKNOWN || region != NULL ||
           need->only_preferred;
}

/* Where there are no classes nobody goes before others. */
static enum place_priority
priority_there(const struct wire_device *device)
{
    _Static_assert((int)PLACE_HIGH == WIRE_PRIORITY_HIGH && (int)PLACE_LOW == WIRE_PRIORITY_LOW,
                   "as on the line");
    return device->priority == 0 ? PLACE_NORMAL : (enum place_priority)device->priority;
}

struct place_gpu
fe_need_gpu(const struct wire_device *device)
{
    struct place_gpu gpu = {.total_bytes = device->total_bytes,
                            .free_bytes = device->free_bytes,
                            .share_free = 100, /* not told */
                            .priority = priority_there(device),
                            .healthy = true};

    if (device->model[0] != '\0')
        snprintf(gpu.model, sizeof(gpu.model), "%s", device->model);
    else
        dir_model_key(device->name, NULL, gpu.model);
    return gpu;
}

unsigned
fe_need_choose(const struct place_need *need, const struct wire_device *devices, unsigned *order,
               unsigned count, char why[PLACE_TEXT])
{
    struct place_server server = {.name = "it", .rtt_ns = UINT64_MAX};
    struct place_need here = *need;
    bool taken[PLACE_GPUS_MAX] = {false};
    unsigned kept = 0, all = count < PLACE_GPUS_MAX ? count : PLACE_GPUS_MAX;

    /* What only the directory knows is not asked again. */
    here.region[0] = '\0';
    here.only_preferred = false;
    here.share = 0;
    for (unsigned i = 0; i < all; i++)
        server.gpus[server.gpu_count++] = fe_need_gpu(&devices[order[i]]);
    (void)place_server_meets(&here, &server, why);
    while (kept < need->gpus) {
        unsigned best = all;

        for (unsigned i = 0; i < all; i++) {
            uint64_t mine = server.gpus[i].free_bytes;

            if (taken[i] || !place_gpu_meets(&here, &server.gpus[i]))
                continue;
            if (best == all || (need->spread ? mine > server.gpus[best].free_bytes
                                             : mine < server.gpus[best].free_bytes))
                best = i;
        }
        if (best == all)
            break;
        taken[best] = true;
        kept++;
    }
    kept = 0;
    for (unsigned i = 0; i < all; i++)
        if (taken[i])
            order[kept++] = order[i];
    return kept;
}
