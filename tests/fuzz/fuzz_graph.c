/* tests/fuzz/fuzz_graph.c -- graphs that a stranger describes
 *
 * The input is a description as it is (first byte odd), or one that is made of it node by node, so
 * that more get past the first check. It is instantiated, launched, changed and destroyed in a
 * session without a line.
 */
#include "tests/fuzz/served.h"

#include "be_hooks.h"
#include "protocol/wire/graph.h"
#include "protocol/wire/kernel_table.h"

#include <stdlib.h>
#include <string.h>

#define ONE (1ull << 32 | 1)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char image[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                            ".visible .entry k(.param .u64 a, .param .u32 b)\n{\nret;\n}\n";

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    /* A grid of 2^32 blocks is no mistake, and takes its time: kernels are not executed. */
    setenv("GPUPOOL_SOFT_INSTANT", "1", 0);
    fuzz_driver_open();
    return 0;
}

struct input {
    const uint8_t *at;
    size_t left;
};

static uint32_t
take(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

/* Mostly sense, here and there a byte of the input. */
static void
spoil(struct input *in, void *body, size_t bytes)
{
    uint32_t times = take(in) % 4;

    while (times-- > 0)
        ((uint8_t *)body)[take(in) % bytes] = (uint8_t)take(in);
}

static void
put_body(struct input *in, struct gp_buf *buf, uint32_t type, uint64_t memory)
{
    struct {
        struct wire_graph_kernel head;
        uint8_t values[16];
    } kernel = {.head = {.function = wire_function_id(false, ONE, 0),
                         .grid = {1, 1, 1},
                         .block = {1, 1, 1},
                         .param_bytes = 12}};
    struct wire_graph_copy copy = {.width = 16,
                                   .height = 2,
                                   .depth = 2,
                                   .src = {.base = memory, .pitch = 16, .slice = 32},
                                   .dst = {.base = memory + 4096, .pitch = 16, .slice = 32}};
    struct wire_graph_fill fill = {memory, 16, 4, 2, 1, 4};
    struct {
        struct wire_graph_values head;
        CUstreamBatchMemOpParams op;
    } values = {{1, 0}, {.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32}}};
    struct wire_graph_id id = {ONE};

    values.op.writeValue.address = memory;
#define PUT(what)                                                                                  \
    spoil(in, &(what), sizeof(what));                                                              \
    wire_graph_put(buf, &(what), sizeof(what));                                                    \
    break
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        PUT(kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        PUT(copy);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        PUT(fill);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        spoil(in, &values, sizeof(values));
        /* Nobody writes what it would wait for; a worker is ended by force then, a fuzzer is not.
         */
        if (values.op.operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
            values.op.operation == CU_STREAM_MEM_OP_WAIT_VALUE_64)
            values.op.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
        wire_graph_put(buf, &values, sizeof(values));
        break;
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        PUT(id);
    default:
        break;
    }
#undef PUT
}

static void
put_graph(struct input *in, struct gp_buf *buf, uint64_t memory, unsigned depth)
{
    uint32_t count = take(in) % 6;

    (void)wire_graph_begin(buf, count);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_graph_node node = {.type = take(in) % 14, .edges = take(in) % 3};
        struct wire_graph_edge edges[2] = {{.from = take(in) % 6}, {.from = take(in) % 6}};
        size_t place;

        if (i == 0)
            node.edges = 0;
        place = wire_graph_node_begin(buf, &node, edges);
        if (node.type == CU_GRAPH_NODE_TYPE_GRAPH && depth < 20)
            put_graph(in, buf, memory, depth + 1);
        else
            put_body(in, buf, node.type, memory);
        wire_graph_node_end(buf, place);
    }
}

static void
feed(struct be_session *session, const uint8_t *data, size_t size)
{
    uint64_t memory = be_space_base(session->space);
    GP_AUTO_BUF struct gp_buf row = {0}, buf = {0};
    struct input in = {data + 1, size - 1};
    const char *why;

    if (data[0] % 2 == 0)
        put_graph(&in, &buf, memory, 0);
    else
        gp_buf_append(&buf, data + 1, size - 1);
    ADD(&row, 0, cuDevicePrimaryCtxRetain, .context = ONE);
    ADD(&row, 1, cuMemAlloc_v2, .address = memory, .bytes = 1u << 20);
    ADD(&row, 1, cuEventCreate, .phEvent = ONE);
    ADD(&row, 0, gpUpload, .upload = 1, .total = sizeof(image), .data = (const uint8_t *)image,
        .data_len = sizeof(image));
    ADD(&row, 1, cuModuleLoadDataEx, .module = ONE, .upload = 1);
    for (uint32_t upload = 2; upload <= 3; upload++)
        ADD(&row, 0, gpUpload, .upload = upload, .total = buf.len, .data = buf.data,
            .data_len = (uint32_t)buf.len);
    ADD(&row, 1, cuGraphInstantiateWithFlags, .exec = ONE, .upload = 2, .counted = data[0] & 2);
    ADD(&row, 1, cuGraphLaunch, .exec = ONE);
    ADD(&row, 1, cuGraphExecUpdate_v2, .exec = ONE, .upload = 3);
    ADD(&row, 1, cuGraphExecNodeSetParams, .exec = ONE, .node = take(&in) % 4, .params = buf.data,
        .params_len = (uint32_t)buf.len);
    ADD(&row, 1, cuGraphNodeSetEnabled, .exec = ONE, .node = take(&in) % 4);
    ADD(&row, 1, cuGraphLaunch, .exec = ONE);
    ADD(&row, 0, cuGraphExecDestroy, .exec = ONE);
    if (be_session_feed(session, row.data, row.len, &why) != GP_OK)
        abort(); /* the row is well formed */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct be_session *session;

    if (size < 2 || size > 60000)
        return -1;
    session = fuzz_session_begin();
    feed(session, data, size);
    fuzz_session_end(session);
    return 0;
}
