/* tests/fuzz/fuzz_dispatch.c -- the server's way below the transport, with calls of a stranger
 *
 * The input is either one row as it would come in a frame, or (first byte even) a list of calls:
 * two bytes that choose one, a byte for its context and stream, a length, the arguments. The
 * second form passes the checks of the row more often. A session has no line.
 */
#include "tests/fuzz/served.h"

#include "backend/session/bulk.h"
#include "be_hooks.h"

#include <stdlib.h>
#include <string.h>

#define ROW_MAX (256u << 10)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint16_t ids[WIRE_CALL_COUNT];
static unsigned id_count;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_driver_open();
    for (unsigned id = 0; id < WIRE_CALL_COUNT; id++)
        if (be_dispatch[id] != NULL)
            ids[id_count++] = (uint16_t)id;
    return 0;
}

static const char image[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                            ".visible .global .align 4 .b8 v[64];\n"
                            ".visible .entry k(.param .u64 a, .param .u32 b)\n{\nret;\n}\n";

/* What every program does first, so that the rest has something to name: two contexts, memory, and
 * of each kind of object the one with id 1. */
static void
begin(struct be_session *session)
{
    GP_AUTO_BUF struct gp_buf row = {0};
    const uint64_t one = 1ull << 32 | 1, two = 1ull << 32 | 2;
    const char *why;

    ADD(&row, 0, cuDevicePrimaryCtxRetain, .context = one);
    ADD(&row, 0, cuCtxCreate_v2, .context = two);
    ADD(&row, 1, cuMemAlloc_v2, .address = be_space_base(session->space), .bytes = 1u << 20);
    ADD(&row, 0, cuMemCreate, .handle = one, .bytes = 4u << 20);
    ADD(&row, 0, cuMemMap, .address = be_space_base(session->space) + (4u << 20), .bytes = 4u << 20,
        .handle = one);
    ADD(&row, 1, cuStreamCreateWithPriority, .phStream = one, .flags = 1);
    ADD(&row, 1, cuEventCreate, .phEvent = one);
    ADD(&row, 1, cuArray3DCreate_v2, .array = one,
        .desc = {64, 32, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_SURFACE_LDST});
    for (uint32_t upload = 1; upload <= 2; upload++)
        ADD(&row, 0, gpUpload, .upload = upload, .total = sizeof(image),
            .data = (const uint8_t *)image, .data_len = sizeof(image));
    ADD(&row, 1, cuModuleLoadDataEx, .module = one, .upload = 1);
    ADD(&row, 0, cuLibraryLoadData, .library = one, .upload = 2);
    if (be_session_feed(session, row.data, row.len, &why) != GP_OK)
        abort();
}

/* One call with as much of data as are well-formed arguments of it; nothing if nothing is. */
static void
feed_one(struct be_session *session, uint16_t call, uint32_t context, const uint8_t *data,
         size_t bytes)
{
    for (size_t len = WIRE_PAD(bytes);; len -= 8) {
        GP_AUTO_BUF struct gp_buf row = {0};
        const char *why;

        fuzz_record_add(&row, call, context, data, len < bytes ? len : bytes);
        if (wire_calls[call].check(row.data + sizeof(struct wire_record),
                                   row.len - sizeof(struct wire_record))) {
            if (be_session_feed(session, row.data, row.len, &why) != GP_OK)
                abort(); /* it was checked */
            return;
        }
        if (len < 8)
            return;
    }
}

static void
feed_list(struct be_session *session, const uint8_t *data, size_t size)
{
    while (size >= 4) {
        uint16_t call = ids[(data[0] | data[1] << 8) % id_count];
        uint32_t context = data[2] % 3;
        size_t bytes = data[3];

        data += 4;
        size -= 4;
        bytes = bytes < size ? bytes : size;
        feed_one(session, call, context, data, bytes);
        data += bytes;
        size -= bytes;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_cuMemcpyHtoDAsync_v2_args args;
    struct be_session *session;
    struct wire_record record;
    enum gp_status status;
    const char *why;

    if (size < 1 || size > ROW_MAX)
        return -1;
    if (size > BE_BULK_HEAD_BYTES)
        (void)be_bulk_is_copy(data + 1, (uint32_t)size - 1, &record, &args);
    session = fuzz_session_begin();
    begin(session);
    if (data[0] % 2 == 0) {
        feed_list(session, data + 1, size - 1);
    } else {
        void *row = malloc(size - 1 + (size == 1));

        memcpy(row, data + 1, size - 1);
        status = be_session_feed(session, row, size - 1, &why);
        (void)status;
        free(row);
    }
    fuzz_session_end(session);
    return 0;
}
