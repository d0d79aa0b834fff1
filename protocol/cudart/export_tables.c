/* protocol/cudart/export_tables.c -- the private tables; provenance in the header */
#include "protocol/cudart/export_tables.h"

#include "protocol/base/log.h"
#include "protocol/cudart/md2.h"
#include "protocol/cudart/storage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Tables are arrays of words: the size in bytes, then function pointers. */
typedef union table_word {
    uintptr_t size;
    void (*fn)(void);
    CUresult (*refuse)(void);
    CUresult (*primary)(CUcontext *, CUdevice);
    CUresult (*module_load)(CUmodule *, const void *);
    CUresult (*module_load_ex)(CUmodule *, const void *, void *, void *, unsigned);
    CUresult (*module_load_bare)(const void *, CUmodule *, void *, void *, unsigned);
    void (*hint)(size_t);
    void (*buffer)(void **, size_t *);
    CUresult (*tls)(CUcontext *);
    CUresult (*put)(CUcontext, void *, void *, void (*)(CUcontext, void *, void *));
    CUresult (*del)(CUcontext, void *);
    CUresult (*get)(void **, CUcontext, void *);
    CUresult (*check)(CUcontext, uint32_t *, CUcontext *);
    uint32_t (*check_global)(void);
    CUresult (*validity)(uint32_t, uint64_t, uint64_t *);
    CUresult (*ctx_device)(CUcontext, CUdevice *);
    CUresult (*ctx_id)(CUcontext, unsigned long long *);
    CUresult (*stream_id)(CUcontext, void *, unsigned long long *);
    CUresult (*stream_token)(CUcontext, CUstream, void **, int);
    int (*functions)(CUcontext, CUmodule, void (*)(void *, CUfunction, uint64_t), void *);
} table_word;

_Static_assert(sizeof(table_word) == 8, "a table word is 8 bytes");

static _Atomic(const struct gp_cudart_ops *) cudart_ops;

/* Buffers that a runtime tests for tools; all zero means that no tool is attached. The least
 * counts that runtimes accept are 523 and 14. */
static uint32_t hook_flags[1024];
static uint32_t hook_flags_small[14];

static const struct gp_cudart_ops *
ops(void)
{
    return atomic_load_explicit(&cudart_ops, memory_order_acquire);
}

static CUresult
slot_refuse(void)
{
    log_debug("cudart: a private table slot without a known meaning was called");
    return CUDA_ERROR_NOT_SUPPORTED;
}

static CUresult
slot_zero(void)
{
    return CUDA_SUCCESS;
}

static CUresult
slot_primary_ctx(CUcontext *ctx_p, CUdevice dev)
{
    if (ctx_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return ops()->primary_ctx(dev, ctx_p);
}

static CUresult
slot_module_load(CUmodule *mod_p, const void *wrapper)
{
    if (mod_p == NULL || wrapper == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (ops()->module_load == NULL)
        return slot_refuse();
    return ops()->module_load(mod_p, wrapper);
}

static CUresult
slot_module_load_ex(CUmodule *mod_p, const void *wrapper, void *unused1, void *unused2,
                    unsigned unused3)
{
    (void)unused1;
    (void)unused2;
    (void)unused3;
    return slot_module_load(mod_p, wrapper);
}

static CUresult
slot_module_load_bare(const void *fatbin, CUmodule *mod_p, void *unused1, void *unused2,
                      unsigned unused3)
{
    (void)unused1;
    (void)unused2;
    (void)unused3;
    return slot_module_load(mod_p, fatbin);
}

static void
slot_hint(size_t hint)
{
    (void)hint;
}

static void
slot_hook_flags(void **buffer_p, size_t *count_p)
{
    *buffer_p = hook_flags;
    *count_p = GP_ARRAY_LEN(hook_flags);
}

static void
slot_hook_flags_small(void **buffer_p, size_t *count_p)
{
    *buffer_p = hook_flags_small;
    *count_p = GP_ARRAY_LEN(hook_flags_small);
}

static CUresult
slot_tls_ctx(CUcontext *ctx_p)
{
    if (ctx_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *ctx_p = ops()->current_ctx();
    return CUDA_SUCCESS;
}

/* NULL and -1 stand for the current context. */
static CUcontext
storage_ctx(CUcontext ctx)
{
    if (ctx == NULL || ctx == (CUcontext)(intptr_t)-1)
        return ops()->current_ctx();
    return ctx;
}

CUresult
gp_cudart_storage_put(CUcontext ctx, void *key, void *value,
                      void (*dtor)(CUcontext, void *, void *))
{
    return gp_cudart_node_put(storage_ctx(ctx), key, value, dtor);
}

CUresult
gp_cudart_storage_get(void **value_p, CUcontext ctx, void *key)
{
    if (value_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return gp_cudart_node_get(value_p, storage_ctx(ctx), key);
}

CUresult
gp_cudart_storage_delete(CUcontext ctx, void *key)
{
    return gp_cudart_node_delete(storage_ctx(ctx), key);
}

static CUresult
slot_ctx_check(CUcontext ctx, uint32_t *flag_p, CUcontext *other_p)
{
    (void)ctx;
    (void)other_p;
    if (flag_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flag_p = 0;
    return CUDA_SUCCESS;
}

static uint32_t
slot_check_global(void)
{
    return 0;
}

static CUresult
slot_validity(uint32_t version, uint64_t now, uint64_t *out)
{
    return out != NULL ? gp_cudart_validity(version, now, out) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult
slot_ctx_device(CUcontext ctx, CUdevice *dev_p)
{
    return dev_p != NULL ? ops()->ctx_device(storage_ctx(ctx), dev_p) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult
slot_ctx_id(CUcontext ctx, unsigned long long *id_p)
{
    return id_p != NULL ? ops()->ctx_id(storage_ctx(ctx), id_p) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult
slot_stream_token(CUcontext ctx, CUstream stream, void **token_p, int per_thread)
{
    if (token_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return ops()->stream_token(storage_ctx(ctx), stream,
                               per_thread != 0 || stream == CU_STREAM_PER_THREAD, token_p);
}

static CUresult
slot_stream_id(CUcontext ctx, void *token, unsigned long long *id_p)
{
    if (id_p == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return ops()->stream_id(storage_ctx(ctx), token, id_p);
}

static int
slot_module_functions(CUcontext ctx, CUmodule mod, void (*each)(void *, CUfunction, uint64_t),
                      void *user)
{
    GP_AUTO_FREE CUfunction *functions = NULL;
    unsigned int count = 0;

    (void)ctx;
    if (ops()->module_function_count(&count, mod) != CUDA_SUCCESS || count == 0)
        return 0;
    functions = calloc(count, sizeof(*functions));
    if (functions == NULL || ops()->module_functions(functions, count, mod) != CUDA_SUCCESS)
        return 0;
    for (unsigned int i = 0; i < count && each != NULL; i++)
        each(user, functions[i], 0);
    return (int)count;
}

/* The rest of a table: slots whose meaning is not known answer "not supported". */
#define REFUSE1(from)  [from] = {.refuse = slot_refuse}
#define REFUSE2(from)  REFUSE1(from), REFUSE1((from) + 1)
#define REFUSE4(from)  REFUSE2(from), REFUSE2((from) + 2)
#define REFUSE8(from)  REFUSE4(from), REFUSE4((from) + 4)
#define REFUSE16(from) REFUSE8(from), REFUSE8((from) + 8)

static const table_word cudart_interface[13] = {
    [0] = {.size = 13 * 8},
    [1] = {.module_load = slot_module_load},
    [2] = {.primary = slot_primary_ctx},
    REFUSE2(3),
    REFUSE1(5),
    [6] = {.module_load_ex = slot_module_load_ex},
    [7] = {.hint = slot_hint},
    [8] = {.module_load_bare = slot_module_load_bare},
    REFUSE2(9),
    REFUSE1(11),
    [12] = {.refuse = slot_zero},
};

static const table_word tools_hooks[7] = {
    [0] = {.size = 7 * 8},
    [1] = {.refuse = slot_zero},
    [2] = {.buffer = slot_hook_flags},
    [3] = {.refuse = slot_zero},
    [4] = {.refuse = slot_zero},
    [5] = {.refuse = slot_zero},
    [6] = {.buffer = slot_hook_flags_small},
};

static const table_word tools_tls[4] = {
    [0] = {.size = 4 * 8},
    REFUSE1(1),
    [2] = {.tls = slot_tls_ctx},
    REFUSE1(3),
};

/* The one table without a size word. */
static const table_word context_storage[4] = {
    [0] = {.put = gp_cudart_storage_put},
    [1] = {.del = gp_cudart_storage_delete},
    [2] = {.get = gp_cudart_storage_get},
    [3] = {.size = 0},
};

static const table_word context_checks[4] = {
    [0] = {.size = 4 * 8},
    REFUSE1(1),
    [2] = {.check = slot_ctx_check},
    [3] = {.check_global = slot_check_global},
};

static const table_word validity_check[3] = {
    [0] = {.size = 3 * 8},
    [1] = {.validity = slot_validity},
    REFUSE1(2),
};

/* As long as the one of current drivers. */
static const table_word tools_context[95] = {
    [0] = {.size = 95 * 8},
    REFUSE2(1),
    [3] = {.ctx_device = slot_ctx_device},
    [4] = {.ctx_id = slot_ctx_id},
    REFUSE16(5),
    REFUSE16(21),
    REFUSE2(37),
    [39] = {.stream_id = slot_stream_id},
    REFUSE8(40),
    REFUSE2(48),
    REFUSE1(50),
    [51] = {.stream_token = slot_stream_token},
    REFUSE16(52),
    REFUSE16(68),
    REFUSE8(84),
    REFUSE2(92),
    REFUSE1(94),
};

static const table_word tools_module[16] = {
    [0] = {.size = 16 * 8},
    REFUSE4(1),
    REFUSE2(5),
    [7] = {.functions = slot_module_functions},
    REFUSE8(8),
};

/* Asked for by cuBLASLt; it falls back when slot 4 refuses, and crashes without the table. */
static const table_word cublaslt_table[16] = {
    [0] = {.size = 16 * 8},
    REFUSE1(1),
    REFUSE2(2),
    REFUSE4(4),
    REFUSE8(8),
};

struct known_table {
    uint8_t id[16];
    const table_word *table; /* NULL: known, and to be refused */
    const char *name;
};

static const struct known_table known_tables[] = {
    {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d,
      0xf9},
     cudart_interface,
     "runtime interface"},
    {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a,
      0x66},
     tools_hooks,
     "tools hooks"},
    {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec,
      0xdc},
     tools_tls,
     "tools thread state"},
    {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95,
      0x93},
     context_storage,
     "context storage"},
    {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa,
      0x7e},
     context_checks,
     "context checks"},
    {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1,
      0xf2},
     validity_check,
     "validity check"},
    {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8,
      0xf2},
     tools_context,
     "tools contexts"},
    {{0x6e, 0x16, 0x3f, 0xbe, 0xb9, 0x58, 0x44, 0x4d, 0x83, 0x5c, 0xe1, 0x82, 0xaf, 0xf1, 0x99,
      0x1e},
     tools_module,
     "tools modules"},
    {{0x17, 0x34, 0xdc, 0x26, 0x80, 0x0d, 0x47, 0x45, 0x87, 0x26, 0xc0, 0xf1, 0xe7, 0xdd, 0x8b,
      0xca},
     cublaslt_table,
     "cublasLt heuristics"},
    /* A sink for driver logs: callers go on without it. */
    {{0xf8, 0xcf, 0xf9, 0x51, 0x21, 0x46, 0x8b, 0x4e, 0xb9, 0xe2, 0xfb, 0x46, 0x9e, 0x7c, 0x0d,
      0xd9},
     NULL,
     "driver log"},
};

void
gp_cudart_init(const struct gp_cudart_ops *new_ops)
{
    atomic_store_explicit(&cudart_ops, new_ops, memory_order_release);
}

CUresult
gp_cudart_export_table(const void **table_p, const CUuuid *id)
{
    const uint8_t *b;

    if (table_p == NULL || id == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *table_p = NULL;
    for (size_t i = 0; i < GP_ARRAY_LEN(known_tables); i++) {
        if (memcmp(known_tables[i].id, id->bytes, sizeof(id->bytes)) != 0)
            continue;
        *table_p = known_tables[i].table;
        return *table_p != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
    b = (const uint8_t *)id->bytes;
    log_info("cudart: table %02x%02x%02x%02x-%02x%02x-%02x%02x-... is not known", b[0], b[1], b[2],
             b[3], b[4], b[5], b[6], b[7]);
    return CUDA_ERROR_INVALID_VALUE;
}

/* What the runtime hashes over itself; compared word by word with our answer. */
struct validity_message {
    uint32_t driver_version;
    uint32_t version;
    uint32_t pid;
    uint32_t thread;
    uint64_t interface_table;
    uint64_t validity_table;
    uint64_t validity_fn;
    uint64_t now;
};

_Static_assert(sizeof(struct validity_message) == 48, "no padding");
_Static_assert(sizeof(struct gp_cudart_device) == 28, "no padding");

static const uint8_t validity_key[GP_MD2_BYTES] = {0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
                                                   0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f};

CUresult
gp_cudart_validity(uint32_t version, uint64_t now, uint64_t out[2])
{
    struct validity_message msg = {
        .driver_version = (uint32_t)ops()->driver_version(),
        .version = version,
        .pid = (uint32_t)getpid(),
        .thread = (uint32_t)(uintptr_t)pthread_self(),
        .interface_table = (uint64_t)(uintptr_t)cudart_interface,
        .validity_table = (uint64_t)(uintptr_t)validity_check,
        .validity_fn = (uint64_t)validity_check[1].size,
        .now = now,
    };
    struct gp_hmac_md2 mac;
    uint8_t digest[GP_MD2_BYTES];

    if (version % 10 < 2) {
        out[0] = version % 10 == 0 ? 0x3341181c03cb675cu : 0x1841181c03cb675cu;
        out[1] = 0x8ed383aa1f4cd1e8u;
        return CUDA_SUCCESS;
    }
    gp_hmac_md2_init(&mac, validity_key);
    gp_hmac_md2_add(&mac, &msg, sizeof(msg));
    for (int i = 0; i < ops()->device_count(); i++) {
        struct gp_cudart_device device;
        CUresult cr = ops()->device(i, &device);

        if (cr != CUDA_SUCCESS)
            return cr;
        gp_hmac_md2_add(&mac, &device, sizeof(device));
    }
    gp_hmac_md2_finish(&mac, digest);
    memcpy(out, digest, sizeof(digest)); /* two little-endian words */
    return CUDA_SUCCESS;
}
