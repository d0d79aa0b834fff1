/* tests/unit/frontend/test_list.c -- several servers as one list of devices */
#include "fake.h"

#include "frontend/core/call.h"
#include "frontend/core/list.h"
#include "protocol/abi/cuda_types.h"
#include "protocol/base/url.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names ---------------------------------------------------------------------------- */

Test(list, is_cut_where_a_url_begins_behind_a_plus)
{
    const char *text = "tls://a:1+shm:///run/a+b+gpupool://c";

    cr_assert_eq(gp_url_group_next(text), strlen("tls://a:1"));
    text += strlen("tls://a:1+");
    cr_assert_eq(gp_url_group_next(text), strlen("shm:///run/a+b"));
    text += strlen("shm:///run/a+b+");
    cr_assert_eq(gp_url_group_next(text), strlen("gpupool://c"));
    cr_assert_eq(gp_url_group_next(""), 0);
}

Test(list, is_what_the_configuration_joins)
{
    struct fe_config config;

    setenv("GPUPOOL_SERVER", "tls://a:1+tls://b:2, tls://c:3", 1);
    cr_assert_eq(fe_config_load(&config), GP_OK);
    cr_assert_eq(config.server_count, 3);
    cr_assert_str_eq(config.servers[1], "tls://b:2");
    cr_assert(!config.together[0] && config.together[1] && !config.together[2]);
    fe_config_fini(&config);
}

/* Those that are used together have the time of one. */
Test(list, has_as_many_choices_as_groups)
{
    struct fe_config config;

    setenv("GPUPOOL_SERVER", "tls://a:1+tls://b:2+tls://c:3,tls://d:4,tls://e:5+tls://f:6", 1);
    cr_assert_eq(fe_config_load(&config), GP_OK);
    cr_assert_eq(fe_config_choices(&config, 0), 3);
    cr_assert_eq(fe_config_choices(&config, 3), 2);
    cr_assert_eq(fe_config_choices(&config, 4), 1);
    cr_assert_eq(fe_config_choices(&config, 6), 0);
    fe_config_fini(&config);
}

Test(list, with_something_that_is_no_url_is_refused, .init = cr_redirect_stderr)
{
    struct fe_config config;

    setenv("GPUPOOL_SERVER", "tls://a:1+nonsense", 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
}

Test(list, longer_than_what_a_program_can_use_is_refused, .init = cr_redirect_stderr)
{
    char text[32 * (FE_SERVERS_MAX + 1)] = "tls://a:1";
    struct fe_config config;

    for (unsigned i = 0; i < FE_SERVERS_MAX; i++)
        strcat(text, "+tls://a:1");
    setenv("GPUPOOL_SERVER", text, 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
}

/* --- places on the bus ------------------------------------------------------------------ */

Test(list, gives_each_servers_devices_a_domain_of_their_own)
{
    static struct wire_device d = {.pci_bus_id = "0000:3b:00.0",
                                   .attribute_count = WIRE_ATTRIBUTES_MAX};

    fe_list_pci(&d, 0);
    cr_assert_str_eq(d.pci_bus_id, "0000:3b:00.0", "the first server's stay as they are");
    fe_list_pci(&d, 2);
    cr_assert_str_eq(d.pci_bus_id, "0200:3b:00.0");
    cr_assert_eq(d.attributes[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID], 0x200);
    strcpy(d.pci_bus_id, "nonsense");
    fe_list_pci(&d, 1);
    cr_assert_str_eq(d.pci_bus_id, "nonsense");
}

/* --- what a program needs ---------------------------------------------------------------- */

#define GIB (1ull << 30)

static struct wire_device devices[6];
static const unsigned servers[6] = {0, 0, 1, 1, 2, 2};

static unsigned
choose(unsigned gpus, bool spread, unsigned order[6], char why[PLACE_TEXT])
{
    struct place_need need = {.gpus = gpus, .memory_bytes = GIB, .spread = spread};

    for (unsigned i = 0; i < 6; i++) {
        order[i] = i;
        devices[i].total_bytes = 4 * GIB;
        if (devices[i].free_bytes == 0)
            devices[i].free_bytes = 2 * GIB;
    }
    return fe_list_choose(&need, devices, servers, order, 6, why);
}

Test(list, packs_onto_one_server_that_has_enough)
{
    char why[PLACE_TEXT] = "";
    unsigned order[6];

    devices[0].free_bytes = 1; /* the first server has one left */
    cr_assert_eq(choose(2, false, order, why), 2);
    cr_assert_eq(order[0], 2);
    cr_assert_eq(order[1], 3);
}

Test(list, packs_onto_as_few_servers_as_it_takes)
{
    char why[PLACE_TEXT] = "";
    unsigned order[6];

    cr_assert_eq(choose(3, false, order, why), 3);
    cr_assert_eq(servers[order[0]], 0);
    cr_assert_eq(servers[order[1]], 0);
    cr_assert_eq(servers[order[2]], 1);
}

Test(list, spreads_over_all_servers_in_turn)
{
    char why[PLACE_TEXT] = "";
    unsigned order[6];

    cr_assert_eq(choose(3, true, order, why), 3);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(servers[order[i]], i);
}

Test(list, says_what_lacks)
{
    char why[PLACE_TEXT] = "";
    unsigned order[6];

    devices[5].free_bytes = 1;
    cr_assert_eq(choose(6, false, order, why), 5);
    cr_assert(strstr(why, "5 of 6 GPUs") != NULL, "%s", why);
}

/* --- sessions ----------------------------------------------------------------------------- */

/* Two servers, the second with more devices. */
static void
start_two(struct fake *a, struct fake *b)
{
    char both[160];

    fake_start(a, &(struct fake_opts){.devices = 2});
    snprintf(both, sizeof(both), "%s+", a->url);
    fake_start(b, &(struct fake_opts){.devices = 3});
    strcat(both, b->url);
    setenv("GPUPOOL_SERVER", both, 1);
}

Test(list, of_two_servers_has_the_devices_of_both)
{
    const struct fe_sessions *all = fe_sessions();
    struct fake a, b;

    start_two(&a, &b);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(all->count, 2);
    cr_assert_eq(all->device_count, 5);
    cr_assert_eq(all->devices[1].session, all->list[0]);
    cr_assert_eq(all->devices[2].session, all->list[1]);
    cr_assert_eq(all->devices[2].server_ordinal, 0);
    cr_assert_str_eq(all->devices[4].info->pci_bus_id, "0100:02:00.0");
    /* Both wished for the same addresses. */
    cr_assert_neq(all->list[0]->device_range.base, all->list[1]->device_range.base);
    cr_assert_eq(b.last_hint, all->list[1]->device_range.base);
    fake_stop(&a);
    fake_stop(&b);
}

Test(list, is_what_cuda_visible_devices_counts)
{
    const struct fe_sessions *all = fe_sessions();
    struct fake a, b;

    start_two(&a, &b);
    setenv("CUDA_VISIBLE_DEVICES", "4,0", 1);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(all->device_count, 2);
    cr_assert_eq(all->devices[0].session, all->list[1]);
    cr_assert_eq(all->devices[0].server_ordinal, 2);
    cr_assert_eq(all->devices[1].session, all->list[0]);
    fake_stop(&a);
    fake_stop(&b);
}

Test(list, lets_a_server_go_of_which_nothing_is_seen)
{
    const struct fe_sessions *all = fe_sessions();
    struct fake a, b;

    start_two(&a, &b);
    setenv("CUDA_VISIBLE_DEVICES", "3", 1);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(all->count, 1);
    cr_assert_eq(all->list[0]->index, 0);
    fake_join(&a); /* its line was closed */
    fake_stop(&b);
}

Test(list, is_none_if_one_server_is_not_there, .init = cr_redirect_stderr)
{
    char list[256];
    struct fake a, b;

    fake_start(&a, NULL);
    fake_start(&b, NULL);
    /* The alternative behind the comma is taken instead. */
    snprintf(list, sizeof(list), "%s+tcp://127.0.0.1:1,%s", a.url, b.url);
    setenv("GPUPOOL_SERVER", list, 1);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(fe_sessions()->count, 1);
    cr_assert_str_eq(fe_sessions()->list[0]->url, b.url);
    fake_stop(&a);
    fake_stop(&b);
}

static CUresult
barrier(struct fe_session *s)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_gpBarrier, s);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(&call, 0) == NULL)
        return fe_leave(&call, fe_lost(&call));
    fe_post_done(&call);
    return fe_leave(&call, fe_wait(&call, &bytes, &len));
}

Test(list, goes_on_without_a_server_that_is_lost, .init = cr_redirect_stderr)
{
    const struct fe_sessions *all = fe_sessions();
    struct fake a, b;
    CUresult cr = CUDA_SUCCESS;

    start_two(&a, &b);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(all->list[0]), CUDA_SUCCESS);
    fake_stop(&a);
    cr_assert_eq(barrier(all->list[0]), CUDA_ERROR_DEVICE_UNAVAILABLE);
    cr_assert_eq(barrier(all->list[1]), CUDA_SUCCESS);
    cr_assert_eq(fe_session_get(&cr), all->list[1]);
    cr_assert_eq(fe_session_error(), CUDA_SUCCESS);
    fake_stop(&b);
    cr_assert_eq(barrier(all->list[1]), CUDA_ERROR_DEVICE_UNAVAILABLE);
    cr_assert_null(fe_session_get(&cr));
    cr_assert_eq(cr, CUDA_ERROR_DEVICE_UNAVAILABLE);
}
