/* frontend/cuda/kernels.h -- the kernels and globals of a module or library
 *
 * The reply to a load brings a table of all kernels; handles, names, parameters and attributes are
 * answered from it. Objects are made when a program asks for them.
 *
 * Another thread may unload the module or library: every entry point that is handed one, or a
 * function or kernel of it, says GP_USE() before it looks at the handle.
 *
 * Threads: any; one lock inside, never held while the server is waited for.
 */
#ifndef FE_KERNELS_H
#define FE_KERNELS_H

#include "frontend/cuda/objects.h"
#include "protocol/base/use.h"

struct fe_kernels;

/*
 * kind: WIRE_HANDLE_FUNCTION (a module's, in context) or WIRE_HANDLE_KERNEL (a library's).
 * Errors: CUDA_ERROR_UNKNOWN for a malformed table, CUDA_ERROR_OUT_OF_MEMORY.
 */
CUresult fe_kernels_create(const uint8_t *table, size_t len, enum wire_handle kind,
                           uint64_t owner_wire, struct fe_object *owner,
                           struct fe_kernels **kernels_p);
/* The handles become invalid. owner (may be NULL) has been closed; it rests when nobody looks at it
 * and at these any more. */
void fe_kernels_destroy(struct fe_kernels *k, struct fe_object *owner);

uint32_t fe_kernels_count(const struct fe_kernels *k);
struct fe_object *fe_kernels_owner(const struct fe_kernels *k);
bool fe_kernels_of_library(const struct fe_kernels *k);
void fe_kernels_lock(struct fe_kernels *k);
void fe_kernels_unlock(struct fe_kernels *k);

/* Errors: CUDA_ERROR_NOT_FOUND, CUDA_ERROR_OUT_OF_MEMORY. */
CUresult fe_kernels_by_name(struct fe_kernels *k, const char *name, struct fe_function **f_p);
/* index < count; in the order of the table. */
CUresult fe_kernels_at(struct fe_kernels *k, uint32_t index, struct fe_function **f_p);

/* A global's address, remembered; found is false where nothing is known yet. */
bool fe_kernels_global_get(struct fe_kernels *k, const struct fe_context *ctx, const char *name,
                           uint64_t *address_p, uint64_t *bytes_p);
void fe_kernels_global_put(struct fe_kernels *k, const struct fe_context *ctx, const char *name,
                           uint64_t address, uint64_t bytes);

/* The function or kernel behind a handle, or NULL; a CUfunction of a CUkernel gives the kernel. */
struct fe_function *fe_function_get(const void *handle);

/*
 * Have the parameters and attributes of f: from the table, or by one round trip in the context
 * of call (its id is restored).
 */
CUresult fe_function_fetch(struct fe_call *call, struct fe_function *f);

/* library.c: what a library's kernel is on another server, which loads the library if need be. */
CUresult fe_kernel_there(struct fe_session *session, struct fe_function **f_p);

/* f as the server of a call knows it. A module's function is of one server only: INVALID_HANDLE. */
static inline CUresult
fe_function_here(const struct fe_call *call, struct fe_function **f_p)
{
    if (__builtin_expect((*f_p)->session == call->session, 1))
        return CUDA_SUCCESS;
    return fe_kernel_there(call->session, f_p);
}

static inline CUresult
fe_function_ready(struct fe_call *call, struct fe_function *f)
{
    if (__builtin_expect(atomic_load_explicit(&f->ready, memory_order_acquire), 1))
        return CUDA_SUCCESS;
    return fe_function_fetch(call, f);
}

static inline void
fe_function_learn(struct fe_function *f, int attribute, int32_t value)
{
    f->attributes[attribute] = value;
    atomic_fetch_or_explicit(&f->mask, 1u << attribute, memory_order_release);
}

static inline void
fe_function_forget(struct fe_function *f, int attribute)
{
    atomic_fetch_and_explicit(&f->mask, ~(1u << attribute), memory_order_release);
}

/* module.c: the object and what it owns; nothing is sent. False: another thread was first. */
bool fe_module_drop(struct fe_module *module);
/* module.c: a variable's address, for the next question and for copies; key: its module or library.
 */
void fe_global_learn(struct fe_kernels *k, struct fe_context *ctx, const void *key,
                     const char *name, uint64_t address, uint64_t bytes);

#endif
