/* tests/unit/tenant/test_policy.c -- [tenant "name"] sections, and who belongs to whom */
#include "backend/tenant/policy.h"

#include "protocol/base/log.h"

#include <criterion/criterion.h>

#include <string.h>

static struct be_policies policies;

static const struct gp_option none[] = {{NULL}};
static const struct gp_option_set set = {"test", "", NULL, "server", none};

static enum gp_status
load(const char *text)
{
    struct gp_options *options;
    enum gp_status status;

    gp_log_set_level(GP_LOG_ERROR);
    memset(&policies, 0, sizeof(policies));
    cr_assert_eq(gp_options_create(&set, &options), GP_OK);
    gp_options_set_other(options, be_policies_take, &policies);
    status = gp_options_load_text(options, "test.ini", text);
    if (status == GP_OK)
        status = be_policies_finish(&policies);
    gp_options_destroy(options);
    return status;
}

Test(policy, a_section_says_everything)
{
    const struct be_policy *p;

    cr_assert_eq(load("[tenant \"research\"]\n"
                      "match = uri:gpupool:tenant/research, cn:alice\n"
                      "memory = 8g\nmemory-total = 12g\nshare = 30\npolicy = force\n"
                      "priority = high\nfloor = 0\nsessions = 4\ndevices = 0, GPU-abc\n"
                      "models = h200\nidle = 6h\nidle-grace = 1m\n"
                      "[tenant \"rest\"]\nmatch = *\n"),
                 GP_OK);
    cr_assert_eq(policies.count, 2);
    p = &policies.list[0];
    cr_assert_str_eq(p->name, "research");
    cr_assert_eq(p->memory_bytes, 8ull << 30);
    cr_assert_eq(p->memory_total_bytes, 12ull << 30);
    cr_assert_eq(p->share, 30);
    cr_assert(p->force);
    cr_assert_eq(p->priority, BE_PRIORITY_HIGH);
    cr_assert_eq(p->floor, 0);
    cr_assert_eq(p->sessions, 4);
    cr_assert_eq(p->idle_ns, 6ull * 3600 * 1000000000);
    cr_assert_eq(p->grace_ns, 60ull * 1000000000);
    cr_assert_eq(p->device_count, 2);
    p = &policies.list[1];
    cr_assert_eq(p->memory_bytes, 0);
    cr_assert_eq(p->share, 100);
    cr_assert(!p->force);
    cr_assert_eq(p->priority, BE_PRIORITY_NORMAL);
    cr_assert_eq(p->floor, 2);
    cr_assert_eq(p->idle_ns, 0);
    be_policies_fini(&policies);
}

Test(policy, mistakes_are_refused)
{
    static const char *const bad[] = {
        "[tenant \"a\"]\nmemory = 1g\n",                  /* nobody belongs to it */
        "[tenant \"a\"]\nmatch = alice\n",                /* no kind of rule */
        "[tenant \"a\"]\nmatch = *\nshare = 0\n",         /* nothing at all */
        "[tenant \"a\"]\nmatch = *\nshare = 101\n",       /* more than there is */
        "[tenant \"a\"]\nmatch = *\npriority = urgent\n", /* no class */
        "[tenant \"a\"]\nmatch = *\nmemory = much\n",     /* no size */
        "[tenant \"a\"]\nmatch = *\nmemroy = 1g\n",       /* no key */
        "[tenant a]\nmatch = *\n",                        /* no name */
        "[tenant \"\"]\nmatch = *\n",                     /* an empty one */
        "[tenant \"0123456789012345678901234567890123456789\"]\nmatch = *\n",
        "[other]\nmatch = *\n",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_neq(load(bad[i]), GP_OK, "%s", bad[i]);
        be_policies_fini(&policies);
    }
}

Test(policy, rules_name_people)
{
    struct be_applicant alice = {.common_name = "alice"}, bob = {.common_name = "bob"};
    struct be_applicant nobody = {.common_name = "", .local = true};

    bob.uris[bob.uri_count++] = "https://example.org";
    bob.uris[bob.uri_count++] = "gpupool:tenant/research/bob";
    cr_assert_eq(load("[tenant \"a\"]\nmatch = cn:al*, uri:gpupool:tenant/research/*\n"
                      "[tenant \"b\"]\nmatch = local\n[tenant \"c\"]\nmatch = cn:*\n"),
                 GP_OK);
    cr_assert(be_policy_matches(&policies.list[0], &alice));
    cr_assert(be_policy_matches(&policies.list[0], &bob));
    cr_assert_not(be_policy_matches(&policies.list[0], &nobody));
    cr_assert_not(be_policy_matches(&policies.list[1], &alice));
    cr_assert(be_policy_matches(&policies.list[1], &nobody));
    cr_assert_not(be_policy_matches(&policies.list[2], &nobody), "no name is not any name");
    be_policies_fini(&policies);
}

Test(policy, rules_name_ids_that_the_kernel_vouches_for)
{
    static const uint32_t groups[] = {100, 2000};
    struct be_applicant known = {
        .common_name = "", .local = true, .has_ids = true, .uid = 0, .gids = groups, .gid_count = 2};
    struct be_applicant unknown = {.common_name = "", .local = true};

    cr_assert_eq(load("[tenant \"a\"]\nmatch = uid:0\n[tenant \"b\"]\nmatch = gid:2000\n"
                      "[tenant \"c\"]\nmatch = uid:1, gid:3\n"),
                 GP_OK);
    cr_assert(be_policy_matches(&policies.list[0], &known));
    cr_assert_not(be_policy_matches(&policies.list[0], &unknown), "nobody's id is not 0");
    cr_assert(be_policy_matches(&policies.list[1], &known));
    cr_assert_not(be_policy_matches(&policies.list[1], &unknown));
    cr_assert_not(be_policy_matches(&policies.list[2], &known));
    be_policies_fini(&policies);
    cr_assert_neq(load("[tenant \"a\"]\nmatch = uid:root\n"), GP_OK);
    be_policies_fini(&policies);
    cr_assert_neq(load("[tenant \"a\"]\nmatch = gid:4294967296\n"), GP_OK);
    be_policies_fini(&policies);
}

Test(policy, devices_are_named_by_index_uuid_and_model)
{
    cr_assert_eq(load("[tenant \"a\"]\nmatch = *\ndevices = 1, GPU-77\n"
                      "[tenant \"b\"]\nmatch = *\nmodels = H200, *L20*\n"
                      "[tenant \"c\"]\nmatch = *\n"),
                 GP_OK);
    cr_assert_not(be_policy_allows_device(&policies.list[0], 0, "GPU-76", "x"));
    cr_assert(be_policy_allows_device(&policies.list[0], 1, "GPU-76", "x"));
    cr_assert(be_policy_allows_device(&policies.list[0], 2, "gpu-77", "x"));
    cr_assert(be_policy_allows_device(&policies.list[1], 0, "", "NVIDIA H200 NVL"));
    cr_assert(be_policy_allows_device(&policies.list[1], 0, "", "NVIDIA L20"));
    cr_assert_not(be_policy_allows_device(&policies.list[1], 0, "", "NVIDIA A100"));
    cr_assert(be_policy_allows_device(&policies.list[2], 9, "", "anything"));
    be_policies_fini(&policies);
}
