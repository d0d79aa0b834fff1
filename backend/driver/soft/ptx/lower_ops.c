/* backend/driver/soft/ptx/lower_ops.c -- the table of lane-wise operations by name */
#include "backend/driver/soft/ptx/lower.h"

#include <pthread.h>
#include <string.h>

static const struct lower_op ops[] = {
#define OP_U(id, name, D, A, expr) {name, SD_OP_##id, 1, false, {sizeof(D), sizeof(A)}},
#define OP_B(id, name, D, A, B, expr)                                                              \
    {name, SD_OP_##id, 2, false, {sizeof(D), sizeof(A), sizeof(B)}},
#define OP_T(id, name, D, A, B, C, expr)                                                           \
    {name, SD_OP_##id, 3, false, {sizeof(D), sizeof(A), sizeof(B), sizeof(C)}},
#define OP_Q(id, name, D, A, B, C, E, expr)                                                        \
    {name, SD_OP_##id, 4, false, {sizeof(D), sizeof(A), sizeof(B), sizeof(C), sizeof(E)}},
#define OP_C(id, name, A, B, expr) {name, SD_OP_##id, 2, true, {0, sizeof(A), sizeof(B)}},
#define OP_I OP_U
#define OP_SU OP_U
#define OP_SB OP_B
#define OP_D OP_B
#define OP_ST OP_T
#define OP_SC(id, name, A, B, expr) {name, SD_OP_##id, 1, true, {0, sizeof(A)}},
#include "backend/driver/soft/exec/ops.def"
};

#define TABLE_SIZE 2048u
static uint16_t table[TABLE_SIZE];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
fill(void)
{
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(ops); i++) {
        uint32_t h = ptx_hash(ops[i].name, strlen(ops[i].name)) % TABLE_SIZE;

        while (table[h] != 0)
            h = (h + 1) % TABLE_SIZE;
        table[h] = (uint16_t)(i + 1);
    }
}

const struct lower_op *
lower_op_find(const char *name)
{
    size_t len = strlen(name);
    uint32_t h = ptx_hash(name, len) % TABLE_SIZE;

    pthread_once(&once, fill);
    for (; table[h] != 0; h = (h + 1) % TABLE_SIZE)
        if (strcmp(ops[table[h] - 1].name, name) == 0)
            return &ops[table[h] - 1];
    return NULL;
}
