/* backend/driver/soft/exec/tex.h -- operands of the texture and surface instructions
 *
 * fn->extra from ip->d: enum sd_tex_op, geometry, modifiers, site, then lists of rows.
 */
#ifndef SD_TEX_H
#define SD_TEX_H

enum sd_tex_op {
    SD_TEX_SAMPLE, /* also with a level or gradients */
    SD_TEX_GATHER,
    SD_TEX_QUERY,
    SD_SURF_LOAD,
    SD_SURF_STORE,  /* bytes */
    SD_SURF_FORMAT, /* elements, converted */
    SD_SURF_REDUCE,
};

enum sd_tex_geometry {
    SD_TEX_1D,
    SD_TEX_2D,
    SD_TEX_3D,
    SD_TEX_A1D,
    SD_TEX_A2D,
    SD_TEX_CUBE,
    SD_TEX_ACUBE,
};

/* Modifiers. */
#define SD_TEX_INT     1u /* coordinates are integers */
#define SD_TEX_LEVEL   2u
#define SD_TEX_GRAD    4u
#define SD_SURF_TRAP   8u
#define SD_SURF_ZERO   16u
#define SD_SURF_SIGNED 32u
#define SD_SURF_WIDE   64u /* reduction on 64 bits */

/* Places in extra. */
enum {
    SD_TEX_X_OP,
    SD_TEX_X_GEOMETRY,
    SD_TEX_X_FLAGS,
    SD_TEX_X_SITE,
    SD_TEX_X_AUX,   /* component of a gather, what is asked, enum sd_atom_op, or bytes of an element
                     */
    SD_TEX_X_WIDTH, /* bytes of a data register */
    SD_TEX_X_NDATA,
    SD_TEX_X_DATA,                      /* four rows, UINT32_MAX: none */
    SD_TEX_X_COORD = SD_TEX_X_DATA + 4, /* four rows */
    SD_TEX_X_MORE = SD_TEX_X_COORD + 4, /* a level, or two gradients of three rows */
    SD_TEX_X_COUNT = SD_TEX_X_MORE + 6,
};

enum sd_tex_query {
    SD_TEX_ASK_WIDTH,
    SD_TEX_ASK_HEIGHT,
    SD_TEX_ASK_DEPTH,
    SD_TEX_ASK_LAYERS,
    SD_TEX_ASK_LEVELS,
    SD_TEX_ASK_NORMALIZED,
};

#endif
