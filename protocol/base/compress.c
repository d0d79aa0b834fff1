/* protocol/base/compress.c */
#include "protocol/base/compress.h"

#include <limits.h>
#include <lz4.h>
#include <zstd.h>
#include <zstd_errors.h>

static enum gp_status
from_zstd(size_t rc)
{
    if (!ZSTD_isError(rc))
        return GP_OK;
    switch (ZSTD_getErrorCode(rc)) {
    case ZSTD_error_memory_allocation:
        return GP_ERR_NO_MEMORY;
    default:
        return GP_ERR_PROTOCOL;
    }
}

enum gp_status
gp_zstd_decompress(const void *src, size_t src_len, void *dst, size_t dst_size, size_t *len_p)
{
    size_t rc = ZSTD_decompress(dst, dst_size, src, src_len);
    enum gp_status status = from_zstd(rc);

    if (status == GP_OK)
        *len_p = rc;
    return status;
}

enum gp_status
gp_lz4_decompress(const void *src, size_t src_len, void *dst, size_t dst_size, size_t *len_p)
{
    int rc;

    if (src_len > INT_MAX || dst_size > INT_MAX)
        return GP_ERR_PROTOCOL;
    rc = LZ4_decompress_safe(src, dst, (int)src_len, (int)dst_size);
    if (rc < 0)
        return GP_ERR_PROTOCOL;
    *len_p = (size_t)rc;
    return GP_OK;
}

enum gp_status
gp_zstd_compress(const void *src, size_t src_len, void *dst, size_t dst_size, int level,
                 size_t *len_p)
{
    size_t rc = ZSTD_compress(dst, dst_size, src, src_len, level);

    if (ZSTD_isError(rc))
        return ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? GP_ERR_NO_MEMORY
                                                                     : GP_ERR_LIMIT;
    *len_p = rc;
    return GP_OK;
}

enum gp_status
gp_lz4_compress(const void *src, size_t src_len, void *dst, size_t dst_size, size_t *len_p)
{
    int rc;

    if (src_len > LZ4_MAX_INPUT_SIZE)
        return GP_ERR_LIMIT;
    rc = LZ4_compress_default(src, dst, (int)src_len, dst_size > INT_MAX ? INT_MAX : (int)dst_size);
    if (rc <= 0)
        return GP_ERR_LIMIT;
    *len_p = (size_t)rc;
    return GP_OK;
}

size_t
gp_zstd_bound(size_t src_len)
{
    return ZSTD_compressBound(src_len);
}

size_t
gp_lz4_bound(size_t src_len)
{
    return src_len > LZ4_MAX_INPUT_SIZE ? 0 : (size_t)LZ4_compressBound((int)src_len);
}
