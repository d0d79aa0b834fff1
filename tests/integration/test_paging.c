/* tests/integration/test_paging.c -- more memory promised than the device has
 *
 * The software device has a name here, so that all workers share its bytes: it refuses what does
 * not fit, and what was paged out is not mapped, so that a kernel or copy that touched it would end
 * the worker. Times are modelled ones: copies at a rate, kernels by their threads.
 *
 * GPUPOOL_TEST_LONG=SECONDS makes the random test so long, and runs those that measure time: they
 * need a machine that has nothing else to do.
 */
#include "tests/support/paging.h"

#include "protocol/base/buf.h"
#include "protocol/base/clock.h"
#include "protocol/base/util.h"
#include "protocol/wire/admin.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned
long_s(void)
{
    const char *text = getenv("GPUPOOL_TEST_LONG");

    return text != NULL ? (unsigned)atoi(text) : 0;
}

/* Two sessions that need nearly all of the device each, in turns; whatever fails on the way. */
static void
in_turns_with(struct test_server server, unsigned rounds,
              void (*take_piece)(struct test_client *c, unsigned piece, uint64_t bytes))
{
    struct test_client c[2];

    int rows[2];

    for (unsigned i = 0; i < 2; i++)
        test_tenants_open(&c[i], &server, paging_names[i]);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(paging_lease_all(&c[i]), MOST);
        rows[i] = paging_kernel(&c[i]);
        for (unsigned p = 0; p < PIECES; p++)
            take_piece(&c[i], p, PIECE);
        cr_assert_eq(test_client_deferred(&c[i]), CUDA_SUCCESS);
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 2; i++) {
            paging_launch(&c[i], rows[i]); /* which may reach all of it */
            for (unsigned p = 0; p < PIECES; p++)
                cr_assert(round == 0 ||
                              paging_holds(&c[i], p, PIECE, (round - 1) * 1000 + p * 10 + i),
                          "round %u, session %u, piece %u", round, i, p);
            for (unsigned p = 0; p < PIECES; p++)
                paging_fill(&c[i], p, PIECE, round * 1000 + p * 10 + i);
            cr_assert_eq(test_client_deferred(&c[i]), CUDA_SUCCESS);
        }
    }
    for (unsigned i = 0; i < 2; i++)
        test_client_close(&c[i]);
    test_tenants_stop(&server);
}

static void
in_turns(const char *option, unsigned rounds)
{
    in_turns_with(paging_server(paging_two, "--oversubscribe=2.0", option), rounds, paging_take);
}

Test(paging, two_that_need_all_of_it_keep_their_bytes)
{
    in_turns("--log-level=info", 3);
}

Test(paging, no_byte_is_lost_where_steps_fail)
{
    in_turns("--swap-fault=8", 2);
}

Test(paging, what_is_packed_comes_back)
{
    in_turns("--arena-pack=always", 2);
}

/* Session by session: what the server's processes have open in the folder, and its names. */
static unsigned
spill_bytes(const struct test_server *server, const char *folder)
{
    char path[64], target[512], line[256];
    unsigned blocks = 0;
    FILE *children;
    int pid;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)server->pid, (int)server->pid);
    children = fopen(path, "r");
    cr_assert_not_null(children);
    while (fscanf(children, "%d", &pid) == 1)
        for (int fd = 3; fd < 64; fd++) {
            struct stat st;
            ssize_t n;

            snprintf(line, sizeof(line), "/proc/%d/fd/%d", pid, fd);
            n = readlink(line, target, sizeof(target) - 1);
            if (n <= 0 || strncmp(target, folder, strlen(folder)) != 0 || stat(line, &st) != 0)
                continue;
            cr_assert_eq(st.st_mode & 0777, 0600);
            cr_assert_eq(st.st_nlink, 0, "it has a name");
            blocks += (unsigned)st.st_blocks;
        }
    fclose(children);
    return blocks * 512;
}

static struct test_server
server_start_spill(const char *folder, const char *const *more)
{
    const char *options[8] = {"--oversubscribe=2.0"};
    char spill[128];

    snprintf(spill, sizeof(spill), "--spill=%s", folder);
    options[1] = spill;
    for (unsigned i = 0; more[i] != NULL; i++)
        options[2 + i] = more[i];
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    return test_tenants_start_with(paging_two, options);
}

#define WITH(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void
folder_make(char *folder)
{
    strcpy(folder, "/tmp/gpupool-spill-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

Test(paging, what_is_spilled_comes_back)
{
    char folder[64];

    folder_make(folder);
    in_turns_with(server_start_spill(folder, WITH("--spill-size=1g", "--spill-always")), 2,
                  paging_take);
    cr_assert_eq(rmdir(folder), 0, "nothing is left in it: %s", strerror(errno));
}

Test(paging, no_byte_is_lost_where_steps_of_spilling_fail)
{
    char folder[64];

    folder_make(folder);
    in_turns_with(
        server_start_spill(folder, WITH("--spill-size=1g", "--spill-always", "--swap-fault=8")), 2,
        paging_take);
    cr_assert_eq(rmdir(folder), 0);
}

/* What programs make and map themselves moves as well, wherever it goes to and whatever fails. */
Test(paging, the_programs_own_memory_leaves_and_comes_back)
{
    char folder[64];

    in_turns_with(paging_server(paging_two, "--oversubscribe=2.0", "--swap-fault=16"), 2,
                  paging_object);
    folder_make(folder);
    in_turns_with(server_start_spill(folder, WITH("--spill-size=1g", "--spill-always")), 2,
                  paging_object);
    cr_assert_eq(rmdir(folder), 0);
}

static void
map_again(struct test_client *c, uint64_t from, uint64_t to, uint64_t bytes, bool writable)
{
    TEST_ADD(c, cuMemUnmap, .address = from, .bytes = bytes);
    TEST_ADD(c, cuMemMap, .address = to, .bytes = bytes, .handle = OBJECT(0));
    TEST_ADD(c, cuMemSetAccess, .address = to, .bytes = bytes, .named = 1, .readable = 1,
             .writable = writable);
}

/* Of more than goes at once, in parts, with a second mapping of some of it. While it is away its
 * mappings change: to where it may only be read, and to none at all. */
Test(paging, a_large_object_comes_back_where_it_is_mapped_then)
{
    static const char large[] = "[tenant \"a\"]\nmatch = cn:alice\nmemory = 100m\n"
                                "[tenant \"b\"]\nmatch = cn:bob\nmemory = 100m\n";
    const uint64_t bytes = 100 * MIB, part = 70 * MIB;
    struct test_server server;
    struct test_client c[2];
    uint64_t at, second;

    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "160m", 1);
    server = test_tenants_start_with(large, WITH("--oversubscribe=2.0", "--swap-fault=32"));
    for (unsigned i = 0; i < 2; i++) {
        test_tenants_open(&c[i], &server, paging_names[i]);
        cr_assert_eq(paging_lease_all(&c[i]), bytes);
        paging_object(&c[i], 0, bytes);
        paging_fill(&c[i], 0, bytes, 70 + i);
        cr_assert_eq(test_client_deferred(&c[i]), CUDA_SUCCESS);
    }
    at = paging_at(&c[0], 0);
    second = paging_at(&c[0], 9);
    TEST_ADD(&c[0], cuMemMap, .address = second, .bytes = part, .offset = bytes - part,
             .handle = OBJECT(0));
    TEST_ADD(&c[0], cuMemSetAccess, .address = second, .bytes = part, .named = 1, .readable = 1,
             .writable = 1);
    paging_fill(&c[0], 9, MIB, 99); /* of the other: the middle of it */
    cr_assert(paging_holds(&c[0], 9, MIB, 99) && paging_holds(&c[0], 0, 16 * MIB, 70));
    cr_assert(paging_holds(&c[1], 0, bytes, 71));
    map_again(&c[0], at, paging_at(&c[0], 4), bytes, false);
    cr_assert(paging_holds(&c[0], 4, 16 * MIB, 70) && paging_holds(&c[0], 9, MIB, 99));
    cr_assert(paging_holds(&c[1], 0, bytes, 71));
    map_again(&c[0], paging_at(&c[0], 4), at, bytes, true);
    TEST_ADD(&c[0], cuMemUnmap, .address = second, .bytes = part);
    TEST_ADD(&c[0], cuMemUnmap, .address = at, .bytes = bytes);
    cr_assert_eq(test_client_deferred(&c[0]), CUDA_SUCCESS);
    TEST_ADD(&c[0], cuMemMap, .address = at, .bytes = bytes, .handle = OBJECT(0));
    TEST_ADD(&c[0], cuMemSetAccess, .address = at, .bytes = bytes, .named = 1, .readable = 1);
    cr_assert(paging_holds(&c[0], 0, 16 * MIB, 70));
    cr_assert(paging_holds(&c[1], 0, bytes, 71));
    /* Freed while it is away: the room and the lease are there again. */
    TEST_ADD(&c[0], cuMemUnmap, .address = at, .bytes = bytes);
    TEST_ADD(&c[0], cuMemRelease, .handle = OBJECT(0));
    paging_take(&c[0], 0, bytes);
    paging_fill(&c[0], 0, MIB, 5);
    cr_assert(paging_holds(&c[0], 0, MIB, 5));
    test_client_close(&c[0]);
    test_client_close(&c[1]);
    test_tenants_stop(&server);
}

/* A little of the host's memory and a disk: it lets in both, and one goes to the disk. */
Test(paging, a_disk_is_promised_beside_the_hosts_memory)
{
    struct test_server server;
    struct test_client c[2];
    char folder[64];
    uint64_t both;

    folder_make(folder);
    server = server_start_spill(folder, WITH("--arena=2m", "--spill-size=2m"));
    test_tenants_open(&c[0], &server, "alice");
    test_tenants_open(&c[1], &server, "bob");
    both = paging_lease_all(&c[0]);
    both += paging_lease_all(&c[1]);
    cr_assert_eq(both, DEVICE + 4 * MIB, "%llu", (unsigned long long)both);
    test_client_close(&c[0]);
    test_client_close(&c[1]);
    test_tenants_stop(&server);

    server =
        server_start_spill(folder, WITH("--arena=2m", "--spill-size=128m", "--arena-pack=never"));
    for (unsigned i = 0; i < 2; i++) {
        test_tenants_open(&c[i], &server, paging_names[i]);
        cr_assert_eq(paging_lease_all(&c[i]), MOST);
        for (unsigned p = 0; p < PIECES; p++) {
            paging_take(&c[i], p, PIECE);
            paging_fill(&c[i], p, PIECE, p * 10 + i);
        }
        cr_assert_eq(test_client_deferred(&c[i]), CUDA_SUCCESS);
    }
    cr_assert(paging_holds(&c[0], 7, PIECE, 70));
    /* It is written when the device is given up already. */
    for (int i = 0; spill_bytes(&server, folder) < 30 * MIB; i++) {
        cr_assert_lt(i, 2000);
        poll(NULL, 0, 5);
    }
    cr_assert(paging_holds(&c[1], 7, PIECE, 71));
    test_client_close(&c[0]);
    test_client_close(&c[1]);
    test_tenants_stop(&server);
    cr_assert_eq(rmdir(folder), 0);
}

Test(paging, the_quota_is_shown_and_no_more_is_promised_than_the_factor)
{
    struct test_server server =
        paging_server(paging_two, "--oversubscribe=1.5", "--log-level=info");
    uint64_t free_bytes, total;
    struct test_client a, b;

    test_tenants_open(&a, &server, "alice");
    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(paging_lease_all(&a), MOST);
    paging_take(&a, 0, PIECE);
    test_tenants_memory(&a, &free_bytes, &total);
    cr_assert_eq(total, MOST);
    cr_assert_eq(free_bytes, MOST - PIECE);
    cr_assert_eq(paging_lease_all(&b), DEVICE * 3 / 2 - MOST);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

Test(paging, a_full_arena_refuses_who_comes_not_who_is_there)
{
    struct test_server server = paging_server(paging_two, "--oversubscribe=2.0", "--arena=20m");
    struct test_client a, b;

    test_tenants_open(&a, &server, "alice");
    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(paging_lease_all(&a), MOST);
    cr_assert_eq(paging_lease_all(&b), DEVICE + 20 * MIB - MOST);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

/* -- what operators see -------------------------------------------------------------------------
 */

/* Two of 30 MiB on a device of 40: who does not work has left its part by the end of the turn. */
Test(paging, operators_see_what_is_not_on_the_device)
{
    static char option[96];
    const char *path = option + strlen("--admin-socket=");
    struct wire_admin_answer answer;
    struct test_server server;
    struct test_client c[2];
    uint64_t packed;
    int row;

    snprintf(option, sizeof(option), "--admin-socket=/tmp/gpupool-paging-%d.sock", (int)getpid());
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    server = test_tenants_start_with(paging_two,
                                     WITH("--oversubscribe=2.0", option, "--arena-pack=always"));
    for (unsigned i = 0; i < 2; i++) {
        test_tenants_open(&c[i], &server, paging_names[i]);
        cr_assert_eq(paging_lease_all(&c[i]), MOST);
        row = paging_kernel(&c[i]);
        for (unsigned p = 0; p < 15; p++)
            paging_take(&c[i], p, PIECE);
        paging_fill(&c[i], 0, PIECE, i);
        paging_launch(&c[i], row);
        cr_assert_eq(test_client_deferred(&c[i]), CUDA_SUCCESS);
        paging_admin(path, &answer);
        cr_assert_eq(answer.gpu_count, 1);
        cr_assert_geq(answer.gpus[0].paged_bytes, i * 20 * MIB);
        cr_assert_leq(answer.gpus[0].paged_bytes, i * 30 * MIB);
        cr_assert_eq(answer.tenants[0].uses[0].paged_bytes, answer.gpus[0].paged_bytes);
        cr_assert_eq(answer.tenants[1].uses[0].paged_bytes, 0);
        wire_admin_answer_fini(&answer);
    }
    /* It is packed when the device is given up already. */
    for (int i = 0;; i++) {
        paging_admin(path, &answer);
        packed = answer.server.paging_packed_bytes;
        cr_assert_eq(answer.server.paging_disk_bytes, 0);
        wire_admin_answer_fini(&answer);
        if (packed >= PIECE)
            break;
        cr_assert_lt(i, 2000);
        poll(NULL, 0, 5);
    }
    test_client_close(&c[1]);
    paging_launch(&c[0], row);
    cr_assert(paging_holds(&c[0], 0, PIECE, 0));
    paging_admin(path, &answer);
    cr_assert_eq(answer.server.paging_packed_bytes, 0);
    cr_assert_leq(answer.server.paging_host_bytes, 64 * MIB, "slabs are kept");
    cr_assert_eq(answer.gpus[0].paged_bytes, 0);
    wire_admin_answer_fini(&answer);
    test_client_close(&c[0]);
    test_tenants_stop(&server);
}

/* What cannot be paged leaves the others room to run. */
Test(paging, arrays_stay_and_never_keep_others_out)
{
    struct test_server server =
        paging_server(paging_two, "--oversubscribe=2.0", "--log-level=info");
    CUDA_ARRAY3D_DESCRIPTOR desc = {
        .Width = 1024, .Height = 768, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    struct test_client a, b;
    unsigned made = 0;

    test_tenants_open(&a, &server, "alice");
    test_tenants_open(&b, &server, "bob");
    cr_assert_eq(paging_lease_all(&a), MOST);
    cr_assert_eq(paging_lease_all(&b), MOST);
    for (unsigned p = 0; p < PIECES; p++)
        paging_take(&a, p, PIECE);
    paging_fill(&a, 0, PIECE, 7);
    cr_assert_eq(test_client_deferred(&a), CUDA_SUCCESS);
    /* 2 MiB are left beside the largest; an array here has 3 MiB. */
    TEST_ADD(&b, cuArray3DCreate_v2, .array = ID(1), .desc = desc);
    cr_assert_eq(test_client_call(&b), CUDA_ERROR_OUT_OF_MEMORY);
    desc.Height = 256;
    for (; made < 3; made++) {
        TEST_ADD(&b, cuArray3DCreate_v2, .array = ID(2 + made), .desc = desc);
        if (test_client_call(&b) != CUDA_SUCCESS)
            break;
    }
    cr_assert_eq(made, 2, "%u, result %d", made, (int)b.result.result);
    for (unsigned p = 0; p < PIECES - 1; p++)
        paging_take(&b, p, PIECE);
    paging_fill(&b, 0, PIECE, 8);
    cr_assert_eq(test_client_deferred(&b), CUDA_SUCCESS);
    cr_assert(paging_holds(&a, 0, PIECE, 7));
    cr_assert(paging_holds(&b, 0, PIECE, 8));
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

/* -- whatever a program does, against a model in this process -----------------------------------
 */

#define SESSIONS 4
#define OWN_MOST (20 * MIB) /* of each: 200 % of the device in all */
#define OWN      8          /* pieces of each session */
#define MIXED    4096       /* words that a kernel mixes at most */

static const char halves[] = "[tenant \"a\"]\nmatch = cn:alice\nmemory = 20m\n"
                             "[tenant \"b\"]\nmatch = cn:bob\nmemory = 20m\n"
                             "[tenant \"c\"]\nmatch = cn:carol\nmemory = 20m\n"
                             "[tenant \"d\"]\nmatch = cn:dave\nmemory = 20m\n";

/* to[i] = 3 * from[i] + to[i] + i */
static const char mix_kernel[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry mix(.param .u64 to, .param .u64 from, .param .u32 count) {\n"
    "  .reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<6>;\n"
    "  ld.param.u64 %rd1, [to]; ld.param.u64 %rd2, [from]; ld.param.u32 %r1, [count];\n"
    "  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;\n"
    "  mad.lo.u32 %r2, %r2, %r3, %r4; setp.ge.u32 %p1, %r2, %r1; @%p1 bra done;\n"
    "  mul.wide.u32 %rd3, %r2, 4; add.u64 %rd1, %rd1, %rd3; add.u64 %rd2, %rd2, %rd3;\n"
    "  ld.global.u32 %r5, [%rd2]; ld.global.u32 %r6, [%rd1];\n"
    "  mad.lo.u32 %r5, %r5, 3, %r6; add.u32 %r5, %r5, %r2; st.global.u32 [%rd1], %r5;\n"
    "done: ret;\n}\n";

/* Every other one is memory that the program makes and maps itself. */
struct piece {
    uint32_t *words; /* what it should hold; NULL: not allocated */
    uint64_t bytes, at;
    uint64_t object; /* its name, of a generation of its own */
};

struct program {
    struct test_client c;
    struct piece pieces[OWN];
    uint64_t taken; /* in whole granules */
    uint32_t row;
};

static uint32_t
dice(uint32_t below)
{
    static uint64_t state = 88172645463325252ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

static uint64_t
granules(uint64_t bytes)
{
    return gp_align_up_u64(bytes, 2 * MIB);
}

static void
piece_take(struct program *x, unsigned p)
{
    struct piece *piece = &x->pieces[p];
    uint64_t bytes = 4096 + 256 * (uint64_t)dice(dice(4) == 0 ? 24000 : 3000);

    if (p % 2 != 0)
        bytes = granules(bytes);
    if (x->taken + granules(bytes) > OWN_MOST)
        return;
    x->taken += granules(bytes);
    piece->bytes = bytes;
    piece->words = calloc(1, bytes);
    cr_assert_not_null(piece->words);
    piece->at = paging_at(&x->c, p);
    piece->object = (piece->object == 0 ? OBJECT(p) : piece->object + (1ull << 32));
    if (p % 2 != 0)
        paging_object_as(&x->c, p, bytes, piece->object);
    else
        paging_take(&x->c, p, bytes);
    /* Memory is zeros: the server scrubs it. */
}

static void
piece_free(struct program *x, unsigned p)
{
    if (p % 2 == 0)
        TEST_ADD(&x->c, cuMemFree_v2, .address = paging_at(&x->c, p));
    /* Its address is free again when the server says so; and the lease is. */
    TEST_ADD(&x->c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&x->c), CUDA_SUCCESS);
    while (p % 2 == 0 && x->c.freed.len == 0)
        cr_assert(test_client_receive(&x->c, gp_now_ns() + 60 * GP_NS_PER_S));
    if (p % 2 != 0) {
        TEST_ADD(&x->c, cuMemUnmap, .address = x->pieces[p].at, .bytes = x->pieces[p].bytes);
        TEST_ADD(&x->c, cuMemRelease, .handle = x->pieces[p].object);
    }
    gp_buf_reset(&x->c.freed);
    free(x->pieces[p].words);
    x->pieces[p].words = NULL;
    x->taken -= granules(x->pieces[p].bytes);
}

/* Mapped somewhere else, with its bytes. */
static void
object_move(struct program *x, unsigned p)
{
    struct piece *piece = &x->pieces[p];
    uint64_t to = paging_at(&x->c, p + (piece->at == paging_at(&x->c, p) ? OWN : 0));

    TEST_ADD(&x->c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&x->c), CUDA_SUCCESS);
    TEST_ADD(&x->c, cuMemUnmap, .address = piece->at, .bytes = piece->bytes);
    TEST_ADD(&x->c, cuMemMap, .address = to, .bytes = piece->bytes, .handle = piece->object);
    TEST_ADD(&x->c, cuMemSetAccess, .address = to, .bytes = piece->bytes, .named = 1, .readable = 1,
             .writable = 1);
    piece->at = to;
}

static void
piece_fill(struct program *x, unsigned p)
{
    struct piece *piece = &x->pieces[p];
    uint64_t from = dice((uint32_t)(piece->bytes / 4)), count = piece->bytes / 4 - from;
    uint32_t value = dice(UINT32_MAX);

    count = 1 + dice((uint32_t)count);
    TEST_ADD(&x->c, cuMemsetD32Async, .dst = piece->at + 4 * from, .value = value, .count = count);
    for (uint64_t i = from; i < from + count; i++)
        piece->words[i] = value;
}

static void
piece_copy(struct program *x, unsigned to, unsigned from)
{
    uint64_t bytes = gp_min_u64(x->pieces[to].bytes, x->pieces[from].bytes);

    if (to == from)
        return;
    TEST_ADD(&x->c, cuMemcpyDtoDAsync_v2, .dst = x->pieces[to].at, .src = x->pieces[from].at,
             .bytes = bytes);
    memcpy(x->pieces[to].words, x->pieces[from].words, bytes);
}

static void
pieces_mix(struct program *x, unsigned to, unsigned from)
{
    struct {
        uint64_t to, from;
        uint32_t count;
    } args = {x->pieces[to].at, x->pieces[from].at, 1 + dice(MIXED)};

    args.count = (uint32_t)gp_min_u64(args.count,
                                      gp_min_u64(x->pieces[to].bytes, x->pieces[from].bytes) / 4);
    if (to == from)
        return;
    TEST_ADD(&x->c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), x->row),
             .grid = {(args.count + 127) / 128, 1, 1}, .block = {128, 1, 1},
             .params = (const uint8_t *)&args, .params_len = 20);
    for (uint32_t i = 0; i < args.count; i++)
        x->pieces[to].words[i] += 3 * x->pieces[from].words[i] + i;
}

static void
piece_check(struct program *x, unsigned p)
{
    struct piece *piece = &x->pieces[p];
    uint64_t at = 256 * (uint64_t)dice((uint32_t)(piece->bytes / 256));
    uint64_t bytes = gp_min_u64(piece->bytes - at, 256 * (1 + (uint64_t)dice(256)));

    gp_buf_reset(&x->c.data);
    TEST_ADD(&x->c, cuMemcpyDtoH_v2, .src = piece->at + at, .bytes = bytes, .data = 1);
    cr_assert_eq(test_client_call(&x->c), CUDA_SUCCESS, "piece %u of %llu bytes: %d", p,
                 (unsigned long long)piece->bytes, (int)x->c.result.result);
    cr_assert_eq(x->c.data.len, bytes);
    cr_assert_eq(memcmp(x->c.data.data, (const uint8_t *)piece->words + at, bytes), 0,
                 "piece %u at %llu", p, (unsigned long long)at);
}

static void
one_step(struct program *x)
{
    unsigned p = dice(OWN), q = dice(OWN);

    if (x->pieces[p].words == NULL) {
        piece_take(x, p);
        return;
    }
    if (x->pieces[q].words == NULL)
        q = p;
    if (p % 2 != 0 && dice(16) == 0)
        object_move(x, p);
    switch (dice(8)) {
    case 0:
        piece_free(x, p);
        break;
    case 1:
    case 2:
        piece_fill(x, p);
        break;
    case 3:
        piece_copy(x, p, q);
        break;
    case 4:
    case 5:
        pieces_mix(x, p, q);
        break;
    default:
        piece_check(x, p);
    }
}

/* All of them, from here: a session's turn has some steps, then it is another one's, which need not
 * wait for the end of them. */
Test(paging, four_programs_on_half_the_memory_find_what_they_wrote, .timeout = 0)
{
    struct test_server server = paging_server(halves, "--oversubscribe=2.0", "--log-level=info");
    uint64_t until = gp_now_ns() + (long_s() != 0 ? long_s() * GP_NS_PER_S : 2 * GP_NS_PER_S);
    static struct program programs[SESSIONS];
    unsigned steps = 0;

    for (unsigned i = 0; i < SESSIONS; i++) {
        struct program *x = &programs[i];

        test_tenants_open(&x->c, &server, paging_names[i]);
        cr_assert_eq(paging_lease_all(&x->c), OWN_MOST);
        cr_assert_eq(test_client_module(&x->c, ID(1), mix_kernel), CUDA_SUCCESS);
        x->row = (uint32_t)test_client_kernel(&x->c, "mix");
    }
    while (gp_now_ns() < until) {
        struct program *x = &programs[dice(SESSIONS)];

        for (unsigned i = dice(60); i > 0; i--, steps++)
            one_step(x);
        if (dice(2) == 0) /* or it goes on beside the next one's */
            cr_assert_eq(test_client_deferred(&x->c), CUDA_SUCCESS);
        else
            test_client_send(&x->c);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        for (unsigned p = 0; p < OWN; p++)
            if (programs[i].pieces[p].words != NULL)
                piece_check(&programs[i], p);
        test_client_close(&programs[i].c);
    }
    cr_log_info("%u steps", steps);
    test_tenants_stop(&server);
}

/* -- clients in processes of their own ----------------------------------------------------------
 */

struct board {
    atomic_uint ready, go;
    atomic_uint_least64_t took_ns[4];
    atomic_uint done;
};

static struct board *board;

static void
board_make(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(board, MAP_FAILED);
}

#define DEMAND(x)                                                                                  \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "client %u, line %d: %s\n", index, __LINE__, #x);                      \
            _exit(2);                                                                              \
        }                                                                                          \
    } while (0)

struct phases {
    unsigned pieces, count;     /* memory, phases */
    unsigned busy_ms, batch_ms; /* of a phase: on the device, in batches of so long */
    unsigned pause_us, rest_us; /* after a phase, and after a batch */
};

/* Work in phases as told, with all its memory in use. */
static void
phases_main(const struct test_server *server, const struct phases *with, unsigned index)
{
    struct test_client c;
    uint64_t began;
    int row;

    if (!test_tenants_try(&c, server, paging_names[index]))
        _exit(1);
    TEST_ADD(&c, cuDevicePrimaryCtxRetain, .device = 0, .context = ID(1));
    c.context = 1;
    DEMAND(c.answer.devices[0].lease_bytes < with->pieces * PIECE);
    TEST_ADD(&c, gpLease, .device = 0,
             .bytes = with->pieces * PIECE - c.answer.devices[0].lease_bytes);
    DEMAND(test_client_call(&c) == CUDA_SUCCESS);
    row = paging_kernel(&c);
    for (unsigned p = 0; p < with->pieces; p++)
        paging_take(&c, p, PIECE);
    DEMAND(test_client_deferred(&c) == CUDA_SUCCESS);
    atomic_fetch_add(&board->ready, 1);
    while (atomic_load(&board->go) == 0)
        poll(NULL, 0, 1);
    began = gp_now_ns();
    for (unsigned phase = 0; phase < with->count; phase++) {
        for (unsigned ms = 0; ms < with->busy_ms; ms += with->batch_ms) {
            TEST_ADD(&c, cuLaunchKernelEx,
                     .function = wire_function_id(false, ID(1), (uint32_t)row),
                     .grid = {with->batch_ms * 10, 1, 1}, .block = {100, 1, 1});
            TEST_ADD(&c, cuCtxSynchronize, 0);
            DEMAND(test_client_call(&c) == CUDA_SUCCESS);
            if (with->rest_us != 0)
                usleep(with->rest_us);
        }
        if (with->pause_us != 0)
            usleep(with->pause_us);
    }
    atomic_store(&board->took_ns[index], gp_now_ns() - began);
    atomic_fetch_add(&board->done, 1);
    test_client_close(&c);
    _exit(0);
}

/* Seconds until count of them are done, side by side. */
static double
side_by_side(const char *option, const char *factor, const struct phases *with, unsigned count)
{
    struct test_server server;
    pid_t pids[4];
    uint64_t began;

    setenv("GPUPOOL_SOFT_INSTANT", "yes", 1);
    setenv("GPUPOOL_SOFT_THREAD_RATE", "1000000", 1);
    setenv("GPUPOOL_SOFT_COPY_RATE", "640m", 1);
    board_make();
    server = paging_server(paging_two, factor, option);
    for (unsigned i = 0; i < count; i++) {
        pids[i] = fork();
        cr_assert_geq(pids[i], 0);
        if (pids[i] == 0)
            phases_main(&server, with, i);
    }
    for (int i = 0; atomic_load(&board->ready) < count; i++) {
        cr_assert_lt(i, 4000);
        poll(NULL, 0, 5);
    }
    began = gp_now_ns();
    atomic_store(&board->go, 1);
    for (unsigned i = 0; i < count; i++) {
        int status;

        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "client %u: %d", i, status);
    }
    began = gp_now_ns() - began;
    test_tenants_stop(&server);
    munmap(board, sizeof(*board));
    return (double)began / 1e9;
}

/* How long two take side by side, of what they take one after the other. */
static double
of_serial(const char *option, const struct phases *with)
{
    double alone = side_by_side("--log-level=info", "--oversubscribe=2.0", with, 1);
    double both = side_by_side(option, "--oversubscribe=2.0", with, 2);

    cr_log_info("%.2f s alone, %.2f s both: %.3f", alone, both, both / (2 * alone));
    return both / (2 * alone);
}

/* Times say nothing where other work has the processors. */
static void
skip_if_short(void)
{
    if (long_s() == 0)
        cr_skip_test("takes long; what decides is in tests/unit/sched/test_room.c");
}

#define TRIES 3

Test(paging, two_at_half_duty_take_much_less_than_one_after_the_other, .timeout = 0)
{
    struct phases with = {
        .pieces = PIECES, .count = 5, .busy_ms = 2000, .batch_ms = 20, .pause_us = 2000000};
    double ratio = 9;

    skip_if_short();
    for (int i = 0; i < TRIES && ratio > 0.80; i++)
        ratio = of_serial("--log-level=info", &with);
    cr_assert_leq(ratio, 0.80, "%f", ratio);
}

Test(paging, handing_over_at_every_batch_takes_many_times_as_long)
{
    struct phases with = {
        .pieces = PIECES, .count = 1, .busy_ms = 40, .batch_ms = 5, .rest_us = 500};
    double quiet = 1, eager = 0;

    skip_if_short();
    for (int i = 0; i < TRIES && eager < 4 * quiet; i++) {
        quiet = of_serial("--log-level=info", &with);
        eager = of_serial("--paging-eager", &with);
    }
    cr_assert_geq(eager / quiet, 4.0, "%f and %f", eager, quiet);
}

Test(paging, two_that_fit_lose_nothing, .timeout = 0)
{
    struct phases with = {
        .pieces = PIECES / 2, .count = 10, .busy_ms = 500, .batch_ms = 20, .pause_us = 500000};
    double with_it = 9, without = 1;

    skip_if_short();
    for (int i = 0; i < TRIES && with_it > 1.02 * without; i++) {
        with_it = side_by_side("--log-level=info", "--oversubscribe=2.0", &with, 2);
        without = side_by_side("--log-level=info", "--oversubscribe=1.0", &with, 2);
        cr_log_info("%.3f s with paging, %.3f s without", with_it, without);
    }
    cr_assert_leq(with_it, 1.02 * without, "%f and %f", with_it, without);
}

Test(paging, who_hardly_pauses_loses_little, .timeout = 0)
{
    struct phases with = {
        .pieces = PIECES, .count = 5, .busy_ms = 1800, .batch_ms = 20, .pause_us = 200000};
    double ratio = 9;

    skip_if_short();
    for (int i = 0; i < TRIES && ratio > 1.06; i++)
        ratio = of_serial("--log-level=info", &with);
    cr_assert_leq(ratio, 1.06, "%f", ratio);
}
