/* backend/driver/soft/exec/lanes.h -- flags of the instructions across lanes */
#ifndef SD_LANES_H
#define SD_LANES_H

enum {
    SD_SHFL_IDX,
    SD_SHFL_UP,
    SD_SHFL_DOWN,
    SD_SHFL_BFLY,
    SD_SHFL_PRED = 8, /* the next instruction's dst is the predicate "source was in range" */
};

enum {
    SD_VOTE_ALL,
    SD_VOTE_ANY,
    SD_VOTE_UNI,
};

enum {
    SD_REDUX_ADD,
    SD_REDUX_MIN,
    SD_REDUX_MAX,
    SD_REDUX_AND,
    SD_REDUX_OR,
    SD_REDUX_XOR,
    SD_REDUX_SIGNED = 16,
    SD_REDUX_ABS = 32,
    SD_REDUX_NAN = 64,
};

#endif
