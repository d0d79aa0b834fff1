/* backend/driver/soft/exec/exec.h -- the PTX machine, as the device's driver half sees it
 *
 * Device addresses are host addresses of this process: the driver half reserves an arena
 * and hands out addresses inside it; the machine checks every access against the spans
 * that the driver half reports and then dereferences. Kernel text is hostile: it must not
 * be able to read or write anything outside those spans.
 *
 * Order of use: sd_module_parse, [sd_module_link], sd_module_var + sd_module_place for each
 * variable, sd_module_finish, then sd_module_kernel, sd_kernel_prepare (lazy lowering) and
 * sd_exec_run as often as wanted, sd_module_destroy.
 *
 * Threads: one module belongs to one thread until sd_module_finish; afterwards
 * sd_kernel_prepare and sd_exec_run may be called by several threads at once.
 */
#ifndef SD_EXEC_H
#define SD_EXEC_H

#include "protocol/abi/cuda_types.h"
#include "protocol/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>

struct sd_module;
struct sd_kernel_code; /* decoded instructions; private to the machine */

/* A growing text, NUL-terminated; used for JIT logs. Zero-initialise; free(data) when done. */
struct sd_text {
    char *data;
    size_t len;
    size_t size;
};

enum sd_var_space {
    SD_VAR_GLOBAL,
    SD_VAR_CONST,
};

/* A variable that stands for a texture or a surface: kernels read a handle from it. */
enum sd_var_reference {
    SD_VAR_PLAIN,
    SD_VAR_TEXREF,
    SD_VAR_SURFREF,
};

struct sd_var {
    const char *name;
    enum sd_var_space space;
    uint64_t bytes;
    uint32_t align;
    enum sd_var_reference reference;
    bool managed; /* .attribute(.managed) */
    bool defined; /* false: .extern without a definition */
    uint64_t address; /* 0 until placed */
};

struct sd_param {
    uint32_t offset;
    uint32_t bytes;
    uint32_t align;
};

/* What a kernel is; the second half is valid after sd_kernel_prepare. */
struct sd_kernel {
    const char *name;
    struct sd_module *module;
    const struct sd_param *params;
    uint32_t nparams;
    uint32_t param_bytes;
    uint32_t max_ntid[3];  /* .maxntid, 0 0 0 when absent */
    uint32_t req_ntid[3];  /* .reqntid, 0 0 0 when absent */
    uint32_t min_nctapersm;
    uint32_t req_cluster[3];
    uint32_t max_cluster; /* .maxclusterrank, 0 when absent */
    bool explicit_cluster; /* .explicitcluster: it must be launched with one */
    uint32_t target; /* 75 for sm_75 */
    uint32_t ptx_version; /* 90 for 9.0 */

    const struct sd_kernel_code *code;
    uint32_t registers; /* per thread, as occupancy counts them: 1 .. 255 */
    uint32_t static_shared_bytes;
    uint32_t local_bytes; /* per thread */
};

/* [base, end) is one device allocation. */
struct sd_span {
    uint64_t base;
    uint64_t end;
    bool writable;
};

/* Handles of textures and surfaces are 1 .. this; device addresses are not below it. */
#define SD_TEXTURE_HANDLE_END (1ull << 40)
#define SD_TEXTURE_LEVELS_MAX 18u
#define SD_TEXTURE_ALIGNMENT  512u

struct sd_tex_level {
    uint64_t base;
    uint64_t pitch, slice; /* bytes from row to row, from slice, layer or face to the next */
    uint32_t width, height, depth;
};

/* What a texture or surface shows. */
struct sd_texture {
    CUarray_format format; /* one with channels */
    uint32_t channels;     /* 1, 2, 4 */
    uint32_t nlevels;
    uint32_t layers; /* 0: not layered */
    uint8_t address[3]; /* CUaddress_mode */
    uint8_t bc;         /* enum sd_bc: levels count texels, a row of memory holds rows of blocks */
    bool cube, surface;
    bool linear, level_linear; /* filters */
    bool normalized, as_integer, srgb, seamless;
    float lod_bias, lod_min, lod_max;
    uint32_t border[4]; /* as registers get it */
    struct sd_tex_level levels[SD_TEXTURE_LEVELS_MAX];
};

/* Devices that one access may reach. */
#define SD_TEAM_MAX 16u

/* What the machine asks of the driver half; all calls from any worker thread. */
struct sd_env {
    void *opaque;
    /* The allocation around addr; false if there is none. Called on cache misses. */
    bool (*span_of)(void *opaque, uint64_t addr, struct sd_span *span);
    /* Where [addr, addr + bytes) of a mapped multicast object lies on each of its devices: how many
     * these are, 0 if it is none, or may not be reached so. May be NULL. */
    unsigned (*team_places)(void *opaque, uint64_t addr, uint64_t bytes, bool write,
                            uint64_t places[SD_TEAM_MAX]);
    /* Bumped by the driver half when a span goes away: cached spans are then dropped. */
    const _Atomic uint64_t *span_epoch;
    /* One finished line or piece of device printf output. */
    void (*print)(void *opaque, const char *text, size_t len);
    /* Device malloc and free; 0 when the heap is full. */
    uint64_t (*heap_alloc)(void *opaque, uint64_t bytes);
    void (*heap_free)(void *opaque, uint64_t address);
    /* What a handle shows, NULL if it is none. It may be overwritten while it is looked at: copy it,
     * and believe no address of it. */
    const struct sd_texture *(*texture)(void *opaque, uint64_t handle);
    uint64_t (*globaltimer_ns)(void *opaque);
    /* A kernel launches another: memory for its parameters, 0 if it cannot be launched like that;
     * then the launch, which returns a cudaError_t. launches is the driver half's. */
    uint64_t (*launch_buffer)(void *launches, const struct sd_kernel *kernel,
                              const uint32_t grid[3], const uint32_t block[3],
                              uint32_t shared_bytes);
    int32_t (*launch)(void *launches, uint64_t buffer, uint64_t stream);
    void *launches;
    /* A kernel sets a condition of a graph; false if no such handle is the context's. */
    bool (*set_condition)(void *opaque, uint64_t handle, uint32_t value);
    /* Polled at least every few milliseconds; true ends the kernel. */
    bool (*cancelled)(void *opaque);
    uint32_t sm_count; /* of the device, not 0: %nsmid */
};

/* What the reference at a variable's address stands for in one launch. */
struct sd_bound {
    uint64_t var;
    uint64_t handle;
};

struct sd_launch {
    const struct sd_kernel *kernel;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t cluster[3]; /* 1 1 1 without clusters; divides the grid */
    bool explicit_cluster;
    uint32_t dynamic_shared_bytes;
    const uint8_t *params; /* param_bytes, laid out by sd_kernel.params; copied by the caller */
    bool cooperative;
    const struct sd_bound *bound; /* references that are not here: what their variable holds */
    uint32_t bound_count;
    const uint16_t *sms; /* numbers of the multiprocessors that it has; NULL: all */
    uint32_t sm_count;   /* in sms */
    const struct sd_env *env;
};

/* Where and why a kernel failed; filled when sd_exec_run does not return CUDA_SUCCESS. */
struct sd_fault {
    CUresult code; /* ILLEGAL_ADDRESS, MISALIGNED_ADDRESS, ASSERT, LAUNCH_FAILED, ... */
    uint32_t ptx_line;
    uint32_t block[3];
    uint32_t thread[3];
    uint64_t address;
    char what[160];
};

/*
 * Parse PTX text of len bytes (a trailing NUL is allowed). The text is copied.
 * Errors: CUDA_ERROR_INVALID_PTX, UNSUPPORTED_PTX_VERSION, OUT_OF_MEMORY; log_p (may be
 *         NULL) gets lines "line N: reason". Unknown opcodes are no error here: they are
 *         reported by sd_kernel_prepare of the kernel that holds them.
 */
CUresult sd_module_parse(const char *text, size_t len, struct sd_text *log_p,
                         struct sd_module **module_p);

/* Link count relocatable modules into one; consumes them also on failure. */
CUresult sd_module_link(struct sd_module **modules, size_t count, struct sd_text *log_p,
                        struct sd_module **module_p);

void sd_module_destroy(struct sd_module *module);

size_t sd_module_var_count(const struct sd_module *module);
const struct sd_var *sd_module_var(const struct sd_module *module, size_t index);
/* The driver half allocated bytes at address for variable index. */
void sd_module_place(struct sd_module *module, size_t index, uint64_t address);
/* Resolve all names and write the variables' initial values to their addresses. */
CUresult sd_module_finish(struct sd_module *module, struct sd_text *log_p);

size_t sd_module_kernel_count(const struct sd_module *module);
const struct sd_kernel *sd_module_kernel(const struct sd_module *module, size_t index);
/* The kernel whose address, as kernels see it, this is; NULL if there is none. */
const struct sd_kernel *sd_module_kernel_at(const struct sd_module *module, uint64_t address);

/*
 * Lower the kernel; quick when done before. Errors: CUDA_ERROR_NOT_SUPPORTED or INVALID_PTX
 * with "kernel NAME: line N: opcode ..." in log_p and in the log.
 */
CUresult sd_kernel_prepare(const struct sd_kernel *kernel, struct sd_text *log_p);
/* Lower a function of a prepared kernel that was left for its first call: by the machine itself. */
CUresult sd_kernel_complete(const struct sd_kernel *kernel, uint32_t function,
                            struct sd_text *log_p);

/* Worker threads that run blocks; threads 0 means one per online CPU. */
struct sd_pool;
enum gp_status sd_pool_create(unsigned threads, struct sd_pool **pool_p) GP_CHECK;
void sd_pool_destroy(struct sd_pool *pool);

/*
 * Run one grid to its end; blocks the calling thread, which may take part in the work.
 * Several calls on one pool may run at once. The caller has validated the geometry.
 */
CUresult sd_exec_run(struct sd_pool *pool, const struct sd_launch *launch, struct sd_fault *fault_p);

/* Resident blocks per multiprocessor are the driver half's rule; the machine keeps at most
 * this many blocks of a cooperative grid alive at once. */
#define SD_COOPERATIVE_BLOCKS_MAX 2048u

/* What kernels read: %clock and %clock64 tick at this rate. Report the same. */
#define SD_CLOCK_KHZ 1000000u
/* Largest dynamic plus static shared memory of a block that the machine can address. */
#define SD_SHARED_BYTES_MAX (1u << 20)
/* Most blocks of a cluster; they run on one thread, in turn. */
#define SD_CLUSTER_MAX          16u
#define SD_CLUSTER_PORTABLE_MAX 8u /* without the function's leave for more */

#endif
