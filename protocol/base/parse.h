/* protocol/base/parse.h -- numbers, sizes and times as people write them
 *
 * Pure. The whole text must be the value; GP_ERR_INVALID otherwise, or if it does not fit 64 bits;
 * outputs are then untouched. Nothing is logged.
 */
#ifndef GP_PARSE_H
#define GP_PARSE_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "4711", "0x1267". */
GP_CHECK enum gp_status gp_parse_u64(const char *text, uint64_t *out_p);
/* "512", "512m", "512MiB", "1.5g": k, m, g, t are powers of 1024, with or without b or ib. */
GP_CHECK enum gp_status gp_parse_bytes(const char *text, uint64_t *bytes_p);
/* "20ms", "1.5s", "2m", "3h", "250us", "10ns"; a bare number is seconds. */
GP_CHECK enum gp_status gp_parse_time(const char *text, uint64_t *ns_p);
/* yes no, on off, true false, 1 0. */
GP_CHECK enum gp_status gp_parse_bool(const char *text, bool *out_p);

/* The largest unit without a fraction: "512m", "1500", "20ms". out holds at least 32 bytes. */
void gp_format_bytes(uint64_t bytes, char *out, size_t out_bytes);
void gp_format_time(uint64_t ns, char *out, size_t out_bytes);

#endif
