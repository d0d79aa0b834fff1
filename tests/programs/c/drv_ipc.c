/* tests/programs/c/drv_ipc.c -- two processes share device memory
 *
 * The second process is forked before CUDA is touched, so each has a session of its own. They talk
 * over a socket pair; descriptors travel by SCM_RIGHTS. */
#include "drv.h"
#include "misc_ptx.h"
#include "vector_ptx.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB 1048576ul

/* What the maker tells the user of its memory. */
struct note {
    uint32_t what;
    uint32_t value;
    size_t bytes;
    CUipcMemHandle handle;
};

static int peer;

static void
tell(const struct note *note, int fd)
{
    drv_tell(peer, note, sizeof(*note), fd);
}

static struct note
hear(int *fd_p)
{
    struct note note = {0};
    int fd = drv_hear(peer, &note, sizeof(note));

    if (fd_p != NULL)
        *fd_p = fd;
    return note;
}

static void
done(void)
{
    struct note note = {.what = 99};

    tell(&note, -1);
}

/* -- allocations ------------------------------------------------------------------------ */

static void
make_allocation(size_t bytes, uint32_t value)
{
    struct note note = {.value = value, .bytes = bytes};
    CUdeviceptr before, p, opened;
    int capable = 0;

    CU(cuMemAlloc(&before, 700)); /* so that a small one does not begin a page */
    CU(cuMemAlloc(&p, bytes));
    CU(cuPointerGetAttribute(&capable, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, p));
    EXPECT(capable == 1);
    CU(cuMemsetD32(p, value, bytes / 4));
    CU(cuMemsetD32(before, 0, 700 / 4));
    CU(cuCtxSynchronize());
    CU(cuIpcGetMemHandle(&note.handle, p + bytes / 2));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenMemHandle(&opened, note.handle, 0));
    tell(&note, -1);
    (void)hear(NULL);
    EXPECT(drv_word_at(p) == value + 1 && drv_word_at(p + bytes - 4) == value + 2);
    EXPECT(drv_word_at(p + 4) == value);
    CU(cuMemFree(p));
    CU(cuMemFree(before));
}

static void
use_allocation(void)
{
    CUfunction store = drv_kernel(misc_ptx, "store_at");
    struct note note = hear(NULL);
    CUdeviceptr p, again, base, at;
    uint32_t value = note.value + 1;
    void *params[] = {&at, &value};
    size_t size = 0;

    CU(cuIpcOpenMemHandle(&p, note.handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    CU(cuIpcOpenMemHandle(&again, note.handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    EXPECT(again == p);
    CU(cuMemGetAddressRange(&base, &size, p + 8));
    EXPECT(base == p && size == note.bytes);
    EXPECT(drv_word_at(p) == note.value && drv_word_at(p + note.bytes - 4) == note.value);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemFree(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&note.handle, p));
    at = p;
    CU(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CU(cuMemsetD32(p + note.bytes - 4, note.value + 2, 1));
    CU(cuCtxSynchronize());
    CU(cuIpcCloseMemHandle(p));
    EXPECT(drv_word_at(p) == note.value + 1); /* opened twice */
    CU(cuIpcCloseMemHandle(p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcCloseMemHandle(p));
    done();
}

/* -- objects ---------------------------------------------------------------------------- */

static CUmemAllocationProp prop = {
    .type = CU_MEM_ALLOCATION_TYPE_PINNED,
    .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
    .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
};

static CUdeviceptr
map(CUmemGenericAllocationHandle h, size_t bytes)
{
    CUmemAccessDesc access = {prop.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUdeviceptr va;

    CU(cuMemAddressReserve(&va, bytes, 0, 0, 0));
    CU(cuMemMap(va, bytes, 0, h, 0));
    CU(cuMemSetAccess(va, bytes, &access, 1));
    return va;
}

static void
unmap(CUdeviceptr va, size_t bytes)
{
    CU(cuCtxSynchronize());
    CU(cuMemUnmap(va, bytes));
    CU(cuMemAddressFree(va, bytes));
}

/* The descriptor alone keeps an object whose maker gave up all else. */
static void
make_object(size_t bytes, uint32_t value, bool give_up)
{
    struct note note = {.value = value, .bytes = bytes};
    CUmemGenericAllocationHandle h;
    CUdeviceptr va;
    int fd = -1;

    CU(cuMemCreate(&h, bytes, &prop, 0));
    va = map(h, bytes);
    CU(cuMemsetD32(va, value, bytes / 4));
    CU(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    if (give_up) {
        unmap(va, bytes);
        CU(cuMemRelease(h));
    }
    CU(cuCtxSynchronize());
    tell(&note, fd);
    EXPECT(close(fd) == 0);
    (void)hear(NULL);
    if (give_up)
        return;
    EXPECT(drv_word_at(va + bytes - 4) == value + 1);
    unmap(va, bytes);
    CU(cuMemRelease(h));
}

static void
use_object(void)
{
    CUmemGenericAllocationHandle h;
    CUmemAllocationProp got;
    int fd = -1;
    struct note note = hear(&fd);
    CUdeviceptr va;

    CU(cuMemImportFromShareableHandle(&h, (void *)(intptr_t)fd,
                                      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    EXPECT(close(fd) == 0);
    CU(cuMemGetAllocationPropertiesFromHandle(&got, h));
    EXPECT(got.type == prop.type && got.location.type == prop.location.type);
    va = map(h, note.bytes);
    EXPECT(drv_word_at(va) == note.value && drv_word_at(va + note.bytes - 4) == note.value);
    CU(cuMemsetD32(va + note.bytes - 4, note.value + 1, 1));
    CU(cuCtxSynchronize());
    unmap(va, note.bytes);
    CU(cuMemRelease(h));
    done();
}

/* -- copies ------------------------------------------------------------------------------ */

/* A synchronous copy from pinned memory is in shared memory when it returns, whoever looks. */
static void
make_copies(void)
{
    struct note note = {.bytes = 4 * MIB};
    uint32_t *pinned;
    CUdeviceptr p;

    CU(cuMemAllocHost((void **)&pinned, note.bytes));
    CU(cuMemAlloc(&p, note.bytes));
    memset(pinned, 0, note.bytes);
    pinned[note.bytes / 4 - 1] = 1000;
    CU(cuMemcpyHtoD(p, pinned, note.bytes));
    CU(cuIpcGetMemHandle(&note.handle, p));
    for (note.value = 1000; note.value < 1010; note.value++) {
        tell(&note, -1);
        (void)hear(NULL);
        pinned[note.bytes / 4 - 1] = note.value + 1;
        CU(cuMemcpyHtoD(p, pinned, note.bytes));
    }
    CU(cuMemFree(p));
    CU(cuMemFreeHost(pinned));
}

static void
use_copies(void)
{
    uint32_t wrong = 0;
    CUdeviceptr p = 0;

    for (int i = 0; i < 10; i++) {
        struct note note = hear(NULL);

        if (p == 0)
            CU(cuIpcOpenMemHandle(&p, note.handle, 1));
        wrong += drv_word_at(p + note.bytes - 4) != note.value;
        done();
    }
    EXPECT(wrong == 0);
    CU(cuIpcCloseMemHandle(p));
}

/* -- events ------------------------------------------------------------------------------ */

#define ROUNDS 20
#define N      4096u

/* The maker computes and records, the user waits on the device and looks; then the other way. */
static void
make_event(void)
{
    struct {
        CUipcEventHandle ready, taken;
    } handles;
    CUfunction burn = drv_kernel(vector_ptx, "burn");
    struct note note = {.bytes = N * 4};
    uint32_t rounds = 3000, n = N;
    CUevent ready, taken, plain;
    CUdeviceptr p;
    CUstream s;
    void *params[] = {&p, &rounds, &n};

    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&p, N * 4));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuEventCreate(&ready, CU_EVENT_INTERPROCESS));
    CU(cuEventCreate(&ready, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING));
    CU(cuEventCreate(&taken, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING));
    CU(cuEventCreate(&plain, CU_EVENT_DISABLE_TIMING));
    EXPECT_CU(CUDA_ERROR_INVALID_HANDLE, cuIpcGetEventHandle(&handles.ready, plain));
    CU(cuIpcGetEventHandle(&handles.ready, ready));
    CU(cuIpcGetEventHandle(&handles.taken, taken));
    EXPECT_CU(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenEventHandle(&plain, handles.ready));
    CU(cuIpcGetMemHandle(&note.handle, p));
    EXPECT(send(peer, &handles, sizeof(handles), 0) == (ssize_t)sizeof(handles));
    tell(&note, -1);
    CU(cuEventSynchronize(taken)); /* never recorded: nothing to wait for */
    for (uint32_t i = 0; i < ROUNDS; i++) {
        note.value = i;
        CU(cuStreamWaitEvent(s, taken, 0));
        CU(cuMemsetD32Async(p, i, N, s));
        drv_launch(burn, N, s, params);
        CU(cuEventRecord(ready, s));
        tell(&note, -1); /* recorded, perhaps not done */
        (void)hear(NULL);
    }
    CU(cuEventSynchronize(taken));
    CU(cuEventDestroy(ready));
    CU(cuEventDestroy(taken));
    CU(cuStreamDestroy(s));
    CU(cuMemFree(p));
}

static void
use_event(void)
{
    struct {
        CUipcEventHandle ready, taken;
    } handles;
    static uint32_t words[N];
    CUevent ready, taken;
    uint32_t wrong = 0;
    struct note note;
    CUdeviceptr p;
    CUstream s;

    EXPECT(recv(peer, &handles, sizeof(handles), 0) == (ssize_t)sizeof(handles));
    note = hear(NULL);
    CU(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    CU(cuIpcOpenMemHandle(&p, note.handle, 1));
    CU(cuIpcOpenEventHandle(&ready, handles.ready));
    CU(cuIpcOpenEventHandle(&taken, handles.taken));
    for (uint32_t i = 0; i < ROUNDS; i++) {
        note = hear(NULL);
        if (i % 2 == 0)
            CU(cuStreamWaitEvent(s, ready, 0));
        else
            CU(cuEventSynchronize(ready));
        CU(cuMemcpyDtoHAsync(words, p, sizeof(words), s));
        CU(cuEventRecord(taken, s));
        CU(cuStreamSynchronize(s));
        EXPECT_CU(CUDA_SUCCESS, cuEventQuery(ready));
        for (uint32_t k = 0; k < N; k++)
            wrong += words[k] != drv_lcg(note.value, 3000);
        done();
    }
    EXPECT(wrong == 0);
    memset(&handles.ready, 0x33, sizeof(handles.ready));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcOpenEventHandle(&ready, handles.ready));
    CU(cuIpcCloseMemHandle(p));
    CU(cuEventDestroy(taken));
    CU(cuStreamDestroy(s));
}

/* -- mistakes ---------------------------------------------------------------------------- */

static void
mistakes(void)
{
    CUmemAllocationProp private = prop;
    CUmemGenericAllocationHandle h, got;
    CUipcMemHandle handle;
    CUdeviceptr p;
    int fd = -1;

    memset(&handle, 0x5a, sizeof(handle));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcOpenMemHandle(&p, handle, 1));
    CU(cuMemAlloc(&p, 4096));
    CU(cuIpcGetMemHandle(&handle, p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcOpenMemHandle(NULL, handle, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcOpenMemHandle(&p, handle, 2));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(NULL, p));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&handle, 0x1000));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcCloseMemHandle(p));
    CU(cuMemFree(p));
    CU(cuMemAllocAsync(&p, 4096, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&handle, p));
    CU(cuMemFree(p));

    private.requestedHandleTypes = CU_MEM_HANDLE_TYPE_NONE;
    CU(cuMemCreate(&h, 2 * MIB, &private, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    CU(cuMemRelease(h));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemImportFromShareableHandle(&got, (void *)(intptr_t)peer,
                                             CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemImportFromShareableHandle(&got, (void *)(intptr_t)-1,
                                             CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    CU(cuMemCreate(&h, 2 * MIB, &prop, 0));
    CU(cuMemExportToShareableHandle(&fd, h, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    CU(cuMemImportFromShareableHandle(&got, (void *)(intptr_t)fd,
                                      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    EXPECT(close(fd) == 0);
    CUdeviceptr one = map(h, 2 * MIB), two = map(got, 2 * MIB);
    CU(cuMemsetD32(one, 31, 4));
    EXPECT(drv_word_at(two + 12) == 31); /* one's own may be imported too */
    unmap(one, 2 * MIB);
    unmap(two, 2 * MIB);
    CU(cuMemRelease(h));
    CU(cuMemRelease(got));
    printf("mistakes: done\n");
}

static int
user(void)
{
    CUdevice dev = drv_open();

    for (int i = 0; i < 3; i++)
        use_allocation();
    for (int i = 0; i < 2; i++)
        use_object();
    use_copies();
    use_event();
    drv_close(dev);
    return drv_result("user");
}

int
main(void)
{
    int pair[2], status = 0;
    CUdevice dev;
    pid_t pid;

    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    pid = fork();
    peer = pair[pid == 0];
    close(pair[pid != 0]);
    if (pid == 0) {
        int rc = user();

        fflush(stdout);
        _exit(rc);
    }
    dev = drv_open();
    make_allocation(1000, 100);
    make_allocation(3 * MIB + 4, 200);
    make_allocation(70 * MIB, 300);
    printf("allocations: done\n");
    make_object(2 * MIB, 400, false);
    make_object(6 * MIB, 500, true);
    printf("objects: done\n");
    make_copies();
    make_event();
    printf("events: done\n");
    fflush(stdout);
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    mistakes();
    drv_close(dev);
    return drv_result("ipc");
}
