/* protocol/directory/model.h -- a short name for what a device is: h200, a100, l20, rtx4090
 *
 * Pure.
 */
#ifndef DIR_MODEL_H
#define DIR_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#define DIR_MODEL_BYTES 32

/*
 * From the driver's name of a device, by rule: the first word with a letter and then digits, with
 * the word "RTX" or "GTX" before it; "soft" for the software device; else the name itself in small
 * letters. rules are "PATTERN=key" with * and ?, tried first; NULL ends them.
 */
void dir_model_key(const char *name, const char *const *rules, char out[DIR_MODEL_BYTES]);
/* Whether key is what a client asks for: "h200", or a pattern. Case does not matter. */
bool dir_model_is(const char *key, const char *wanted);

#endif
