/* protocol/base/compress.h -- the one home of zstd and LZ4
 *
 * Pure functions; any thread. Input is hostile until decompressed within the given sizes.
 */
#ifndef GP_COMPRESS_H
#define GP_COMPRESS_H

#include "protocol/base/status.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Decompress exactly one stream of src_len bytes into dst of dst_size bytes; *len_p is set to
 * the bytes written on GP_OK.
 * Errors: GP_ERR_PROTOCOL for damaged input or output larger than dst_size; GP_ERR_NO_MEMORY.
 *         Not logged: the caller knows what the bytes were.
 */
GP_CHECK enum gp_status gp_zstd_decompress(const void *src, size_t src_len, void *dst,
                                           size_t dst_size, size_t *len_p);
/* An LZ4 block without a frame, as fatbins hold it. */
GP_CHECK enum gp_status gp_lz4_decompress(const void *src, size_t src_len, void *dst,
                                          size_t dst_size, size_t *len_p);

/*
 * Compress src into dst; level is zstd's (1 is the fastest that pays, negative ones are faster).
 * Errors: GP_ERR_LIMIT if dst_size is too small (gp_zstd_bound(src_len) always fits).
 */
GP_CHECK enum gp_status gp_zstd_compress(const void *src, size_t src_len, void *dst,
                                         size_t dst_size, int level, size_t *len_p);
GP_CHECK enum gp_status gp_lz4_compress(const void *src, size_t src_len, void *dst, size_t dst_size,
                                        size_t *len_p);
size_t gp_zstd_bound(size_t src_len);
size_t gp_lz4_bound(size_t src_len);

#endif
