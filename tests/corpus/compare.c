/* tests/corpus/compare.c -- exact, or within what the PTX manual allows */
#include "tests/corpus/corpus.h"

#include "backend/driver/soft/math/sd_half.h"

#include <math.h>

static double
number(enum corpus_class class, uint64_t bits)
{
    switch (class) {
    case F32:
        return (double)sd_f32_bits((uint32_t)bits);
    case F64:
        return sd_f64_bits(bits);
    case H16:
        return sd_small_to_f64((uint32_t)bits, SD_F16);
    case BF16:
        return sd_small_to_f64((uint32_t)bits, SD_BF16);
    default:
        return NAN;
    }
}

static int
within(double got, double want, double relative, double absolute)
{
    return fabs(got - want) <= fmax(fabs(want) * relative, absolute);
}

static double
ulp_f32(double x)
{
    int exp;

    frexp(x, &exp);
    return ldexp(1.0, (exp < -125 ? -125 : exp) - 24);
}

static int
within_angle(double angle, double got, double want)
{
    double bound = fabs(angle) <= 6.2831855 ? exp2(-20.5) : exp2(-14.7);

    return within(got, want, 0, bound);
}

int
corpus_agrees(const struct corpus_case *c, uint64_t a, uint64_t got, uint64_t want)
{
    double x = number(c->d, got), y = number(c->d, want);
    double in = (double)sd_f32_bits((uint32_t)a);

    if (got == want)
        return 1;
    if (c->compare == CANON || (c->d != F32 && c->d != F64 && c->d != H16 && c->d != BF16))
        return 0;
    if (x != x || y != y)
        return x != x && y != y;
    if (c->compare == EXACT || isinf(x) || isinf(y))
        return 0;
    switch (c->compare) {
    case REL22:
        return within(x, y, 0x1p-22, 0x1p-149);
    case ULP2:
        return within(x, y, 0, 2 * ulp_f32(y));
    case ABS20:
        return within_angle(in, x, y);
    case LG2:
        return in > 0.5 && in < 2 ? within(x, y, 0, 0x1p-22) : within(x, y, 0x1p-22, 0);
    case REL11:
        return within(x, y, 0x1p-11, 0x1p-149);
    case REL20:
        return within(x, y, 0x1.6p-20, 0);
    case HALF10:
        return within(x, y, exp2(-9.9), exp2(-10.9));
    case BHALF7:
        return within(x, y, 0x1p-7, 0x1p-8);
    case EXACT:
    case CANON:
        break;
    }
    return 0;
}
