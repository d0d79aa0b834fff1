/* backend/memory/gate.c */
#include "backend/memory/gate.h"

#include "protocol/base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BE_GATES_A_SLAB 256

/* Written by the host to open, by the stream when it has passed. */
enum {
    BE_GATE_SHUT,
    BE_GATE_OPEN,
};

struct be_gate {
    _Atomic uint32_t *word;
    struct be_gate *next;
};

struct be_gate_slab {
    void *words; /* pinned */
    struct be_gate_slab *next;
    struct be_gate gates[BE_GATES_A_SLAB];
};

struct be_gates {
    const struct be_driver *driver;

    pthread_mutex_t lock; /* rank 40 */
    /* Guarded by lock. */
    struct be_gate_slab *slabs;
    struct be_gate *free;
    struct be_gate *passing, **passing_tail; /* open; free when the stream has shut them again */
};

CUresult
be_gates_create(const struct be_driver *driver, struct be_gates **gates_p)
{
    struct be_gates *gates;

    if (driver->table.cuStreamBatchMemOp_v2 == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    gates = calloc(1, sizeof(*gates));
    if (gates == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    gates->driver = driver;
    gates->passing_tail = &gates->passing;
    pthread_mutex_init(&gates->lock, NULL);
    *gates_p = gates;
    return CUDA_SUCCESS;
}

void
be_gates_destroy(struct be_gates *gates)
{
    if (gates == NULL)
        return;
    while (gates->slabs != NULL) {
        struct be_gate_slab *slab = gates->slabs;

        gates->slabs = slab->next;
        (void)gates->driver->table.cuMemFreeHost(slab->words);
        free(slab);
    }
    pthread_mutex_destroy(&gates->lock);
    free(gates);
}

static CUresult
slab_add(struct be_gates *gates)
{
    struct be_gate_slab *slab = calloc(1, sizeof(*slab));
    CUresult cr;

    if (slab == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = gates->driver->table.cuMemHostAlloc(&slab->words, BE_GATES_A_SLAB * sizeof(uint32_t),
                                             CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
    if (cr != CUDA_SUCCESS) {
        free(slab);
        return cr;
    }
    memset(slab->words, 0, BE_GATES_A_SLAB * sizeof(uint32_t));
    pthread_mutex_lock(&gates->lock);
    for (unsigned i = 0; i < BE_GATES_A_SLAB; i++) {
        slab->gates[i].word = (_Atomic uint32_t *)slab->words + i;
        slab->gates[i].next = gates->free;
        gates->free = &slab->gates[i];
    }
    slab->next = gates->slabs;
    gates->slabs = slab;
    pthread_mutex_unlock(&gates->lock);
    return CUDA_SUCCESS;
}

static struct be_gate *
gate_take(struct be_gates *gates)
{
    struct be_gate *gate;

    pthread_mutex_lock(&gates->lock);
    while ((gate = gates->passing) != NULL &&
           atomic_load_explicit(gate->word, memory_order_acquire) == BE_GATE_SHUT) {
        gates->passing = gate->next;
        if (gates->passing == NULL)
            gates->passing_tail = &gates->passing;
        gate->next = gates->free;
        gates->free = gate;
    }
    gate = gates->free;
    if (gate != NULL)
        gates->free = gate->next;
    pthread_mutex_unlock(&gates->lock);
    return gate;
}

static void
gate_put(struct be_gates *gates, struct be_gate *gate)
{
    pthread_mutex_lock(&gates->lock);
    gate->next = gates->free;
    gates->free = gate;
    pthread_mutex_unlock(&gates->lock);
}

CUresult
be_gate_close(struct be_gates *gates, CUstream stream, struct be_gate **gate_p)
{
    CUstreamBatchMemOpParams ops[2];
    struct be_gate *gate = gate_take(gates);
    CUdeviceptr address;
    CUresult cr;

    if (gate == NULL) {
        cr = slab_add(gates);
        if (cr != CUDA_SUCCESS)
            return cr;
        gate = gate_take(gates);
    }
    cr = gates->driver->table.cuMemHostGetDevicePointer_v2(&address, (void *)gate->word, 0);
    memset(ops, 0, sizeof(ops));
    ops[0].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    ops[0].waitValue.address = address;
    ops[0].waitValue.value = BE_GATE_OPEN;
    ops[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    ops[1].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    ops[1].writeValue.address = address;
    ops[1].writeValue.value = BE_GATE_SHUT;
    if (cr == CUDA_SUCCESS)
        cr = gates->driver->table.cuStreamBatchMemOp_v2(stream, 2, ops, 0);
    if (cr != CUDA_SUCCESS) {
        gate_put(gates, gate);
        return cr;
    }
    *gate_p = gate;
    return CUDA_SUCCESS;
}

void
be_gate_open(struct be_gates *gates, struct be_gate *gate)
{
    pthread_mutex_lock(&gates->lock);
    gate->next = NULL;
    *gates->passing_tail = gate;
    gates->passing_tail = &gate->next;
    atomic_store_explicit(gate->word, BE_GATE_OPEN, memory_order_release);
    pthread_mutex_unlock(&gates->lock);
}
