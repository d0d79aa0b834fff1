/* backend/metrics/board.c */
#include "backend/metrics/board.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BE_BOARD_MAGIC 0x67706264u

enum {
    PART_EMPTY,
    PART_WRITING,
    PART_SET,
};

struct be_board_memory {
    uint32_t magic, bytes;
    atomic_uint driver_state;
    struct be_board_driver driver;
    struct be_board_row rows[BE_BOARD_ROWS];
};

struct be_board {
    struct be_board_memory *memory;
    int fd;
};

static enum gp_status
board_map(int fd, struct be_board **board_p)
{
    struct be_board *board = calloc(1, sizeof(*board));
    void *at;

    if (board == NULL)
        return GP_ERR_NO_MEMORY;
    at = mmap(NULL, sizeof(struct be_board_memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        log_error("board: map: %m");
        free(board);
        return GP_ERR_NO_MEMORY;
    }
    board->memory = at;
    board->fd = fd;
    *board_p = board;
    return GP_OK;
}

enum gp_status
be_board_create(struct be_board **board_p)
{
    int fd = memfd_create("gpupool-board", MFD_CLOEXEC);
    enum gp_status status = GP_ERR_NO_MEMORY;

    if (fd >= 0 && ftruncate(fd, sizeof(struct be_board_memory)) == 0)
        status = board_map(fd, board_p);
    else
        log_error("board: memory: %m");
    if (status != GP_OK) {
        if (fd >= 0)
            close(fd);
        return status;
    }
    (*board_p)->memory->bytes = sizeof(struct be_board_memory);
    (*board_p)->memory->magic = BE_BOARD_MAGIC;
    return GP_OK;
}

enum gp_status
be_board_attach(int fd, struct be_board **board_p)
{
    struct be_board *board;
    enum gp_status status = board_map(fd, &board);

    if (status != GP_OK)
        return status;
    if (board->memory->magic != BE_BOARD_MAGIC ||
        board->memory->bytes != sizeof(struct be_board_memory)) {
        log_error("board: descriptor %d is none of this build", fd);
        be_board_close(board);
        return GP_ERR_INVALID;
    }
    *board_p = board;
    return GP_OK;
}

void
be_board_close(struct be_board *board)
{
    if (board == NULL)
        return;
    munmap(board->memory, sizeof(struct be_board_memory));
    close(board->fd);
    free(board);
}

int
be_board_fd(const struct be_board *board)
{
    return board->fd;
}

/* -- a worker ---------------------------------------------------------------------------------- */

void
be_board_set_driver(struct be_board *board, const struct be_board_driver *driver)
{
    unsigned empty = PART_EMPTY;

    if (board == NULL ||
        !atomic_compare_exchange_strong(&board->memory->driver_state, &empty, PART_WRITING))
        return;
    board->memory->driver = *driver;
    atomic_store_explicit(&board->memory->driver_state, PART_SET, memory_order_release);
}

struct be_board_row *
be_board_row(struct be_board *board, unsigned slot)
{
    return board != NULL && slot < BE_BOARD_ROWS ? &board->memory->rows[slot] : NULL;
}

void
be_board_row_set(struct be_board_row *row, const struct be_board_session *session)
{
    if (row == NULL)
        return;
    atomic_store_explicit(&row->state, PART_WRITING, memory_order_release);
    row->session = *session;
    atomic_store_explicit(&row->state, PART_SET, memory_order_release);
}

/* What is not known goes by the usual one. */
static enum be_way
way_of(const char *scheme)
{
    for (int way = 0; way < BE_WAY_END; way++)
        if (strcmp(scheme, be_way_text((enum be_way)way)) == 0)
            return (enum be_way)way;
    return BE_WAY_TLS;
}

/* From all that was counted before to total, by this way. */
static void
grow(atomic_uint_least64_t *all, atomic_uint_least64_t *by, uint64_t total)
{
    uint64_t before = atomic_load_explicit(all, memory_order_relaxed);

    if (total <= before)
        return;
    atomic_fetch_add_explicit(by, total - before, memory_order_relaxed);
    atomic_store_explicit(all, total, memory_order_relaxed);
}

void
be_board_row_frame(struct be_board_row *row, const char *scheme, uint64_t bytes_in,
                   uint64_t bytes_out, uint64_t now_ns)
{
    enum be_way way = way_of(scheme);

    grow(&row->counts[BE_COUNT_BYTES_IN], &row->bytes_in[way], bytes_in);
    grow(&row->counts[BE_COUNT_BYTES_OUT], &row->bytes_out[way], bytes_out);
    atomic_store_explicit(&row->way, way, memory_order_relaxed);
    atomic_store_explicit(&row->active_ns, now_ns, memory_order_relaxed);
}

void
be_count_turn(struct be_board_row *row, uint64_t ns)
{
    static const uint32_t upto_us[BE_TURN_BUCKETS - 1] = {500,   1000,  2000,   5000,
                                                          10000, 50000, 200000, 1000000};
    unsigned i = 0;

    while (i < BE_TURN_BUCKETS - 1 && ns > upto_us[i] * 1000ull)
        i++;
    be_count(row, (enum be_count)(BE_COUNT_TURNS + i), 1);
    be_count(row, BE_COUNT_TURNS_NS, ns);
}

/* -- the supervisor ---------------------------------------------------------------------------- */

static void
text_end(char *text, size_t bytes)
{
    text[bytes - 1] = '\0';
}

bool
be_board_driver(struct be_board *board, struct be_board_driver *driver_p)
{
    if (atomic_load_explicit(&board->memory->driver_state, memory_order_acquire) != PART_SET)
        return false;
    *driver_p = board->memory->driver;
    text_end(driver_p->text, sizeof(driver_p->text));
    if (driver_p->gpu_count > BE_BOARD_GPUS)
        driver_p->gpu_count = BE_BOARD_GPUS;
    for (uint32_t i = 0; i < driver_p->gpu_count; i++) {
        text_end(driver_p->gpus[i].name, sizeof(driver_p->gpus[i].name));
        text_end(driver_p->gpus[i].pci, sizeof(driver_p->gpus[i].pci));
    }
    return true;
}

bool
be_board_view(struct be_board *board, unsigned slot, struct be_board_view *view_p)
{
    struct be_board_row *row = be_board_row(board, slot);
    struct be_board_session *s = &view_p->session;
    unsigned way;

    if (row == NULL || atomic_load_explicit(&row->state, memory_order_acquire) != PART_SET)
        return false;
    *s = row->session;
    text_end(s->program, sizeof(s->program));
    text_end(s->build, sizeof(s->build));
    text_end(s->common_name, sizeof(s->common_name));
    text_end(s->address, sizeof(s->address));
    view_p->active_ns = atomic_load_explicit(&row->active_ns, memory_order_relaxed);
    for (int i = 0; i < BE_COUNT_END; i++)
        view_p->counts[i] = atomic_load_explicit(&row->counts[i], memory_order_relaxed);
    way = atomic_load_explicit(&row->way, memory_order_relaxed);
    view_p->way = way < BE_WAY_END ? (enum be_way)way : BE_WAY_TLS;
    for (int i = 0; i < BE_WAY_END; i++)
        view_p->bytes[i] = (struct be_board_bytes){
            .in = atomic_load_explicit(&row->bytes_in[i], memory_order_relaxed),
            .out = atomic_load_explicit(&row->bytes_out[i], memory_order_relaxed),
        };
    return true;
}

const char *
be_way_text(enum be_way way)
{
    static const char *const texts[] = {"tcp", "tls", "shm", "rdma"};

    return texts[way];
}

void
be_board_row_clear(struct be_board *board, unsigned slot)
{
    struct be_board_row *row = be_board_row(board, slot);

    if (row == NULL)
        return;
    atomic_store_explicit(&row->state, PART_EMPTY, memory_order_relaxed);
    atomic_store_explicit(&row->active_ns, 0, memory_order_relaxed);
    for (int i = 0; i < BE_COUNT_END; i++)
        atomic_store_explicit(&row->counts[i], 0, memory_order_relaxed);
    for (int i = 0; i < BE_WAY_END; i++) {
        atomic_store_explicit(&row->bytes_in[i], 0, memory_order_relaxed);
        atomic_store_explicit(&row->bytes_out[i], 0, memory_order_relaxed);
    }
}
