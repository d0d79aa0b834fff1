/* protocol/directory/base64.h -- RFC 4648, as etcd's JSON has its bytes; pure */
#ifndef DIR_BASE64_H
#define DIR_BASE64_H

#include "protocol/base/buf.h"

#include <stdbool.h>

void dir_base64_put(struct gp_buf *out, const void *data, size_t bytes);
/* False if text is none; out holds what came before. */
bool dir_base64_take(const char *text, struct gp_buf *out);

#endif
