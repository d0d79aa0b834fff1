/* tests/integration/test_hostile_graph.c -- descriptions of graphs that are not what they should be
 *
 * The client speaks the protocol itself and checks nothing; the server must.
 */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/base/buf.h"
#include "protocol/wire/graph.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <string.h>

static const char plain[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                            ".visible .entry plain(.param .u64 p)\n{\nret;\n}\n";

static struct test_server server;
static struct test_client c;
static uint64_t memory;
static uint32_t next_upload = 100, next_exec = 1;
static struct gp_buf buf;

static void
begin(void)
{
    server = test_server_start(NULL);
    test_client_start(&c, server.url[0]);
    memory = c.answer.device_range.base;
    TEST_ADD(&c, cuMemAlloc_v2, .address = memory, .bytes = 4096, .device = 0);
    TEST_ADD(&c, cuEventCreate, .phEvent = ID(1));
    cr_assert_eq(test_client_module(&c, ID(1), plain), CUDA_SUCCESS);
}

static void
finish(void)
{
    gp_buf_fini(&buf);
    test_client_close(&c);
    test_server_stop(&server);
}

TestSuite(hostile_graph, .init = begin, .fini = finish);

/* Instantiate what is in the buffer. */
static int
instantiate(void)
{
    cr_assert_eq(gp_buf_status(&buf), GP_OK);
    TEST_ADD(&c, gpUpload, .upload = next_upload, .total = buf.len, .data = buf.data,
             .data_len = (uint32_t)buf.len);
    TEST_ADD(&c, cuGraphInstantiateWithFlags, .exec = ID(next_exec), .upload = next_upload);
    next_upload++;
    next_exec++;
    return test_client_deferred(&c);
}

static void
start(uint32_t nodes)
{
    gp_buf_reset(&buf);
    (void)wire_graph_begin(&buf, nodes);
}

static void
add(uint32_t type, const void *body, size_t bytes)
{
    const struct wire_graph_node node = {.type = type};
    size_t place = wire_graph_node_begin(&buf, &node, NULL);

    wire_graph_put(&buf, body, bytes);
    wire_graph_node_end(&buf, place);
}

static int
one(uint32_t type, const void *body, size_t bytes)
{
    start(1);
    add(type, body, bytes);
    return instantiate();
}

static struct wire_graph_kernel
kernel(void)
{
    return (struct wire_graph_kernel){.function = wire_function_id(false, ID(1), 0),
                                      .grid = {1, 1, 1},
                                      .block = {1, 1, 1},
                                      .param_bytes = 8};
}

Test(hostile_graph, a_description_that_lies_about_itself_is_refused)
{
    const uint32_t events = CU_GRAPH_NODE_TYPE_EVENT_RECORD;
    struct wire_graph_id id = {ID(1)};
    uint64_t twice[2] = {ID(1), 0};

    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0), CUDA_SUCCESS);
    cr_assert_eq(one(events, &id, sizeof(id)), CUDA_SUCCESS);
    cr_assert_eq(one(events, NULL, 0), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(one(events, twice, sizeof(twice)), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_EMPTY, &id, sizeof(id)), CUDA_ERROR_INVALID_VALUE);
    for (uint32_t type = 14; type < 20; type++)
        cr_assert_eq(one(type, NULL, 0), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_MEM_ALLOC, NULL, 0), CUDA_ERROR_INVALID_VALUE);
    start(2); /* one is missing */
    add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
    cr_assert_eq(instantiate(), CUDA_ERROR_INVALID_VALUE);
    start(0xffffffff);
    add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
    cr_assert_eq(instantiate(), CUDA_ERROR_INVALID_VALUE);
    start(1); /* one too many */
    add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
    add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
    cr_assert_eq(instantiate(), CUDA_ERROR_INVALID_VALUE);
    start(1);
    add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
    buf.data[sizeof(struct wire_graph_head)] = 0xff; /* its length */
    cr_assert_eq(instantiate(), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuGraphInstantiateWithFlags, .exec = ID(77), .upload = 4711);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
}

Test(hostile_graph, edges_lead_backwards_only)
{
    const struct wire_graph_node node = {.type = CU_GRAPH_NODE_TYPE_EMPTY, .edges = 1};

    for (uint32_t from = 0; from < 4; from++) {
        struct wire_graph_edge edge = {.from = from};

        start(2);
        add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
        wire_graph_node_end(&buf, wire_graph_node_begin(&buf, &node, &edge));
        cr_assert_eq(instantiate(), from == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
    }
}

Test(hostile_graph, graphs_inside_graphs_end)
{
    for (int depth = 1; depth < 40; depth++) {
        size_t places[40];
        const struct wire_graph_node node = {.type = CU_GRAPH_NODE_TYPE_GRAPH};

        start(1);
        for (int i = 0; i < depth; i++) {
            places[i] = wire_graph_node_begin(&buf, &node, NULL);
            (void)wire_graph_begin(&buf, i + 1 < depth ? 1 : 0);
        }
        for (int i = depth; i-- > 0;)
            wire_graph_node_end(&buf, places[i]);
        cr_assert_eq(instantiate(),
                     depth < (int)WIRE_GRAPH_DEPTH_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE,
                     "depth %d", depth);
    }
}

Test(hostile_graph, kernels_get_what_they_take)
{
    struct {
        struct wire_graph_kernel head;
        uint64_t value;
    } k = {kernel(), 0};

    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_SUCCESS);
    k.head.flags = WIRE_GRAPH_EXTRA;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_SUCCESS);
    k.head.param_bytes = 7;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_ERROR_INVALID_VALUE);
    k.head = kernel();
    k.head.param_bytes = 4;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_ERROR_INVALID_VALUE);
    k.head.param_bytes = 0xfffffff8;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_ERROR_INVALID_VALUE);
    k.head = kernel();
    k.head.attributes = 0x20000000;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_ERROR_INVALID_VALUE);
    k.head = kernel();
    k.head.function = wire_function_id(false, ID(1), 7);
    cr_assert_neq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_SUCCESS);
    k.head.function = wire_function_id(true, ID(9), 0);
    cr_assert_neq(one(CU_GRAPH_NODE_TYPE_KERNEL, &k, sizeof(k)), CUDA_SUCCESS);
}

static struct wire_graph_copy
copy(void)
{
    return (struct wire_graph_copy){.width = 64,
                                    .height = 2,
                                    .depth = 2,
                                    .src = {.base = memory, .pitch = 64, .slice = 128},
                                    .dst = {.base = memory + 1024, .pitch = 64, .slice = 128}};
}

Test(hostile_graph, copies_and_fills_stay_inside_the_sessions_memory)
{
    const uint32_t type = CU_GRAPH_NODE_TYPE_MEMCPY;
    struct wire_graph_fill fill = {memory, 0, 1024, 1, 7, 4};
    struct wire_graph_copy bad[12];

    bad[0] = copy();
    cr_assert_eq(one(type, bad, sizeof(bad[0])), CUDA_SUCCESS);
    for (int i = 0; i < 12; i++)
        bad[i] = copy();
    bad[0].src.base = memory - 1;
    bad[1].dst.base = memory + (1ull << 30);
    bad[2].dst.base = 0;
    bad[3].src.pitch = 63;
    bad[4].src.slice = 1ull << 62;
    bad[5].width = 1ull << 63;
    bad[6].depth = 0;
    bad[7].src = (struct wire_graph_side){.place = WIRE_GRAPH_HOST, .base = memory};
    bad[8].src = (struct wire_graph_side){.place = WIRE_GRAPH_HOST, .base = WIRE_GRAPH_TOKEN};
    bad[8].dst = bad[8].src;
    bad[9].src.place = 77;
    bad[10].src = (struct wire_graph_side){.place = WIRE_GRAPH_ARRAY, .base = ID(5)};
    bad[11].height = 1ull << 40;
    bad[11].src.pitch = 1ull << 40;
    for (int i = 0; i < 12; i++)
        cr_assert_neq(one(type, &bad[i], sizeof(bad[i])), CUDA_SUCCESS, "copy %d", i);
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_MEMSET, &fill, sizeof(fill)), CUDA_SUCCESS);
    fill.width = 1ull << 40;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_MEMSET, &fill, sizeof(fill)), CUDA_ERROR_INVALID_VALUE);
    fill.width = 16;
    fill.element = 3;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_MEMSET, &fill, sizeof(fill)), CUDA_ERROR_INVALID_VALUE);
}

Test(hostile_graph, pinned_memory_of_copies_is_counted)
{
    struct wire_graph_copy c64 = {.width = 1ull << 40,
                                  .height = 1,
                                  .depth = 1,
                                  .src = {.place = WIRE_GRAPH_HOST, .base = WIRE_GRAPH_TOKEN | 1},
                                  .dst = {.base = memory, .pitch = 64, .slice = 64}};

    cr_assert_neq(one(CU_GRAPH_NODE_TYPE_MEMCPY, &c64, sizeof(c64)), CUDA_SUCCESS);
}

Test(hostile_graph, what_is_waited_for_is_memory_too)
{
    struct {
        struct wire_graph_values head;
        CUstreamBatchMemOpParams op;
    } v = {{1, 0}, {.waitValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32}}};

    v.op.writeValue.address = memory + 4;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &v, sizeof(v)), CUDA_SUCCESS);
    v.op.writeValue.address = memory + (1ull << 30);
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &v, sizeof(v)), CUDA_ERROR_INVALID_VALUE);
    v.op.operation = 1000;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &v, sizeof(v)), CUDA_ERROR_INVALID_VALUE);
    v.head.count = 0xffffffff;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, &v, sizeof(v)), CUDA_ERROR_INVALID_VALUE);
}

Test(hostile_graph, ids_and_numbers_of_nothing_are_refused)
{
    struct wire_graph_fill fill = {memory, 0, 16, 1, 7, 4};
    struct wire_graph_id id = {ID(99)};

    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_EVENT_RECORD, &id, sizeof(id)), CUDA_ERROR_INVALID_HANDLE);
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_HOST, &id, sizeof(id)), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuGraphLaunch, .exec = ID(500));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuGraphExecDestroy, .exec = ID(500));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_HANDLE);

    next_exec = 50;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_MEMSET, &fill, sizeof(fill)), CUDA_SUCCESS);
    TEST_ADD(&c, cuGraphExecNodeSetParams, .exec = ID(50), .node = 0, .params = buf.data,
             .params_len = (uint32_t)buf.len);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    TEST_ADD(&c, cuGraphExecNodeSetParams, .exec = ID(50), .node = 1, .params = buf.data,
             .params_len = (uint32_t)buf.len);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuGraphExecNodeSetParams, .exec = ID(50), .node = 0, .params = buf.data,
             .params_len = (uint32_t)buf.len - 8);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, cuGraphNodeSetEnabled, .exec = ID(50), .node = 0xffffffff);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    start(1);
    add(CU_GRAPH_NODE_TYPE_EMPTY, NULL, 0);
    TEST_ADD(&c, cuGraphExecNodeSetParams, .exec = ID(50), .node = 0, .params = buf.data,
             .params_len = (uint32_t)buf.len);
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    /* An id is used once. */
    next_exec = 50;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_MEMSET, &fill, sizeof(fill)), CUDA_ERROR_INVALID_HANDLE);
    TEST_ADD(&c, cuGraphLaunch, .exec = ID(50));
    TEST_ADD(&c, cuGraphExecDestroy, .exec = ID(50));
    TEST_ADD(&c, cuGraphLaunch, .exec = ID(50));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_HANDLE);
}

/* A client that goes while a graph waits for it. */
Test(hostile_graph, a_graph_that_waits_for_a_client_ends_with_it)
{
    struct wire_graph_id id = {WIRE_GRAPH_TOKEN | 5};

    next_exec = 60;
    cr_assert_eq(one(CU_GRAPH_NODE_TYPE_HOST, &id, sizeof(id)), CUDA_SUCCESS);
    for (int i = 0; i < 5; i++)
        TEST_ADD(&c, cuGraphLaunch, .exec = ID(60));
    TEST_ADD(&c, cuGraphExecDestroy, .exec = ID(60));
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
}

/* One conditional node in a context, its bodies empty graphs. */
static int
condition(uint64_t context, struct wire_graph_cond head, uint32_t bodies)
{
    const struct wire_graph_node node = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL,
                                         .context = context};
    size_t place;

    start(1);
    place = wire_graph_node_begin(&buf, &node, NULL);
    wire_graph_put(&buf, &head, sizeof(head));
    while (bodies-- > 0)
        (void)wire_graph_begin(&buf, 0);
    wire_graph_node_end(&buf, place);
    return instantiate();
}

Test(hostile_graph, conditions_have_a_handle_a_context_and_their_bodies)
{
    const struct wire_graph_cond good = {.handle = 1ull << 63 | 5, .bodies = 1};
    struct wire_graph_cond head = good;

    cr_assert_eq(condition(ID(1), good, 1), CUDA_SUCCESS);
    cr_assert_eq(condition(0, good, 1), CUDA_ERROR_INVALID_CONTEXT);
    cr_assert_eq(condition(ID(9), good, 1), CUDA_ERROR_INVALID_CONTEXT);
    head.handle = 0;
    cr_assert_eq(condition(ID(1), head, 1), CUDA_ERROR_INVALID_VALUE);
    head = good;
    head.bodies = 2;
    cr_assert_eq(condition(ID(1), head, 1), CUDA_ERROR_INVALID_VALUE, "one is missing");
    head.bodies = 1;
    cr_assert_eq(condition(ID(1), head, 2), CUDA_ERROR_INVALID_VALUE, "one too many");
    head.bodies = 0xffffffff;
    cr_assert_eq(condition(ID(1), head, 1), CUDA_ERROR_INVALID_VALUE);
    head = good;
    head.type = 77;
    cr_assert_eq(condition(ID(1), head, 1), CUDA_ERROR_INVALID_VALUE);
    head = good;
    head.flags = 0xffffffff;
    cr_assert_eq(condition(ID(1), head, 1), CUDA_ERROR_INVALID_VALUE);
    head = good;
    head.type = CU_GRAPH_COND_TYPE_WHILE;
    head.bodies = 2;
    cr_assert_eq(condition(ID(1), head, 2), CUDA_ERROR_INVALID_VALUE);
}
