/* backend/driver/soft/dev/profile.c -- reads the profile from file and environment */
#include "backend/driver/soft/dev/profile.h"

#include "protocol/base/log.h"
#include "protocol/base/parse.h"
#include "protocol/base/util.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

struct profile_reader {
    struct sd_profile *profiles;
    int max;
    int count;
    const char *where; /* for messages */
    bool failed;
};

static const struct sd_profile profile_default = {
    .name = "GPUpool software device",
    /* Above all machine code that CUDA 13.0 ships, so that its libraries choose their PTX. */
    .cc_major = 13,
    .cc_minor = 0,
    .memory_bytes = 8ull << 30,
    .persisting_l2_bytes = 6ull << 20,
    .multiprocessors = 16,
};

static bool
set_number(const char *value, uint64_t lowest, uint64_t highest, uint64_t *out_p)
{
    uint64_t number;

    if (gp_parse_u64(value, &number) != GP_OK || number < lowest || number > highest)
        return false;
    *out_p = number;
    return true;
}

static bool
set_capability(struct sd_profile *profile, const char *value)
{
    unsigned cc_major, cc_minor;
    int used = 0;

    if (sscanf(value, "%u.%u%n", &cc_major, &cc_minor, &used) != 2 || value[used] != '\0' ||
        cc_major < 5 || cc_major > 20 || cc_minor > 9)
        return false;
    profile->cc_major = (int)cc_major;
    profile->cc_minor = (int)cc_minor;
    return true;
}

/* One key of one device; false if the key is unknown or the value makes no sense. */
static bool
profile_set(struct sd_profile *profile, const char *key, const char *value)
{
    uint64_t number;

    if (strcmp(key, "name") == 0)
        return snprintf(profile->name, sizeof(profile->name), "%s", value) > 0;
    if (strcmp(key, "compute_capability") == 0)
        return set_capability(profile, value);
    if (strcmp(key, "memory") == 0)
        return gp_parse_bytes(value, &profile->memory_bytes) == GP_OK &&
               profile->memory_bytes >= 1u << 20 && profile->memory_bytes <= 1ull << 40;
    if (strcmp(key, "instant") == 0)
        return gp_parse_bool(value, &profile->instant) == GP_OK;
    if (strcmp(key, "strict") == 0)
        return gp_parse_bool(value, &profile->strict) == GP_OK;
    if (strcmp(key, "shared") == 0)
        return snprintf(profile->shared, sizeof(profile->shared), "%s", value) <
               (int)sizeof(profile->shared);
    if (strcmp(key, "launch_cost") == 0)
        return gp_parse_time(value, &profile->launch_ns) == GP_OK;
    if (strcmp(key, "thread_rate") == 0)
        return gp_parse_u64(value, &profile->threads_per_second) == GP_OK;
    if (strcmp(key, "copy_rate") == 0)
        return gp_parse_bytes(value, &profile->copy_bytes_per_second) == GP_OK;
    if (strcmp(key, "submit_cost") == 0)
        return gp_parse_time(value, &profile->submit_ns) == GP_OK;
    if (strcmp(key, "persisting_l2") == 0)
        return gp_parse_bytes(value, &profile->persisting_l2_bytes) == GP_OK &&
               profile->persisting_l2_bytes <= SD_L2_BYTES;
    if (strcmp(key, "multiprocessors") == 0) {
        if (!set_number(value, 1, 1024, &number))
            return false;
        profile->multiprocessors = (int)number;
        return true;
    }
    if (strcmp(key, "threads") == 0) {
        if (!set_number(value, 0, 1024, &number))
            return false;
        profile->threads = (unsigned)number;
        return true;
    }
    return false;
}

static bool
reader_set(struct profile_reader *reader, int ordinal, const char *key, const char *value)
{
    int from = ordinal < 0 ? 0 : ordinal;
    int to = ordinal < 0 ? reader->max : ordinal + 1;
    uint64_t number;
    bool good = true;

    if (strcmp(key, "devices") == 0 && ordinal < 0) {
        good = set_number(value, 1, (uint64_t)reader->max, &number);
        if (good)
            reader->count = (int)number;
    } else {
        for (int i = from; i < to && good; i++)
            good = profile_set(&reader->profiles[i], key, value);
    }
    if (!good) {
        log_error("software device: %s: \"%s = %s\" makes no sense", reader->where, key, value);
        reader->failed = true;
    }
    return good;
}

/* inih's callback: 1 means that the line is good. */
static int
reader_line(void *user, const char *section, const char *key, const char *value)
{
    struct profile_reader *reader = user;
    unsigned ordinal;
    int used = 0;

    if (strcmp(section, "device") == 0)
        return reader_set(reader, -1, key, value);
    if (sscanf(section, "device %u%n", &ordinal, &used) == 1 && section[used] == '\0' &&
        ordinal < (unsigned)reader->max)
        return reader_set(reader, (int)ordinal, key, value);
    log_error("software device: %s: section [%s] is not known", reader->where, section);
    reader->failed = true;
    return 0;
}

static void
reader_environment(struct profile_reader *reader)
{
    static const char *const names[][2] = {
        {"GPUPOOL_SOFT_DEVICES", "devices"},
        {"GPUPOOL_SOFT_MEMORY", "memory"},
        {"GPUPOOL_SOFT_CC", "compute_capability"},
        {"GPUPOOL_SOFT_SMS", "multiprocessors"},
        {"GPUPOOL_SOFT_THREADS", "threads"},
        {"GPUPOOL_SOFT_INSTANT", "instant"},
        {"GPUPOOL_SOFT_STRICT", "strict"},
        {"GPUPOOL_SOFT_SHARED", "shared"},
        {"GPUPOOL_SOFT_LAUNCH_COST", "launch_cost"},
        {"GPUPOOL_SOFT_THREAD_RATE", "thread_rate"},
        {"GPUPOOL_SOFT_COPY_RATE", "copy_rate"},
        {"GPUPOOL_SOFT_SUBMIT_COST", "submit_cost"},
        {"GPUPOOL_SOFT_PERSISTING_L2", "persisting_l2"},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i][0]);

        if (value == NULL || *value == '\0')
            continue;
        reader->where = names[i][0];
        reader_set(reader, -1, names[i][1], value);
    }
}

enum gp_status
sd_profiles_load(struct sd_profile *profiles, int max, int *count_p)
{
    const char *path = getenv("GPUPOOL_SOFT_PROFILE");
    struct profile_reader reader = {.profiles = profiles, .max = max, .count = 1, .where = path};

    for (int i = 0; i < max; i++)
        profiles[i] = profile_default;
    if (path != NULL && *path != '\0') {
        int rc = ini_parse(path, reader_line, &reader);

        if (rc < 0)
            log_error("software device: profile %s cannot be read: %m", path);
        else if (rc > 0 && !reader.failed)
            log_error("software device: profile %s: line %d is no \"key = value\"", path, rc);
        if (rc != 0)
            return GP_ERR_INVALID;
    }
    reader_environment(&reader);
    if (reader.failed)
        return GP_ERR_INVALID;
    *count_p = reader.count;
    return GP_OK;
}
