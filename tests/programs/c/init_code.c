/* tests/programs/c/init_code.c -- prints what cuInit says, and what it says the second time */
#include "api.h"

#include <stdio.h>

int
main(void)
{
    int first = (int)cuInit(0), second = (int)cuInit(0), count = -1, code;

    code = (int)cuDeviceGetCount(&count);
    printf("cuInit %d, again %d, cuDeviceGetCount %d\n", first, second, code);
    return 0;
}
