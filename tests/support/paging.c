/* tests/support/paging.c */
#include "tests/support/paging.h"

#include "protocol/base/buf.h"
#include "protocol/base/util.h"
#include "protocol/wire/frame.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

const char paging_two[] = "[tenant \"a\"]\nmatch = cn:alice\nmemory = 38m\n"
                          "[tenant \"b\"]\nmatch = cn:bob\nmemory = 38m\n"
                          "[tenant \"c\"]\nmatch = cn:carol\nmemory = 38m\n"
                          "[tenant \"d\"]\nmatch = cn:dave\nmemory = 38m\n";
const char *const paging_names[4] = {"alice", "bob", "carol", "dave"};

struct test_server
paging_server(const char *config, const char *one, const char *other)
{
    const char *const options[] = {one, other, NULL};

    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    return test_tenants_start_with(config, options);
}

/* All that it may have; the lease. */
uint64_t
paging_lease_all(struct test_client *c)
{
    struct wire_gpLease_reply reply;

    TEST_ADD(c, gpLease, .device = 0, .bytes = 8192 * MIB);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert(wire_get_gpLease_reply(c->reply, c->reply_len, &reply));
    return c->answer.devices[0].lease_bytes + reply.granted;
}

uint64_t
paging_at(const struct test_client *c, unsigned piece)
{
    return c->answer.device_range.base + piece * 64 * MIB;
}

void
paging_take(struct test_client *c, unsigned piece, uint64_t bytes)
{
    TEST_ADD(c, cuMemAlloc_v2, .address = paging_at(c, piece), .bytes = bytes);
}

/* Memory of the program's own, mapped there. */
void
paging_object_as(struct test_client *c, unsigned piece, uint64_t bytes, uint64_t id)
{
    uint64_t at = paging_at(c, piece);

    TEST_ADD(c, cuMemCreate, .handle = id, .bytes = bytes);
    TEST_ADD(c, cuMemMap, .address = at, .bytes = bytes, .handle = id);
    TEST_ADD(c, cuMemSetAccess, .address = at, .bytes = bytes, .named = 1, .readable = 1,
             .writable = 1);
}

void
paging_object(struct test_client *c, unsigned piece, uint64_t bytes)
{
    paging_object_as(c, piece, bytes, OBJECT(piece));
}

void
paging_fill(struct test_client *c, unsigned piece, uint64_t bytes, uint32_t value)
{
    TEST_ADD(c, cuMemsetD32Async, .dst = paging_at(c, piece), .value = value, .count = bytes / 4);
}

/* The words at some places of a piece are all value. */
bool
paging_holds(struct test_client *c, unsigned piece, uint64_t bytes, uint32_t value)
{
    static const unsigned sixteenths[] = {0, 5, 11, 15};

    for (size_t i = 0; i < GP_ARRAY_LEN(sixteenths); i++) {
        uint64_t at = bytes / 16 * sixteenths[i];
        uint32_t words[64];

        if (sixteenths[i] == 15)
            at = bytes - sizeof(words);
        gp_buf_reset(&c->data);
        TEST_ADD(c, cuMemcpyDtoH_v2, .src = paging_at(c, piece) + at, .bytes = sizeof(words),
                 .data = 1);
        if (test_client_call(c) != CUDA_SUCCESS || c->data.len != sizeof(words))
            return false;
        memcpy(words, c->data.data, sizeof(words));
        for (size_t k = 0; k < GP_ARRAY_LEN(words); k++)
            if (words[k] != value)
                return false;
    }
    return true;
}

int
paging_kernel(struct test_client *c)
{
    static const char kernel[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                                 ".visible .entry k()\n{\nret;\n}\n";

    cr_assert_eq(test_client_module(c, ID(1), kernel), CUDA_SUCCESS);
    return test_client_kernel(c, "k");
}

void
paging_launch(struct test_client *c, int row)
{
    TEST_ADD(c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), (uint32_t)row),
             .grid = {1, 1, 1}, .block = {1, 1, 1});
    cr_assert_eq(test_client_deferred(c), CUDA_SUCCESS);
}

void
paging_admin(const char *path, struct wire_admin_answer *answer_p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct wire_admin_request request = {.what = WIRE_ADMIN_LIST,
                                         .parts = WIRE_ADMIN_GPUS | WIRE_ADMIN_TENANTS};
    struct wire_frame_header header = {.kind = WIRE_FRAME_HELLO, .tag = WIRE_CONTROL_ADMIN};
    GP_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    GP_AUTO_BUF struct gp_buf message = {0};
    uint8_t frame[WIRE_FRAME_HEADER_BYTES];
    GP_AUTO_FREE uint8_t *answer = NULL;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    cr_assert_eq(connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)), 0);
    cr_assert_eq(wire_admin_request_encode(&request, &message), GP_OK);
    header.payload_bytes = (uint32_t)message.len;
    wire_frame_encode(&header, frame);
    cr_assert_eq(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), (ssize_t)sizeof(frame));
    cr_assert_eq(send(fd, message.data, message.len, MSG_NOSIGNAL), (ssize_t)message.len);
    cr_assert_eq(recv(fd, frame, sizeof(frame), MSG_WAITALL), (ssize_t)sizeof(frame));
    cr_assert_eq(wire_frame_decode(frame, WIRE_ADMIN_ANSWER_MAX, &header), GP_OK);
    answer = malloc(header.payload_bytes);
    cr_assert_eq(recv(fd, answer, header.payload_bytes, MSG_WAITALL), header.payload_bytes);
    cr_assert_eq(wire_admin_answer_decode(answer, header.payload_bytes, answer_p), GP_OK);
}
