/* tests/unit/transport/need.h -- for support code: also used where Criterion is not (TSan) */
#ifndef TEST_NEED_H
#define TEST_NEED_H

#include <stdio.h>
#include <stdlib.h>

#define need(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
