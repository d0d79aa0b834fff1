/* tests/unit/sched/test_fair.c -- turns on a device that exists only here, with a clock of its own
 */
#include "backend/sched/fair.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define US 1000ull
#define MS 1000000ull
#define S  1000000000ull

#define SILENT    UINT64_MAX
#define SIMS_MAX  8
#define QUEUE_MAX 4096

struct sim {
    uint32_t group;
    /* Kernels: random between these, alike on a scale of sizes; estimates are wrong by factor. */
    uint64_t least_ns, most_ns;
    double factor;
    /* 0: always has more to run. Else requests of count kernels, then a pause of about so long. */
    unsigned request;
    uint64_t pause_ns;
    /* One in so many kernels has its client come late with the next one, by up to so much. */
    unsigned late_one_in;
    uint64_t late_ns;
    /* Its streams wait for something that never comes: nothing it has let in runs. So often it says
     * so; SILENT: it does not. */
    uint64_t stall_ns;

    /* The state. */
    uint64_t est_ns, real_ns; /* of the next kernel; 0: none chosen yet */
    unsigned left;            /* of the request */
    uint64_t arrives_ns;      /* nothing to do before */
    uint64_t ask_ns;          /* it waits: ask again then */
    uint64_t under_way_ns;
    uint64_t service_ns, worst_ns, arrived_ns;
    uint64_t *latencies; /* request: arrival to end, and to the first kernel's begin */
    uint64_t *begins;
    unsigned requests;
    uint64_t stalled_ns, look_ns; /* since then nothing of it has begun; it says so next */
    bool waiting, begun;
};

struct work {
    uint32_t who;
    bool first; /* of a request */
    uint64_t est_ns, real_ns;
};

struct world {
    struct be_fair f;
    struct sim sims[SIMS_MAX];
    unsigned count;
    uint64_t now, charged_ns, measured_ns;
    uint64_t wake_ns; /* who is woken comes so late, as on a machine with few processors */
    /* The device runs what is queued in order. */
    struct work queue[QUEUE_MAX];
    unsigned head, tail;
    uint64_t head_began;
    uint32_t seed;
};

static struct world w;

static uint32_t
dice(void)
{
    w.seed = w.seed * 1664525u + 1013904223u;
    return w.seed >> 8;
}

static void
world_begin(uint32_t seed)
{
    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.now = 1 * S;
}

static struct sim *
add(uint32_t group, uint32_t share, uint32_t priority, bool force, uint32_t floor)
{
    struct be_fair_rights rights = {
        .share = share, .priority = priority, .force = force, .floor = floor};
    struct sim *s = &w.sims[w.count];

    be_fair_set_rights(&w.f, group, &rights, w.now);
    be_fair_attach(&w.f, w.count, group, w.now);
    s->group = group;
    s->factor = 1;
    s->least_ns = s->most_ns = 100 * US;
    w.count++;
    return s;
}

static void
kernels(struct sim *s, uint64_t ns)
{
    s->least_ns = s->most_ns = ns;
}

static void
choose(struct sim *s)
{
    double scale = (double)s->most_ns / (double)s->least_ns;
    double real = (double)s->least_ns * pow(scale, dice() % 1000 / 999.0);

    s->real_ns = (uint64_t)(real < (double)s->most_ns ? real : (double)s->most_ns);
    s->est_ns = (uint64_t)((double)s->real_ns * s->factor) + 1;
}

/* The device begins with what is next in its queue. */
static void
head_begins(void)
{
    const struct work *k = &w.queue[w.head % QUEUE_MAX];
    struct sim *s = &w.sims[k->who];

    w.head_began = w.now;
    if (w.head != w.tail)
        be_fair_begun(&w.f, k->who, w.now);
    if (w.head != w.tail && k->first)
        s->begins[s->requests] = w.now - s->arrived_ns;
}

/* member asks as long as it gets; true if anything changed. */
static void
ask(uint32_t i)
{
    struct sim *s = &w.sims[i];
    enum be_fair_verdict verdict;
    uint32_t picked;

    for (;;) {
        if (w.now < s->arrives_ns || (s->waiting && w.now < s->ask_ns) ||
            (w.f.only == i + 1 && w.tail - w.head > 1000))
            return;
        if (s->real_ns == 0)
            choose(s);
        verdict = be_fair_enter(&w.f, i, s->est_ns, s->under_way_ns, w.now, &picked, &s->ask_ns);
        if (picked != BE_FAIR_NONE)
            w.sims[picked].ask_ns = w.now + w.wake_ns;
        s->waiting = verdict == BE_FAIR_WAIT || verdict == BE_FAIR_DRAIN;
        if (s->waiting)
            return;
        if (s->stall_ns != 0) {
            s->real_ns = 0;
            s->stalled_ns = w.now;
            s->look_ns = s->stall_ns == SILENT ? SILENT : w.now + s->stall_ns;
            s->arrives_ns = UINT64_MAX; /* till it has lost the turn */
            return;
        }
        cr_assert_lt(w.tail - w.head, QUEUE_MAX);
        w.queue[w.tail++ % QUEUE_MAX] = (struct work){.who = i,
                                                      .first = !s->begun && s->request != 0,
                                                      .est_ns = s->est_ns,
                                                      .real_ns = s->real_ns};
        s->begun = true;
        if (w.tail - w.head == 1)
            head_begins();
        s->under_way_ns += s->est_ns;
        s->real_ns = 0;
        if (s->late_one_in != 0 && dice() % s->late_one_in == 0)
            s->arrives_ns = w.now + dice() % s->late_ns;
        if (s->request != 0 && --s->left == 0)
            s->arrives_ns = UINT64_MAX; /* waits for its end */
    }
}

static void
done(void)
{
    struct work k = w.queue[w.head++ % QUEUE_MAX];
    struct sim *s = &w.sims[k.who];
    uint32_t picked;

    w.measured_ns += k.real_ns;
    s->service_ns += k.real_ns;
    s->under_way_ns -= k.est_ns;
    be_fair_charge(&w.f, k.who, k.est_ns, k.real_ns, w.now);
    head_begins();
    if (s->waiting)
        s->ask_ns = w.now + w.wake_ns;
    if (s->under_way_ns == 0) {
        picked = be_fair_drained(&w.f, k.who, w.now);
        for (unsigned i = 0; i < w.count; i++)
            if (picked == i || picked == BE_FAIR_ALL)
                w.sims[i].ask_ns = w.now + w.wake_ns;
        if (s->request != 0 && s->left == 0) {
            s->latencies[s->requests] = w.now - s->arrived_ns;
            s->requests++;
            s->left = s->request;
            s->begun = false;
            s->arrives_ns = w.now + s->pause_ns / 2 + dice() % (s->pause_ns + 1);
            s->arrived_ns = s->arrives_ns;
        }
    }
}

/* Whose work never begins tells of it, and asks again once it has lost the turn. */
static void
stalls(void)
{
    uint32_t picked = BE_FAIR_NONE;

    for (unsigned i = 0; i < w.count; i++) {
        struct sim *s = &w.sims[i];

        if (s->stall_ns == 0 || s->arrives_ns != UINT64_MAX)
            continue;
        if (s->look_ns <= w.now) {
            s->look_ns = w.now + s->stall_ns;
            (void)be_fair_stalled(&w.f, i, s->stalled_ns, w.now, &picked);
        }
        if (w.f.holder != i + 1)
            s->arrives_ns = w.now;
        for (unsigned j = 0; j < w.count; j++)
            if (picked == j || picked == BE_FAIR_ALL)
                w.sims[j].ask_ns = w.now + w.wake_ns;
    }
}

static void
run(uint64_t span)
{
    uint64_t until = w.now + span;

    while (w.now < until) {
        uint64_t next = until;

        stalls();
        for (unsigned i = 0; i < w.count; i++)
            ask(i);
        for (unsigned i = 0; i < w.count; i++) /* who was picked meanwhile */
            ask(i);
        if (w.head != w.tail && w.head_began + w.queue[w.head % QUEUE_MAX].real_ns < next)
            next = w.head_began + w.queue[w.head % QUEUE_MAX].real_ns;
        for (unsigned i = 0; i < w.count; i++) {
            const struct sim *s = &w.sims[i];

            if (s->arrives_ns > w.now && s->arrives_ns < next)
                next = s->arrives_ns;
            if (s->waiting && s->ask_ns > w.now && s->ask_ns < next)
                next = s->ask_ns;
            if (s->arrives_ns == UINT64_MAX && s->look_ns > w.now && s->look_ns < next)
                next = s->look_ns;
        }
        w.now = next;
        if (w.head != w.tail && w.now >= w.head_began + w.queue[w.head % QUEUE_MAX].real_ns)
            done();
    }
}

static double
part(unsigned i)
{
    uint64_t all = 0;

    for (unsigned j = 0; j < w.count; j++)
        all += w.sims[j].service_ns;
    return (double)w.sims[i].service_ns / (double)all;
}

static void
conserved(void)
{
    uint64_t charged = 0;

    for (unsigned g = 0; g < BE_FAIR_GROUPS; g++)
        charged += w.f.groups[g].service_ns;
    cr_assert_eq(charged, w.measured_ns);
}

/* Two tenants with kernels of between least and most, and estimates wrong by these factors. */
static void
world_of_two(uint32_t seed, uint32_t a, uint32_t b, uint64_t least_a, uint64_t most_a,
             uint64_t least_b, uint64_t most_b, double factor_a, double factor_b)
{
    struct sim *x, *y;

    world_begin(seed);
    x = add(0, a, 1, false, 2);
    y = add(1, b, 1, false, 2);
    x->least_ns = least_a;
    x->most_ns = most_a;
    x->factor = factor_a;
    y->least_ns = least_b;
    y->most_ns = most_b;
    y->factor = factor_b;
}

static void
shares(uint32_t a, uint32_t b, uint64_t least_a, uint64_t most_a, uint64_t least_b, uint64_t most_b,
       double factor_a, double factor_b)
{
    for (uint32_t seed = 1; seed <= 3; seed++) {
        world_of_two(seed, a, b, least_a, most_a, least_b, most_b, factor_a, factor_b);
        run(10 * S);
        cr_assert_float_eq(part(0), a / (double)(a + b), 0.02, "%u/%u seed %u: %f", a, b, seed,
                           part(0));
        /* Work conserving: the device never stood still. */
        cr_assert_geq(w.sims[0].service_ns + w.sims[1].service_ns, 10 * S - 401 * MS);
        conserved();
    }
}

/* Whenever one looks: each 10 s from the second half second on, and no drift over all of it. */
static void
shares_always(uint32_t a, uint32_t b, uint64_t least_a, uint64_t most_a, uint64_t least_b,
              uint64_t most_b, double factor_a, double factor_b)
{
    enum {
        LOOKS = 80,
        TEN_S = 20
    };
    uint64_t had[LOOKS][2];

    world_of_two(21, a, b, least_a, most_a, least_b, most_b, factor_a, factor_b);
    for (int i = 0; i < LOOKS; i++) {
        double own, others;

        run(S / 2);
        had[i][0] = w.sims[0].service_ns;
        had[i][1] = w.sims[1].service_ns;
        if (i < TEN_S)
            continue;
        own = (double)(had[i][0] - had[i - TEN_S][0]);
        others = (double)(had[i][1] - had[i - TEN_S][1]);
        cr_assert_float_eq(own / (own + others), a / 100.0, 0.02, "%u/%u, look %d: %f", a, b, i,
                           own / (own + others));
    }
    cr_assert_float_eq(part(0), a / 100.0, 0.006, "%u/%u: %f", a, b, part(0));
    conserved();
}

Test(fair, shares_hold_in_every_ten_seconds)
{
    static const double factors[][2] = {{1, 1}, {10, 0.1}, {0.1, 10}, {0.1, 0.1}, {10, 10}};

    for (unsigned a = 10; a <= 30; a += 20) {
        for (unsigned i = 0; i < sizeof(factors) / sizeof(factors[0]); i++)
            shares_always(a, 100 - a, 5 * US, 200 * MS, 5 * US, 200 * MS, factors[i][0],
                          factors[i][1]);
        shares_always(a, 100 - a, 20 * MS, 200 * MS, 200 * US, 2 * MS, 1, 1);
        shares_always(a, 100 - a, 200 * US, 2 * MS, 20 * MS, 200 * MS, 1, 1);
        shares_always(a, 100 - a, 5 * US, 50 * US, 100 * MS, 200 * MS, 10, 0.1);
    }
}

Test(fair, shares_hold_whatever_the_kernels)
{
    shares(30, 70, 5 * US, 200 * MS, 5 * US, 200 * MS, 1, 1);
    shares(10, 90, 5 * US, 200 * MS, 5 * US, 200 * MS, 1, 1);
    shares(30, 70, 20 * US, 40 * US, 100 * MS, 200 * MS, 1, 1);
    shares(10, 90, 100 * MS, 200 * MS, 20 * US, 40 * US, 1, 1);
    shares(30, 70, 100 * MS, 200 * MS, 100 * MS, 200 * MS, 1, 1);
    shares(30, 70, 8 * MS, 8 * MS, 8 * MS, 8 * MS, 1, 1);
    shares(50, 50, 1 * MS, 1 * MS, 100 * US, 100 * US, 1, 1);
}

Test(fair, shares_hold_though_estimates_are_wrong_by_ten)
{
    shares(30, 70, 5 * US, 200 * MS, 5 * US, 200 * MS, 10, 0.1);
    shares(30, 70, 5 * US, 200 * MS, 5 * US, 200 * MS, 0.1, 10);
    shares(10, 90, 5 * US, 200 * MS, 5 * US, 200 * MS, 10, 0.1);
    shares(10, 90, 5 * US, 200 * MS, 5 * US, 200 * MS, 0.1, 0.1);
}

/* What the other took in one piece while it was late, it gets back: it has no less for that. */
Test(fair, who_is_late_by_a_little_loses_nothing)
{
    for (uint32_t seed = 1; seed <= 3; seed++) {
        struct sim *x, *y;

        world_begin(seed);
        x = add(0, 10, 1, false, 2);
        y = add(1, 90, 1, false, 2);
        x->least_ns = 20 * MS;
        x->most_ns = 200 * MS;
        y->least_ns = 200 * US;
        y->most_ns = 2 * MS;
        y->late_one_in = 32;
        y->late_ns = 4 * MS;
        run(20 * S);
        cr_assert_float_eq(part(0), 0.10, 0.02, "seed %u: %f", seed, part(0));
        conserved();
    }
}

/* A long kernel that began is not stuck; what never began is. */
Test(fair, a_turn_whose_work_runs_long_is_not_given_away)
{
    uint32_t picked;
    uint64_t until, began;

    world_begin(15);
    began = w.now;
    add(0, 50, 1, false, 2);
    add(1, 50, 1, false, 2);
    cr_assert_eq(be_fair_enter(&w.f, 0, 100 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
    be_fair_begun(&w.f, 0, w.now);
    be_fair_begun(&w.f, 1, w.now + 1000 * S); /* not its turn */
    w.now = began + 900 * MS;
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    cr_assert_eq(until, began + BE_FAIR_LONG_NS);
    w.now = until; /* for ever is too long */
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
}

Test(fair, a_forced_share_is_never_exceeded_and_is_had_alone)
{
    for (uint32_t seed = 1; seed <= 5; seed++) {
        struct sim *x;

        world_begin(seed);
        x = add(0, 25, 1, true, 2);
        x->least_ns = 5 * US;
        x->most_ns = 200 * MS;
        x->factor = seed % 3 == 0 ? 10 : seed % 3 == 1 ? 0.1 : 1;
        run(10 * S);
        cr_assert_float_eq((double)x->service_ns / 1e10, 0.25, 0.02, "seed %u: %f", seed,
                           (double)x->service_ns / 1e10);
        conserved();
    }
}

Test(fair, a_forced_share_leaves_the_rest_to_others)
{
    struct sim *x, *y;

    world_begin(3);
    x = add(0, 25, 1, true, 2);
    y = add(1, 100, 1, false, 2);
    x->most_ns = y->most_ns = 2 * MS;
    run(10 * S);
    cr_assert_leq((double)x->service_ns / 1e10, 0.27);
    cr_assert_geq((double)(x->service_ns + y->service_ns) / 1e10, 0.99);
}

Test(fair, sessions_of_a_tenant_share_its_share)
{
    world_begin(4);
    add(0, 50, 1, false, 2);
    add(0, 50, 1, false, 2);
    add(0, 50, 1, false, 2);
    add(1, 50, 1, false, 2);
    run(10 * S);
    cr_assert_float_eq(part(3), 0.5, 0.02, "%f", part(3));
    for (unsigned i = 0; i < 3; i++)
        cr_assert_float_eq(part(i), 1.0 / 6, 0.02, "%f", part(i));
}

Test(fair, who_slept_brings_no_credit)
{
    struct sim *y;
    uint64_t before;

    world_begin(5);
    add(0, 50, 1, false, 2);
    y = add(1, 50, 1, false, 2);
    y->arrives_ns = w.now + 5 * S;
    run(5 * S);
    run(200 * MS); /* what was queued while it was alone */
    before = w.sims[0].service_ns;
    run(1 * S);
    cr_assert_float_eq((double)(w.sims[0].service_ns - before) / 1e9, 0.5, 0.03);
}

Test(fair, one_alone_need_not_ask_and_another_may_come)
{
    uint32_t picked;
    uint64_t until;

    world_begin(6);
    add(0, 50, 1, false, 2);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_FREE);
    add(1, 50, 1, false, 2);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    cr_assert_eq(be_fair_drained(&w.f, 0, w.now), 1);
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    /* It dies with the turn. */
    be_fair_detach(&w.f, 1);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_FREE);
}

Test(fair, who_is_bounded_is_measured_also_alone)
{
    struct be_fair_rights rights = {.share = 50, .measured = true};
    uint32_t picked;
    uint64_t until;

    world_begin(8);
    add(0, 50, 1, false, 2);
    be_fair_set_rights(&w.f, 0, &rights, w.now);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
}

Test(fair, a_turn_that_does_not_end_is_given_to_others)
{
    uint32_t picked;
    uint64_t until;

    world_begin(7);
    add(0, 50, 1, false, 2);
    add(1, 50, 1, false, 2);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    cr_assert_leq(until, w.now + 200 * MS);
    w.now = until;
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, MS, w.now, &picked, &until), BE_FAIR_WAIT);
}

/* The other one has its share, though each turn of the first is one in vain, and long. */
static void
turns_in_vain(uint64_t stall_ns, double least)
{
    world_begin(9);
    add(0, 50, 1, false, 2)->stall_ns = stall_ns;
    kernels(add(1, 50, 1, false, 2), MS);
    run(10 * S);
    cr_assert_geq((double)w.sims[1].service_ns, least * 10e9, "%f",
                  (double)w.sims[1].service_ns / 10e9);
    conserved();
}

Test(fair, turns_in_vain_are_paid_for)
{
    turns_in_vain(MS, 0.48);
    turns_in_vain(SILENT, 0.48);
}

Test(fair, a_floor_is_no_more_than_it_says)
{
    /* Nothing is known of its kernels, which are long. */
    world_begin(9);
    kernels(add(0, 100, 0, false, 0), MS);
    kernels(add(1, 100, 2, false, 2), 200 * MS);
    w.sims[1].factor = 0.0005;
    run(10 * S);
    cr_assert_leq(w.sims[1].service_ns, 10 * S / 100 * 5, "%f",
                  (double)w.sims[1].service_ns / 10e9);
    conserved();
}

Test(fair, a_floor_buys_no_more_turns_in_vain)
{
    world_begin(9);
    kernels(add(0, 100, 0, false, 0), MS);
    add(1, 100, 2, false, 2)->stall_ns = SILENT;
    run(10 * S);
    cr_assert_geq(w.sims[0].service_ns, 10 * S / 100 * 95, "%f",
                  (double)w.sims[0].service_ns / 10e9);
}

Test(fair, a_higher_class_waits_little_for_work_that_has_not_begun)
{
    uint32_t picked;
    uint64_t until;

    world_begin(10);
    add(0, 50, 2, false, 0);
    add(1, 50, 0, false, 0);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert(be_fair_stalled(&w.f, 0, w.now, w.now + 2 * MS, &picked), "nobody waits");
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    cr_assert_not(be_fair_stalled(&w.f, 0, w.now, w.now + 2 * MS, &picked));
    cr_assert_eq(picked, 1);
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now + 2 * MS, &picked, &until), BE_FAIR_GO);
}

/* Of two halves, for who has the turn an estimate of a millisecond. */
static void
one_works_the_other_waits(void)
{
    uint32_t picked;
    uint64_t until;

    world_begin(11);
    add(0, 50, 1, false, 2);
    add(1, 50, 1, false, 2);
    cr_assert_eq(be_fair_enter(&w.f, 0, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    be_fair_begun(&w.f, 0, w.now);
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_WAIT);
}

Test(fair, what_was_paid_ahead_is_not_paid_twice)
{
    uint32_t picked;
    uint64_t until;

    one_works_the_other_waits();
    w.now += 3 * S;
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(w.f.groups[0].vtime, 6 * S, "3 s of half a share");
    be_fair_charge(&w.f, 0, MS, 5 * S, w.now + 2 * S);
    cr_assert_eq(w.f.groups[0].vtime, 10 * S);
    cr_assert_eq(w.f.groups[0].service_ns, 5 * S);
    cr_assert_eq(w.f.members[0].ahead_ns, 0);
}

/* What ends beside it is charged as it ends, with all that the long one had meanwhile; copies that
 * go apart come on top of that, and begin nothing anew. */
Test(fair, what_ends_beside_long_work_is_paid_once)
{
    uint32_t picked;
    uint64_t until;

    one_works_the_other_waits();
    w.now += 1 * S;
    be_fair_charge_beside(&w.f, 0, 1 * S, true, w.now);
    cr_assert_eq(w.f.groups[0].vtime, 2 * S);
    be_fair_charge_beside(&w.f, 0, S / 2, false, w.now + MS);
    cr_assert_eq(w.f.groups[0].vtime, 3 * S, "half a second of copies");
    w.now += 2 * S;
    cr_assert_eq(be_fair_enter(&w.f, 1, MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(w.f.groups[0].vtime, 7 * S, "the turn ends: 2 s more");
    be_fair_charge_beside(&w.f, 0, 1 * S, true, w.now);
    cr_assert_eq(w.f.groups[0].vtime, 7 * S, "of these");
    be_fair_charge(&w.f, 0, MS, 3 * S, w.now + 2 * S);
    cr_assert_eq(w.f.groups[0].vtime, 11 * S, "5 s of it, half a second of copies");
    cr_assert_eq(w.f.groups[0].service_ns, 5 * S + S / 2);
    cr_assert_eq(w.f.members[0].ahead_ns, 0);
}

/* -- priority ---------------------------------------------------------------------------------- */

#define ARRIVALS 1000

static int
by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static uint64_t
p99(uint64_t *list, unsigned count)
{
    qsort(list, count, sizeof(*list), by_size);
    return list[count * 99 / 100];
}

static struct sim *
add_high(void)
{
    static uint64_t latencies[2][ARRIVALS + 64], begins[2][ARRIVALS + 64];
    static unsigned which;
    struct sim *s = add(0, 50, 0, false, 0);

    which = 1 - which;
    s->latencies = latencies[which];
    s->begins = begins[which];
    s->request = s->left = 100;
    s->arrived_ns = w.now;
    s->least_ns = s->most_ns = 200 * US;
    s->pause_ns = 20 * MS;
    return s;
}

static uint64_t
alone_p99(uint64_t wake_ns)
{
    struct sim *high;

    world_begin(11);
    w.wake_ns = wake_ns;
    high = add_high();
    while (high->requests < ARRIVALS)
        run(100 * MS);
    return p99(high->latencies, ARRIVALS);
}

static void
beside_a_lower_class(uint64_t wake_ns)
{
    uint64_t alone = alone_p99(wake_ns), began, left;
    struct sim *high, *low;

    world_begin(12);
    w.wake_ns = wake_ns;
    high = add_high();
    low = add(1, 50, 2, false, 0);
    low->least_ns = 5 * US;
    low->most_ns = 1 * MS;
    began = w.now;
    while (high->requests < ARRIVALS)
        run(100 * MS);
    for (unsigned i = 0; i < ARRIVALS; i++) {
        cr_assert_leq(high->begins[i], BE_FAIR_ARM_NS + low->most_ns + wake_ns, "arrival %u", i);
        cr_assert_leq(high->latencies[i], 20 * MS + BE_FAIR_ARM_NS + low->most_ns + wake_ns,
                      "arrival %u", i);
    }
    cr_assert_leq((double)p99(high->latencies, ARRIVALS), 1.10 * (double)alone);
    left = w.now - began - high->service_ns;
    cr_assert_geq((double)low->service_ns, 0.80 * (double)left, "%f",
                  (double)low->service_ns / (double)left);
    conserved();
}

Test(fair, a_higher_class_waits_for_the_armed_window_and_one_kernel_at_most)
{
    beside_a_lower_class(0);
}

/* Neither class has less than it was promised where each wake-up takes 200 us. */
Test(fair, classes_bear_late_wakeups)
{
    beside_a_lower_class(100 * US);
    beside_a_lower_class(200 * US);
}

/* The device does not run dry between two launches of it. */
Test(fair, a_lower_class_has_the_window_and_one_launch_under_way)
{
    uint32_t picked;
    uint64_t until;

    world_begin(16);
    add(0, 50, 0, false, 0);
    add(1, 50, 2, false, 0);
    w.now += 2 * S;
    cr_assert_eq(be_fair_enter(&w.f, 1, 300 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 1, 300 * US, 300 * US, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 1, 5 * US, 600 * US, w.now, &picked, &until), BE_FAIR_DRAIN);
    cr_assert_eq(be_fair_enter(&w.f, 1, 900 * US, 495 * US, w.now, &picked, &until), BE_FAIR_GO);
    be_fair_begun(&w.f, 1, w.now); /* of several, the last may be all that is left */
    w.now += 600 * US;
    cr_assert_eq(be_fair_enter(&w.f, 1, 5 * US, 1395 * US, w.now, &picked, &until), BE_FAIR_DRAIN);
    cr_assert_eq(until, UINT64_MAX);
}

Test(fair, behind_a_long_launch_the_next_waits_for_no_more_than_the_window)
{
    uint32_t picked;
    uint64_t until, began;

    world_begin(17);
    add(0, 50, 0, false, 0);
    add(1, 50, 2, false, 0);
    began = w.now += 2 * S;
    cr_assert_eq(be_fair_enter(&w.f, 1, 3 * MS, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 1, 2 * MS, 3 * MS, w.now, &picked, &until), BE_FAIR_DRAIN);
    cr_assert_eq(until, UINT64_MAX, "it has not begun");
    be_fair_begun(&w.f, 1, w.now);
    w.now += 1 * MS;
    cr_assert_eq(be_fair_enter(&w.f, 1, 2 * MS, 3 * MS, w.now, &picked, &until), BE_FAIR_DRAIN);
    cr_assert_eq(until, began + 3 * MS - BE_FAIR_ARM_NS + 1);
    w.now = until;
    cr_assert_eq(be_fair_enter(&w.f, 1, 2 * MS, 3 * MS, w.now, &picked, &until), BE_FAIR_GO);
    /* It takes longer than was thought: no more than that one goes behind it. */
    w.now += 50 * MS;
    cr_assert_eq(be_fair_enter(&w.f, 1, 2 * MS, 5 * MS, w.now, &picked, &until), BE_FAIR_DRAIN);
}

/* Though it always wants more: the window shrinks where much was still to be done, and recovers. */
Test(fair, the_armed_window_adapts)
{
    uint64_t until, took, window = BE_FAIR_ARM_NS;
    uint32_t picked;

    world_begin(18);
    add(0, 50, 0, false, 0);
    add(1, 50, 2, false, 0);
    for (unsigned i = 0; i < 64; i++) {
        w.now += 2 * S;
        cr_assert_eq(be_fair_window(&w.f, 1), window);
        cr_assert_eq(be_fair_enter(&w.f, 1, 20 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
        cr_assert_eq(be_fair_enter(&w.f, 0, 20 * US, 0, w.now, &picked, &until), BE_FAIR_WAIT);
        cr_assert_eq(be_fair_enter(&w.f, 1, 20 * US, 20 * US, w.now, &picked, &until),
                     BE_FAIR_WAIT);
        took = i < 4 ? 3 * MS : 20 * US; /* as if it had been much more, and known */
        w.now += took;
        be_fair_charge(&w.f, 1, took, took, w.now);
        cr_assert_eq(be_fair_drained(&w.f, 1, w.now), 0);
        cr_assert_eq(be_fair_enter(&w.f, 0, 20 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
        w.now += 20 * US;
        be_fair_charge(&w.f, 0, 20 * US, 20 * US, w.now);
        cr_assert_eq(be_fair_drained(&w.f, 0, w.now), BE_FAIR_ALL);
        window = i < 4 ? window / 2 : window + window / 16;
        window = window < BE_FAIR_ARM_MIN_NS ? BE_FAIR_ARM_MIN_NS : window;
        window = window > BE_FAIR_ARM_NS ? BE_FAIR_ARM_NS : window;
    }
    cr_assert_eq(window, BE_FAIR_ARM_NS);
}

Test(fair, a_lower_class_has_its_floor)
{
    struct sim *high, *low;

    world_begin(13);
    high = add(0, 50, 0, false, 0);
    low = add(1, 50, 2, false, 5);
    high->most_ns = low->most_ns = 2 * MS;
    run(10 * S);
    cr_assert_float_eq(part(1), 0.05, 0.02, "%f", part(1));

    world_begin(13);
    add(0, 50, 0, false, 0);
    add(1, 50, 2, false, 0);
    run(10 * S);
    cr_assert_leq(part(1), 0.001, "none was promised");
}

Test(fair, a_short_pause_of_a_higher_class_is_not_used)
{
    uint32_t picked;
    uint64_t until;

    world_begin(14);
    add(0, 50, 0, false, 0);
    add(1, 50, 2, false, 0);
    cr_assert_eq(be_fair_enter(&w.f, 0, 100 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
    cr_assert_eq(be_fair_enter(&w.f, 1, 100 * US, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    w.now += 100 * US;
    cr_assert_eq(be_fair_drained(&w.f, 0, w.now), BE_FAIR_ALL);
    cr_assert_eq(be_fair_enter(&w.f, 1, 100 * US, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    cr_assert_leq(until, w.now + BE_FAIR_HOLD_MAX_NS);
    w.now += 20 * US;
    cr_assert_eq(be_fair_enter(&w.f, 0, 100 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
    w.now += 100 * US;
    cr_assert_eq(be_fair_drained(&w.f, 0, w.now), BE_FAIR_ALL);
    cr_assert_eq(be_fair_enter(&w.f, 1, 100 * US, 0, w.now, &picked, &until), BE_FAIR_WAIT);
    w.now = until;
    cr_assert_eq(be_fair_enter(&w.f, 1, 100 * US, 0, w.now, &picked, &until), BE_FAIR_GO);
}
