/* tests/corpus/host.c -- reference arithmetic by the processor, in any rounding mode */
#include "tests/corpus/corpus.h"

#include <fenv.h>
#include <math.h>

static int
host_mode(char mode)
{
    switch (mode) {
    case 'z':
        return FE_TOWARDZERO;
    case 'm':
        return FE_DOWNWARD;
    case 'p':
        return FE_UPWARD;
    default:
        return FE_TONEAREST;
    }
}

/* Volatile, so that nothing is folded or moved out of the mode. */
#define HOST(name, type, fma_, sqrt_)                                                              \
    type name(char op, char mode, type x, type y, type z)                                          \
    {                                                                                              \
        volatile type a = x, b = y, c = z, r = 0;                                                  \
                                                                                                   \
        fesetround(host_mode(mode));                                                               \
        switch (op) {                                                                              \
        case '+':                                                                                  \
            r = a + b;                                                                             \
            break;                                                                                 \
        case '-':                                                                                  \
            r = a - b;                                                                             \
            break;                                                                                 \
        case '*':                                                                                  \
            r = a * b;                                                                             \
            break;                                                                                 \
        case '/':                                                                                  \
            r = a / b;                                                                             \
            break;                                                                                 \
        case 'f':                                                                                  \
            r = fma_(a, b, c);                                                                     \
            break;                                                                                 \
        default:                                                                                   \
            r = sqrt_(a);                                                                          \
            break;                                                                                 \
        }                                                                                          \
        fesetround(FE_TONEAREST);                                                                  \
        return r;                                                                                  \
    }

HOST(host_f32, float, fmaf, sqrtf)
HOST(host_f64, double, fma, sqrt)
