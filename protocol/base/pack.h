/* protocol/base/pack.h -- whether bytes are worth compressing before they are sent
 *
 * They are when a probe of them shrinks enough and the line is slower than the compressor: with a
 * compressor of C bytes a second, a ratio r and a line of L, one byte takes 1/C + 1/rL instead of
 * 1/L. What the line makes is measured by what was sent before; until then nothing is packed.
 *
 * Threads: one at a time for each struct.
 */
#ifndef GP_PACK_H
#define GP_PACK_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GP_PACK_PIECE_MAX (1u << 20) /* bytes that are packed as one */
#define GP_PACK_LEVEL     1
#define GP_PACK_RATIO     3 / 2 /* at least */

struct gp_pack {
    uint64_t line_rate;       /* bytes a second; 0: not known */
    uint64_t compressor_rate; /* bytes a second of a processor, at its best of late */
    uint64_t bytes, ns;       /* sent since the line's was taken */
    uint64_t unprobed;        /* bytes not to look at, for those before would not shrink */
};

/* bytes took so long to be sent. */
void gp_pack_sent(struct gp_pack *pack, uint64_t bytes, uint64_t ns);
/* Pure: a probe of plain bytes became packed ones. */
bool gp_pack_pays(const struct gp_pack *pack, uint64_t plain, uint64_t packed);
/* Whether the line may be slow enough for packing at all. */
bool gp_pack_slow(const struct gp_pack *pack);
/* Probe these bytes, if the line may be slow enough. */
bool gp_pack_probe(struct gp_pack *pack, const void *data, size_t bytes);
/* Pack at most GP_PACK_PIECE_MAX bytes into room; GP_ERR_LIMIT if they do not shrink enough. */
GP_CHECK enum gp_status gp_pack_piece(struct gp_pack *pack, const void *data, size_t bytes,
                                      void *room, size_t room_bytes, size_t *packed_p);

#endif
