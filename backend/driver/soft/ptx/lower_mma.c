/* backend/driver/soft/ptx/lower_mma.c -- matrices, asynchronous copies, barriers in memory */
#include "backend/driver/soft/ptx/lower.h"

const struct lower_rule lower_mma_rules[] = {
    {NULL, NULL, 0},
};
