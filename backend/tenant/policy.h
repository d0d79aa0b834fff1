/* backend/tenant/policy.h -- who a tenant is and what it was promised
 *
 * A tenant is a section of the configuration file:
 *
 *   [tenant "research"]
 *   match = uri:gpupool:tenant/research, cn:alice
 *   memory = 8g
 *   share = 30
 *
 * All keys stand in one table (policy.c). The structs hold no pointers, so they may lie in memory
 * that processes share.
 *
 * Threads: none; pure but for reading and the log.
 */
#ifndef BE_POLICY_H
#define BE_POLICY_H

#include "protocol/base/options.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_TENANTS_MAX         64
#define BE_TENANT_NAME_BYTES   40 /* with its 0 */
#define BE_TENANT_RULES_MAX    8
#define BE_TENANT_RULE_BYTES   256
#define BE_TENANT_LISTED_MAX   16
#define BE_TENANT_LISTED_BYTES 64

#define BE_HOLD_UNSET   UINT64_MAX    /* twice max_kernel_ns, or else: */
#define BE_HOLD_DEFAULT 600000000000u /* ns */

/* Lower is served first. */
enum be_priority {
    BE_PRIORITY_HIGH,
    BE_PRIORITY_NORMAL,
    BE_PRIORITY_LOW,
};

struct be_policy {
    char name[BE_TENANT_NAME_BYTES];
    uint32_t rule_count, device_count, model_count;
    char rules[BE_TENANT_RULES_MAX][BE_TENANT_RULE_BYTES]; /* cn:PATTERN, uri:PATTERN, uid:N, gid:N,
                                                              local, * */
    char devices[BE_TENANT_LISTED_MAX][BE_TENANT_LISTED_BYTES]; /* none: all */
    char models[BE_TENANT_LISTED_MAX][BE_TENANT_LISTED_BYTES];  /* none: all */
    uint64_t memory_bytes;                                      /* of each device; 0: unlimited */
    uint64_t memory_total_bytes;                                /* of all; 0: unlimited */
    uint32_t share;                                             /* percent, 1 .. 100 */
    bool force;                                                 /* never more than share */
    uint32_t floor; /* percent that it gets though a higher class wants all */
    enum be_priority priority;
    uint32_t sessions;          /* 0: unlimited */
    uint64_t idle_ns, grace_ns; /* without work for so long it is told, then ended; 0: never */
    uint64_t max_kernel_ns;     /* a session whose work takes longer is ended; 0: never */
    uint64_t max_hold_ns;       /* ... or whose work keeps others from memory for so long */
};

/* Who wants in. */
struct be_applicant {
    const char *common_name; /* "": no certificate */
    const char *uris[16];
    unsigned uri_count;
    bool local;   /* without certificate, from this machine */
    bool has_ids; /* the kernel vouches for the ids */
    uint32_t uid;
    const uint32_t *gids;
    unsigned gid_count;
    bool monitor; /* only looks: it counts as no session */
};

/* The tenants of a configuration, in its order. */
struct be_policies {
    uint32_t count;
    struct be_policy list[BE_TENANTS_MAX];
    /* While reading: the keys of each section. */
    struct gp_options *options[BE_TENANTS_MAX];
};

/* gp_options_other_fn with a struct be_policies of zeros as user. */
enum gp_status be_policies_take(void *policies, const char *section, const char *key,
                                const char *value, const char *where);
/* When all is read: check, and fill list. GP_ERR_INVALID is logged. */
GP_CHECK enum gp_status be_policies_finish(struct be_policies *policies);
void be_policies_fini(struct be_policies *policies);

/* Change what a tenant may have, by a key of its section: GP_ERR_NOT_FOUND for one that is not
 * about amounts (who belongs to it, devices), GP_ERR_INVALID for a value that is none (logged). */
GP_CHECK enum gp_status be_policy_change(struct be_policy *policy, const char *key,
                                         const char *value);

bool be_policy_matches(const struct be_policy *policy, const struct be_applicant *who);
bool be_policy_allows_device(const struct be_policy *policy, unsigned index, const char *uuid,
                             const char *model);

/* The table of keys, for the reference page. */
extern const struct gp_option_set be_policy_option_set;

#endif
