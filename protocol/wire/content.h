/* protocol/wire/content.h -- copies to the device whose bytes the server may have already
 *
 * A copy is cut into chunks from its beginning, the last one may be shorter. gpCopyKnown names up
 * to WIRE_CONTENT_CHUNKS of them by their hashes; bit n of its answer says that chunk n was not
 * copied.
 */
#ifndef WIRE_CONTENT_H
#define WIRE_CONTENT_H

#include <stdint.h>

#define WIRE_CONTENT_BYTES      (4u << 20)
#define WIRE_CONTENT_CHUNKS     64u
#define WIRE_CONTENT_HASH_BYTES 32u

#endif
