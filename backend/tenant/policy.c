/* backend/tenant/policy.c -- the keys of a tenant's section, and what they mean */
#include "backend/tenant/policy.h"

#include "protocol/base/log.h"
#include "protocol/base/parse.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static const struct gp_option policy_options[] = {
    {"match", "RULE", GP_OPT_STRINGS, NULL,
     "who belongs to it: cn:NAME or uri:URI of the client's certificate, with * and ?; uid:NUMBER "
     "or "
     "gid:NUMBER of a process at shm://; local: who has no certificate, from this machine; *: "
     "anybody. The first tenant that matches counts",
     NULL, NULL, NULL, false},
    {"memory", "BYTES", GP_OPT_BYTES, NULL, "device memory that it may have of each device", NULL,
     NULL, NULL, false},
    {"memory-total", "BYTES", GP_OPT_BYTES, NULL, "device memory that it may have of all together",
     NULL, NULL, NULL, false},
    {"share", "PERCENT", GP_OPT_NUMBER, "100",
     "its part of a device's time where several want it, in relation to theirs", NULL, NULL, NULL,
     false},
    {"policy", "KIND", GP_OPT_ENUM, "soft",
     "soft: it may have what nobody else wants; force: never more than its share", NULL, NULL,
     "soft|force", false},
    {"priority", "CLASS", GP_OPT_ENUM, "normal", "a higher class goes before all lower ones", NULL,
     NULL, "high|normal|low", false},
    {"floor", "PERCENT", GP_OPT_NUMBER, "2",
     "of a device's time that it gets though a higher class wants all of it; 0: none", NULL, NULL,
     NULL, false},
    {"max-kernel-time", "TIME", GP_OPT_TIME, NULL,
     "end a session whose kernel or graph runs for longer; unset: never", NULL, NULL, NULL, false},
    {"max-hold-time", "TIME", GP_OPT_TIME, NULL,
     "end a session whose work does not end for so long, while others wait for memory of a device "
     "that it holds (--oversubscribe); 0: never; unset: twice max-kernel-time, without that 10m",
     NULL, NULL, NULL, false},
    {"idle", "TIME", GP_OPT_TIME, NULL,
     "end a session that gave the devices no work for so long, after it was told; unset: never",
     NULL, NULL, NULL, false},
    {"idle-grace", "TIME", GP_OPT_TIME, "5m", "between being told that it is idle and its end",
     NULL, NULL, NULL, false},
    {"sessions", "COUNT", GP_OPT_NUMBER, "0", "its sessions at once; 0: as many as the server has",
     NULL, NULL, NULL, false},
    {"devices", "NAME", GP_OPT_STRINGS, NULL, "the devices it may use, by index or GPU-UUID", NULL,
     NULL, NULL, false},
    {"models", "NAME", GP_OPT_STRINGS, NULL,
     "models of device that it may use, a part of the name or a pattern with *", NULL, NULL, NULL,
     false},
    {NULL},
};

const struct gp_option_set be_policy_option_set = {"tenant", "a section of the configuration file",
                                                   NULL, "tenant", policy_options};

/* -- reading ----------------------------------------------------------------------------------- */

/* The name in [tenant "NAME"]; false if the section is something else. */
static bool
section_name(const char *section, char *name)
{
    size_t len = strlen(section);

    if (strncmp(section, "tenant \"", 8) != 0 || len < 10 || section[len - 1] != '"' ||
        len - 9 >= BE_TENANT_NAME_BYTES)
        return false;
    memcpy(name, section + 8, len - 9);
    name[len - 9] = '\0';
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~' || *c == '"')
            return false;
    return true;
}

static struct gp_options *
section_options(struct be_policies *policies, const char *name)
{
    struct gp_options *options;
    uint32_t i;

    for (i = 0; i < policies->count; i++)
        if (strcmp(policies->list[i].name, name) == 0)
            return policies->options[i];
    if (i == BE_TENANTS_MAX || gp_options_create(&be_policy_option_set, &options) != GP_OK)
        return NULL;
    memcpy(policies->list[i].name, name, strlen(name) + 1);
    policies->options[i] = options;
    policies->count++;
    return options;
}

enum gp_status
be_policies_take(void *user, const char *section, const char *key, const char *value,
                 const char *where)
{
    char name[BE_TENANT_NAME_BYTES];
    struct gp_options *options;

    if (strncmp(section, "tenant", 6) != 0)
        return GP_ERR_NOT_FOUND;
    if (!section_name(section, name)) {
        log_error("%s: [%s] is not [tenant \"NAME\"] with a name of up to %d plain characters",
                  where, section, BE_TENANT_NAME_BYTES - 1);
        return GP_ERR_INVALID;
    }
    options = section_options(user, name);
    if (options == NULL) {
        log_error("%s: more than %d tenants", where, BE_TENANTS_MAX);
        return GP_ERR_LIMIT;
    }
    return gp_options_set(options, key, value, where);
}

/* -- checking ---------------------------------------------------------------------------------- */

static enum gp_status
list_copy(const struct gp_options *options, const char *tenant, const char *name, char *to,
          size_t item_bytes, size_t max, uint32_t *count_p)
{
    size_t count = gp_options_count(options, name);

    if (count > max) {
        log_error("tenant %s: more than %zu in %s", tenant, max, name);
        return GP_ERR_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        const char *item = gp_options_at(options, name, i);

        if (strlen(item) >= item_bytes) {
            log_error("tenant %s: \"%s\" in %s is too long", tenant, item, name);
            return GP_ERR_INVALID;
        }
        memcpy(to + i * item_bytes, item, strlen(item) + 1);
    }
    *count_p = (uint32_t)count;
    return GP_OK;
}

static enum gp_status
percent(const struct gp_options *options, const char *tenant, const char *name, uint64_t least,
        uint32_t *out_p)
{
    uint64_t value = gp_options_u64(options, name);

    if (value < least || value > 100) {
        log_error("%s: tenant %s: %s is %llu .. 100 percent", gp_options_where(options, name),
                  tenant, name, (unsigned long long)least);
        return GP_ERR_INVALID;
    }
    *out_p = (uint32_t)value;
    return GP_OK;
}

static enum be_priority
priority_of(const char *text)
{
    if (strcmp(text, "high") == 0)
        return BE_PRIORITY_HIGH;
    return strcmp(text, "low") == 0 ? BE_PRIORITY_LOW : BE_PRIORITY_NORMAL;
}

/* The number behind uid: or gid:. */
static bool
rule_id(const char *rule, const char *kind, uint32_t *id_p)
{
    uint64_t id;

    if (strncmp(rule, kind, 4) != 0 || gp_parse_u64(rule + 4, &id) != GP_OK || id > UINT32_MAX)
        return false;
    *id_p = (uint32_t)id;
    return true;
}

static enum gp_status
rules_check(const struct be_policy *policy)
{
    if (policy->rule_count == 0) {
        log_error("tenant %s: nobody belongs to it, \"match\" is missing", policy->name);
        return GP_ERR_INVALID;
    }
    for (uint32_t i = 0; i < policy->rule_count; i++) {
        const char *rule = policy->rules[i];
        uint32_t id;

        if (rule_id(rule, "uid:", &id) || rule_id(rule, "gid:", &id))
            continue;
        if (strncmp(rule, "cn:", 3) != 0 && strncmp(rule, "uri:", 4) != 0 &&
            strcmp(rule, "local") != 0 && strcmp(rule, "*") != 0) {
            log_error(
                "tenant %s: \"%s\" is not cn:NAME, uri:URI, uid:NUMBER, gid:NUMBER, local or *",
                policy->name, rule);
            return GP_ERR_INVALID;
        }
    }
    return GP_OK;
}

static enum gp_status
policy_fill(struct be_policy *policy, const struct gp_options *options)
{
    uint64_t sessions = gp_options_u64(options, "sessions");
    enum gp_status status;

    status = list_copy(options, policy->name, "match", policy->rules[0], BE_TENANT_RULE_BYTES,
                       BE_TENANT_RULES_MAX, &policy->rule_count);
    if (status == GP_OK)
        status = rules_check(policy);
    if (status == GP_OK)
        status = list_copy(options, policy->name, "devices", policy->devices[0],
                           BE_TENANT_LISTED_BYTES, BE_TENANT_LISTED_MAX, &policy->device_count);
    if (status == GP_OK)
        status = list_copy(options, policy->name, "models", policy->models[0],
                           BE_TENANT_LISTED_BYTES, BE_TENANT_LISTED_MAX, &policy->model_count);
    if (status == GP_OK)
        status = percent(options, policy->name, "share", 1, &policy->share);
    if (status == GP_OK)
        status = percent(options, policy->name, "floor", 0, &policy->floor);
    if (status != GP_OK)
        return status;
    policy->memory_bytes = gp_options_u64(options, "memory");
    policy->memory_total_bytes = gp_options_u64(options, "memory-total");
    policy->force = strcmp(gp_options_text(options, "policy"), "force") == 0;
    policy->priority = priority_of(gp_options_text(options, "priority"));
    policy->idle_ns = gp_options_u64(options, "idle");
    policy->grace_ns = gp_options_u64(options, "idle-grace");
    policy->max_kernel_ns = gp_options_u64(options, "max-kernel-time");
    policy->max_hold_ns = gp_options_text(options, "max-hold-time") != NULL
                              ? gp_options_u64(options, "max-hold-time")
                              : BE_HOLD_UNSET;
    policy->sessions = sessions > UINT32_MAX ? UINT32_MAX : (uint32_t)sessions;
    return GP_OK;
}

enum gp_status
be_policies_finish(struct be_policies *policies)
{
    enum gp_status status = GP_OK;

    for (uint32_t i = 0; i < policies->count && status == GP_OK; i++)
        status = policy_fill(&policies->list[i], policies->options[i]);
    return status;
}

void
be_policies_fini(struct be_policies *policies)
{
    for (uint32_t i = 0; i < policies->count; i++)
        gp_options_destroy(policies->options[i]);
    memset(policies, 0, sizeof(*policies));
}

static enum gp_status
policy_change(struct be_policy *policy, const struct gp_options *options, const char *key)
{
    uint64_t number = gp_options_u64(options, key);

    if (strcmp(key, "memory") == 0)
        policy->memory_bytes = number;
    else if (strcmp(key, "memory-total") == 0)
        policy->memory_total_bytes = number;
    else if (strcmp(key, "share") == 0)
        return percent(options, policy->name, key, 1, &policy->share);
    else if (strcmp(key, "floor") == 0)
        return percent(options, policy->name, key, 0, &policy->floor);
    else if (strcmp(key, "policy") == 0)
        policy->force = strcmp(gp_options_text(options, key), "force") == 0;
    else if (strcmp(key, "priority") == 0)
        policy->priority = priority_of(gp_options_text(options, key));
    else if (strcmp(key, "max-kernel-time") == 0)
        policy->max_kernel_ns = number;
    else if (strcmp(key, "max-hold-time") == 0)
        policy->max_hold_ns = number;
    else if (strcmp(key, "sessions") == 0)
        policy->sessions = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    else
        return GP_ERR_NOT_FOUND;
    return GP_OK;
}

enum gp_status
be_policy_change(struct be_policy *policy, const char *key, const char *value)
{
    struct gp_options *options;
    enum gp_status status;

    status = gp_options_create(&be_policy_option_set, &options);
    if (status != GP_OK)
        return status;
    status = gp_options_set(options, key, value, "quota");
    if (status == GP_OK)
        status = policy_change(policy, options, key);
    gp_options_destroy(options);
    return status;
}

/* -- asking ------------------------------------------------------------------------------------ */

static bool
rule_matches(const char *rule, const struct be_applicant *who)
{
    uint32_t id;

    if (strcmp(rule, "*") == 0)
        return true;
    if (strcmp(rule, "local") == 0)
        return who->local;
    if (rule_id(rule, "uid:", &id))
        return who->has_ids && who->uid == id;
    if (rule_id(rule, "gid:", &id)) {
        for (unsigned i = 0; i < who->gid_count; i++)
            if (who->has_ids && who->gids[i] == id)
                return true;
        return false;
    }
    if (strncmp(rule, "cn:", 3) == 0)
        return who->common_name[0] != '\0' && fnmatch(rule + 3, who->common_name, 0) == 0;
    for (unsigned i = 0; i < who->uri_count; i++)
        if (fnmatch(rule + 4, who->uris[i], 0) == 0)
            return true;
    return false;
}

bool
be_policy_matches(const struct be_policy *policy, const struct be_applicant *who)
{
    for (uint32_t i = 0; i < policy->rule_count; i++)
        if (rule_matches(policy->rules[i], who))
            return true;
    return false;
}

bool
be_policy_allows_device(const struct be_policy *policy, unsigned index, const char *uuid,
                        const char *model)
{
    bool allowed = policy->device_count == 0;
    char number[16];

    snprintf(number, sizeof(number), "%u", index);
    for (uint32_t i = 0; i < policy->device_count && !allowed; i++)
        allowed =
            strcmp(policy->devices[i], number) == 0 || strcasecmp(policy->devices[i], uuid) == 0;
    if (!allowed || policy->model_count == 0)
        return allowed;
    for (uint32_t i = 0; i < policy->model_count; i++)
        if (strcasestr(model, policy->models[i]) != NULL ||
            fnmatch(policy->models[i], model, FNM_CASEFOLD) == 0)
            return true;
    return false;
}
