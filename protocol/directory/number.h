/* protocol/directory/number.h -- private to entry.c and line.c */
#ifndef DIR_NUMBER_H
#define DIR_NUMBER_H

#include <jansson.h>
#include <stdint.h>

/* A member that counts something: at most most, and 0 for what is negative, absent or no number. */
static inline uint64_t
dir_number(const json_t *object, const char *name, uint64_t most)
{
    json_int_t value = json_integer_value(json_object_get(object, name));

    if (value <= 0)
        return 0;
    return (uint64_t)value < most ? (uint64_t)value : most;
}

#endif
