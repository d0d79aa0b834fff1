/* tests/unit/tenant/test_ledger.c -- promises of bytes among processes, also killed ones */
#include "backend/tenant/view.h"

#include "backend/tenant/segment.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB      (1ull << 20)
#define GRANULE  (2 * MIB)
#define TOTAL    (1024 * MIB)
#define SESSIONS 8
#define QUOTA_A  (400 * MIB)
#define QUOTA_B  (300 * MIB)

static struct be_policies policies;

static void
policy_set(unsigned i, const char *name, const char *rule, uint64_t memory, uint32_t sessions)
{
    struct be_policy *p = &policies.list[i];

    memset(p, 0, sizeof(*p));
    strcpy(p->name, name);
    strcpy(p->rules[0], rule);
    p->rule_count = 1;
    p->memory_bytes = memory;
    p->share = 100;
    p->sessions = sessions;
    policies.count = i + 1;
}

static struct be_ledger *
ledger_of(const struct be_policies *with)
{
    struct be_ledger *ledger;

    cr_assert_eq(be_ledger_create(&ledger), GP_OK);
    be_ledger_publish(ledger, with);
    be_ledger_set_device(ledger, 0, TOTAL, true);
    return ledger;
}

/* A worker's view, in this process or in a child. */
static struct be_ledger *
worker(struct be_ledger *ledger, const char *name, unsigned *slot_p)
{
    struct be_applicant who = {.common_name = name};
    struct be_refusal refusal;
    struct be_ledger *mine;

    cr_assert_eq(be_ledger_slot_take(ledger, slot_p), GP_OK);
    cr_assert_eq(be_ledger_attach(dup(be_ledger_fd(ledger)), *slot_p, &mine), GP_OK);
    if (name != NULL)
        cr_assert_eq(be_ledger_admit(mine, &who, &refusal), GP_OK, "%s", refusal.reason);
    return mine;
}

static uint64_t
tenant_promised(struct be_ledger *ledger, unsigned index)
{
    static struct be_tenant_state state;
    struct be_slot_view view;
    uint64_t sum = 0;

    cr_assert(be_ledger_tenant(ledger, index, &state));
    be_segment_lock(ledger->segment); /* nothing is granted meanwhile */
    for (unsigned slot = 0; slot < BE_LEDGER_SLOTS; slot++)
        if (be_ledger_slot_view(ledger, slot, &view) && view.tenant == index)
            sum += view.use[0].lease + view.use[0].other;
    be_segment_unlock(ledger->segment);
    return sum;
}

Test(ledger, two_sessions_are_never_promised_the_same_bytes)
{
    struct be_ledger *ledger, *a, *b;
    unsigned slots[2];

    policy_set(0, "a", "cn:a", 0, 0);
    ledger = ledger_of(&policies);
    a = worker(ledger, "a", &slots[0]);
    b = worker(ledger, "a", &slots[1]);
    cr_assert_eq(be_ledger_lease(a, 0, 700 * MIB, GRANULE, TOTAL, 0), 700 * MIB);
    /* The driver has all free still: nothing is used. */
    cr_assert_eq(be_ledger_lease(b, 0, 700 * MIB, GRANULE, TOTAL, 0), 324 * MIB);
    cr_assert_eq(be_ledger_lease(b, 0, GRANULE, GRANULE, TOTAL, 0), 0);
    be_ledger_lease_return(a, 0, 100 * MIB);
    cr_assert_eq(be_ledger_lease(b, 0, 700 * MIB, GRANULE, TOTAL, 0), 100 * MIB);
    /* What strangers to the ledger took is not there either. */
    be_ledger_slot_give(ledger, slots[1]);
    be_ledger_set_used(a, 0, 600 * MIB);
    cr_assert_eq(be_ledger_lease(a, 0, 700 * MIB, GRANULE, 100 * MIB, 64 * MIB), 36 * MIB);
    be_ledger_close(a);
    be_ledger_close(b);
    be_ledger_close(ledger);
}

Test(ledger, a_quota_counts_all_sessions_and_all_kinds)
{
    struct be_ledger *ledger, *a, *b, *other;
    struct be_ledger_view view;
    unsigned slot;

    policy_set(0, "a", "cn:a", QUOTA_A, 0);
    policy_set(1, "b", "cn:b", QUOTA_B, 0);
    ledger = ledger_of(&policies);
    a = worker(ledger, "a", &slot);
    b = worker(ledger, "a", &slot);
    other = worker(ledger, "b", &slot);
    cr_assert(be_ledger_charge(a, 0, 100 * MIB));
    cr_assert_eq(be_ledger_lease(b, 0, 200 * MIB, GRANULE, TOTAL, 0), 200 * MIB);
    cr_assert_not(be_ledger_charge(a, 0, 101 * MIB));
    cr_assert(be_ledger_charge(a, 0, 100 * MIB));
    cr_assert_not(be_ledger_charge(a, 0, 1));
    cr_assert_eq(be_ledger_lease(b, 0, GRANULE, GRANULE, TOTAL, 0), 0);
    cr_assert_eq(be_ledger_lease(other, 0, TOTAL, GRANULE, TOTAL, 0), QUOTA_B);
    be_ledger_set_used(b, 0, 50 * MIB);
    be_ledger_view(a, 0, &view);
    cr_assert_eq(view.quota_bytes, QUOTA_A);
    cr_assert_eq(view.held_bytes, 250 * MIB);
    cr_assert_eq(view.leased_bytes, 150 * MIB);
    cr_assert_eq(view.idle_leases, 150 * MIB, "those of its own tenant are in its way");
    cr_assert_eq(view.sessions, 2);
    be_ledger_uncharge(a, 0, 500 * MIB);
    be_ledger_view(a, 0, &view);
    cr_assert_eq(view.held_bytes, 50 * MIB, "never negative");
    cr_assert_not(be_ledger_charge(a, 0, UINT64_MAX), "no wrapping");
    be_ledger_charge_anyway(a, 0, QUOTA_A);
    cr_assert_eq(be_ledger_left(a, 0), 0);
    be_ledger_close(a);
    be_ledger_close(b);
    be_ledger_close(other);
    be_ledger_close(ledger);
}

Test(ledger, the_total_of_all_devices_counts_too)
{
    struct be_ledger *ledger, *a;
    unsigned slot;

    policy_set(0, "a", "cn:a", 400 * MIB, 0);
    policies.list[0].memory_total_bytes = 500 * MIB;
    ledger = ledger_of(&policies);
    be_ledger_set_device(ledger, 1, TOTAL, true);
    a = worker(ledger, "a", &slot);
    cr_assert_eq(be_ledger_lease(a, 0, TOTAL, GRANULE, TOTAL, 0), 400 * MIB);
    cr_assert_eq(be_ledger_lease(a, 1, TOTAL, GRANULE, TOTAL, 0), 100 * MIB);
    be_ledger_close(a);
    be_ledger_close(ledger);
}

Test(ledger, who_is_nobodys_gets_nothing_and_who_is_too_many_comes_back_later)
{
    struct be_applicant eve = {.common_name = "eve"}, a = {.common_name = "a"};
    struct be_ledger *ledger, *first, *second;
    struct be_refusal refusal;
    unsigned slots[2];

    policy_set(0, "a", "cn:a", 0, 1);
    ledger = ledger_of(&policies);
    first = worker(ledger, NULL, &slots[0]);
    second = worker(ledger, NULL, &slots[1]);
    cr_assert_eq(be_ledger_admit(first, &eve, &refusal), GP_ERR_AUTH);
    cr_assert_not_null(strstr(refusal.reason, "eve"));
    cr_assert_eq(be_ledger_lease(first, 0, GRANULE, GRANULE, TOTAL, 0), 0);
    cr_assert_eq(be_ledger_admit(first, &a, &refusal), GP_OK);
    cr_assert_eq(be_ledger_admit(second, &a, &refusal), GP_ERR_LIMIT);
    cr_assert(refusal.sessions);
    be_ledger_slot_give(ledger, slots[0]);
    cr_assert_eq(be_ledger_admit(second, &a, &refusal), GP_OK);
    be_ledger_close(first);
    be_ledger_close(second);
    be_ledger_close(ledger);
}

Test(ledger, a_reload_counts_for_running_sessions)
{
    struct be_ledger *ledger, *a;
    unsigned slot;

    policy_set(0, "a", "cn:a", 200 * MIB, 0);
    ledger = ledger_of(&policies);
    a = worker(ledger, "a", &slot);
    cr_assert_eq(be_ledger_lease(a, 0, 150 * MIB, GRANULE, TOTAL, 0), 150 * MIB);
    be_ledger_set_used(a, 0, 100 * MIB);
    policy_set(0, "a", "cn:a", 80 * MIB, 0);
    be_ledger_publish(ledger, &policies);
    cr_assert_eq(be_ledger_lease(a, 0, GRANULE, GRANULE, TOTAL, 0), 0, "below use: nothing new");
    cr_assert_eq(be_ledger_excess(a, 0), 50 * MIB, "what is used stays, what is not goes");
    be_ledger_lease_return(a, 0, 50 * MIB);
    cr_assert_eq(be_ledger_excess(a, 0), 0);
    policy_set(0, "a", "cn:a", 300 * MIB, 0);
    be_ledger_publish(ledger, &policies);
    cr_assert_eq(be_ledger_lease(a, 0, TOTAL, GRANULE, TOTAL, 0), 200 * MIB);
    /* Out of the configuration: it keeps what it has. */
    policy_set(0, "b", "cn:b", 0, 0);
    be_ledger_publish(ledger, &policies);
    cr_assert_eq(be_ledger_left(a, 0), 0);
    cr_assert_eq(tenant_promised(ledger, 0), 300 * MIB);
    be_ledger_close(a);
    be_ledger_close(ledger);
}

/* -- eight sessions of two tenants, killed at any instruction -----------------------------------
 */

static uint32_t
dice(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Leases, returns, charges and uncharges at random, for ever or for count steps. */
static void
session_main(int fd, unsigned slot, const char *name, uint32_t seed, int count)
{
    struct be_applicant who = {.common_name = name};
    uint64_t lease = 0, used = 0, other = 0, bytes;
    struct be_refusal refusal;
    struct be_ledger *mine;

    if (be_ledger_attach(fd, slot, &mine) != GP_OK ||
        be_ledger_admit(mine, &who, &refusal) != GP_OK)
        _exit(1);
    for (int i = 0; count < 0 || i < count; i++) {
        (void)sched_yield(); /* fewer processors than sessions: the test wants some too */
        bytes = (1 + dice(&seed) % 40) * GRANULE;
        switch (dice(&seed) % 5) {
        case 0:
            lease += be_ledger_lease(mine, 0, bytes, GRANULE, TOTAL, 0);
            break;
        case 1:
            bytes = bytes < lease - used ? bytes : lease - used;
            be_ledger_lease_return(mine, 0, bytes);
            lease -= bytes;
            break;
        case 2:
            used = lease - lease / (1 + dice(&seed) % 3);
            be_ledger_set_used(mine, 0, used);
            break;
        case 3:
            if (be_ledger_charge(mine, 0, bytes))
                other += bytes;
            break;
        default:
            bytes = bytes < other ? bytes : other;
            be_ledger_uncharge(mine, 0, bytes);
            other -= bytes;
            break;
        }
    }
    _exit(0);
}

static void
check_never_over(struct be_ledger *ledger)
{
    cr_assert_leq(tenant_promised(ledger, 0), QUOTA_A);
    cr_assert_leq(tenant_promised(ledger, 1), QUOTA_B);
    cr_assert_leq(be_ledger_promised(ledger, 0), TOTAL);
}

static pid_t
session_start(struct be_ledger *ledger, unsigned slot, unsigned which, uint32_t seed, int count)
{
    pid_t pid = fork();

    if (pid == 0)
        session_main(be_ledger_fd(ledger), slot, which % 2 == 0 ? "a" : "b", seed, count);
    cr_assert_geq(pid, 0);
    return pid;
}

/* GPUPOOL_TEST_LONG: so many times as often. */
static uint32_t
times(uint32_t rounds)
{
    const char *text = getenv("GPUPOOL_TEST_LONG");
    int factor = text != NULL ? atoi(text) : 1;

    return rounds * (uint32_t)(factor > 1 ? factor : 1);
}

Test(ledger, a_thousand_patterns_never_over_never_negative_all_returned)
{
    const uint32_t rounds = times(1000 / SESSIONS);
    struct be_ledger *ledger;
    pid_t pids[SESSIONS];
    unsigned slots[SESSIONS];
    int how;

    policy_set(0, "a", "cn:a", QUOTA_A, 0);
    policy_set(1, "b", "cn:b", QUOTA_B, 0);
    ledger = ledger_of(&policies);
    for (uint32_t round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < SESSIONS; i++) {
            cr_assert_eq(be_ledger_slot_take(ledger, &slots[i]), GP_OK);
            pids[i] = session_start(ledger, slots[i], i, round * SESSIONS + i, 200);
        }
        for (unsigned i = 0; i < SESSIONS; i++) {
            check_never_over(ledger);
            cr_assert_eq(waitpid(pids[i], &how, 0), pids[i]);
            cr_assert_eq(how, 0);
            be_ledger_slot_give(ledger, slots[i]);
        }
        cr_assert_eq(be_ledger_promised(ledger, 0), 0);
    }
    be_ledger_close(ledger);
}

Test(ledger, killed_sessions_leave_true_numbers_and_no_lock)
{
    struct be_ledger *ledger;
    pid_t pids[SESSIONS];
    unsigned slots[SESSIONS];
    const uint32_t rounds = times(100);
    uint32_t seed = 7;

    policy_set(0, "a", "cn:a", QUOTA_A, 0);
    policy_set(1, "b", "cn:b", QUOTA_B, 0);
    ledger = ledger_of(&policies);
    for (unsigned i = 0; i < SESSIONS; i++) {
        cr_assert_eq(be_ledger_slot_take(ledger, &slots[i]), GP_OK);
        pids[i] = session_start(ledger, slots[i], i, i, -1);
    }
    for (uint32_t round = 0; round < rounds; round++) {
        unsigned victim = dice(&seed) % SESSIONS;

        for (uint32_t look = dice(&seed) % 8; look > 0; look--)
            check_never_over(ledger);
        kill(pids[victim], SIGKILL);
        cr_assert_eq(waitpid(pids[victim], NULL, 0), pids[victim]);
        check_never_over(ledger);
        be_ledger_slot_give(ledger, slots[victim]);
        check_never_over(ledger);
        cr_assert_eq(be_ledger_slot_take(ledger, &slots[victim]), GP_OK);
        pids[victim] = session_start(ledger, slots[victim], victim, 1000 + round, -1);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        kill(pids[i], SIGKILL);
        cr_assert_eq(waitpid(pids[i], NULL, 0), pids[i]);
        be_ledger_slot_give(ledger, slots[i]);
    }
    cr_assert_eq(be_ledger_promised(ledger, 0), 0);
    be_ledger_close(ledger);
}

/* -- more than there is ------------------------------------------------------------------------ */

static struct be_ledger *
paged_ledger(uint32_t percent, uint64_t arena_bytes)
{
    const struct be_paging paging = {.percent = percent, .arena_bytes = arena_bytes};
    struct be_ledger *ledger;

    cr_assert_eq(be_ledger_create(&ledger), GP_OK);
    be_ledger_set_paging(ledger, &paging);
    be_ledger_publish(ledger, &policies);
    be_ledger_set_device(ledger, 0, TOTAL, true);
    return ledger;
}

static uint64_t
lease(struct be_ledger *ledger, uint64_t bytes)
{
    return be_ledger_lease(ledger, 0, bytes, GRANULE, 0, 0);
}

Test(ledger, with_paging_each_session_can_still_run)
{
    struct be_ledger *ledger, *a, *b, *c;
    unsigned slots[3];

    policy_set(0, "a", "cn:a", 0, 0);
    policies.list[0].priority = BE_PRIORITY_NORMAL;
    ledger = paged_ledger(250, 0);
    a = worker(ledger, "a", &slots[0]);
    b = worker(ledger, "a", &slots[1]);
    c = worker(ledger, "a", &slots[2]);
    /* What the driver has free, nothing here, says nothing. */
    cr_assert_eq(lease(a, 900 * MIB), 900 * MIB);
    cr_assert_eq(lease(b, 2000 * MIB), TOTAL, "one is never promised more than there is");
    cr_assert_eq(lease(c, 2000 * MIB), 2560 * MIB - TOTAL - 900 * MIB);
    /* Where one may fill the device, nothing can stay there for ever. */
    cr_assert_not(be_ledger_charge(a, 0, GRANULE));
    cr_assert_not(be_ledger_fix(a, 0, GRANULE));
    cr_assert(be_ledger_fix(b, 0, GRANULE), "but of its own");
    be_ledger_unfix(b, 0, GRANULE);
    be_ledger_lease_return(b, 0, 100 * MIB);
    cr_assert(be_ledger_fix(a, 0, 40 * MIB));
    cr_assert(be_ledger_charge(c, 0, 60 * MIB));
    cr_assert_not(be_ledger_charge(c, 0, GRANULE));
    cr_assert_eq(lease(b, 100 * MIB), 0);
    be_ledger_unfix(a, 0, 40 * MIB);
    cr_assert_eq(lease(b, 100 * MIB), 40 * MIB);
    be_ledger_close(a);
    be_ledger_close(b);
    be_ledger_close(c);
    be_ledger_close(ledger);
}

Test(ledger, the_high_class_is_promised_only_what_is_there)
{
    struct be_ledger *ledger, *high, *low;
    unsigned slots[2];

    policy_set(0, "high", "cn:high", 0, 0);
    policies.list[0].priority = BE_PRIORITY_HIGH;
    policy_set(1, "low", "cn:low", 0, 0);
    policies.list[1].priority = BE_PRIORITY_LOW;
    ledger = paged_ledger(200, 0);
    high = worker(ledger, "high", &slots[0]);
    low = worker(ledger, "low", &slots[1]);
    cr_assert_eq(lease(high, 600 * MIB), 600 * MIB);
    cr_assert_eq(lease(low, 2000 * MIB), TOTAL - 600 * MIB);
    cr_assert_eq(lease(high, GRANULE), 0);
    be_ledger_close(high);
    be_ledger_close(low);
    be_ledger_close(ledger);
}

Test(ledger, the_arena_bounds_what_does_not_fit)
{
    struct be_ledger *ledger, *a, *b;
    unsigned slots[2];

    policy_set(0, "a", "cn:a", 0, 0);
    policies.list[0].priority = BE_PRIORITY_NORMAL;
    ledger = paged_ledger(300, 100 * MIB);
    a = worker(ledger, "a", &slots[0]);
    b = worker(ledger, "a", &slots[1]);
    cr_assert_eq(lease(a, 1000 * MIB), 1000 * MIB);
    cr_assert_eq(lease(b, 1000 * MIB), 124 * MIB);
    be_ledger_slot_give(ledger, slots[0]);
    cr_assert_eq(lease(b, 1000 * MIB), TOTAL - 124 * MIB);
    be_ledger_close(a);
    be_ledger_close(b);
    be_ledger_close(ledger);
}
