/* backend/driver/soft/math/sd_video.h -- the video instructions, scalar and 2/4-way SIMD */
#ifndef SD_VIDEO_H
#define SD_VIDEO_H

#include "backend/driver/soft/math/sd_round.h"

enum sd_video_kind {
    SD_VADD,
    SD_VSUB,
    SD_VABSDIFF,
    SD_VMIN,
    SD_VMAX,
    SD_VAVRG, /* SIMD only */
    SD_VSHL,  /* scalar only */
    SD_VSHR,  /* scalar only */
    SD_VMAD,  /* scalar only */
    SD_VSET,
};

enum sd_video_cmp {
    SD_VCMP_EQ,
    SD_VCMP_NE,
    SD_VCMP_LT,
    SD_VCMP_LE,
    SD_VCMP_GT,
    SD_VCMP_GE,
};

/* What happens with the result and c. */
enum sd_video_merge {
    SD_VMERGE_NONE,
    SD_VMERGE_ADD, /* .add; SIMD: the sum of the lanes in mask, plus c */
    SD_VMERGE_MIN,
    SD_VMERGE_MAX,
    SD_VMERGE_INSERT, /* scalar: dsel given, other bits from c; SIMD: lanes not in mask from c */
};

/* Part of a 32-bit register that a scalar operand names. */
enum sd_video_sel {
    SD_VSEL_WORD,
    SD_VSEL_B0,
    SD_VSEL_B1,
    SD_VSEL_B2,
    SD_VSEL_B3,
    SD_VSEL_H0,
    SD_VSEL_H1,
};

/* One decoded instruction; zero-initialise and set what the suffixes say. */
struct sd_video {
    enum sd_video_kind kind;
    uint8_t lanes; /* 1, 2 (v..2) or 4 (v..4) */
    bool a_signed;
    bool b_signed;
    bool d_signed;         /* also the type of c and of the merge */
    bool sat;              /* clamp to d's range (scalar: of the selected part) */
    bool wrap;             /* vshl, vshr: .wrap; otherwise .clamp */
    bool neg_ab;           /* vmad: -(a * b) */
    bool neg_c;            /* vmad: - c */
    bool plus_one;         /* vmad: .po */
    uint8_t scale;         /* vmad: 0, 7 or 15 */
    enum sd_video_cmp cmp; /* vset */
    enum sd_video_merge merge;
    /* Scalar forms. */
    enum sd_video_sel a_sel, b_sel, d_sel;
    /* SIMD forms: source lane (0 .. 2*lanes-1, the upper ones are b's) of each lane of a and b,
     * least significant lane first. .h32/.h10 and .b7654/.b3210 unless given. */
    uint8_t a_pick[4], b_pick[4];
    uint8_t mask; /* SIMD: bit per lane; all lanes unless given */
};

/* Fills the SIMD defaults of a_pick, b_pick and mask for v->lanes. */
void sd_video_defaults(struct sd_video *v);
uint32_t sd_video(const struct sd_video *v, uint32_t a, uint32_t b, uint32_t c);

#endif
