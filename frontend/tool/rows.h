/* frontend/tool/rows.h -- tables of typed cells, printed for people or for programs
 *
 * Threads: one at a time. A row's cells are added in the order of the columns.
 */
#ifndef FE_TOOL_ROWS_H
#define FE_TOOL_ROWS_H

#include "protocol/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOOL_COLUMNS_MAX 32

struct tool_column {
    const char *title; /* "MEMORY"; NULL ends the list */
    const char *key;   /* "total_bytes", in JSON and YAML */
    bool wide;         /* only where there is room for it */
};

enum tool_cell_kind {
    TOOL_TEXT,
    TOOL_NUMBER,
    TOOL_BYTES, /* "12.0 GiB" for people, a number for programs */
    TOOL_AGE,   /* milliseconds: "3m12s" */
    TOOL_BOOL,
};

struct tool_cell {
    enum tool_cell_kind kind;
    char *text; /* TOOL_TEXT */
    uint64_t number;
};

struct tool_rows {
    const struct tool_column *columns;
    size_t column_count;
    struct tool_cell *cells;
    size_t cell_count, cell_cap;
    bool failed; /* memory ran out */
};

enum tool_format {
    TOOL_TABLE,
    TOOL_WIDE,
    TOOL_JSON,
    TOOL_YAML,
};

void tool_rows_init(struct tool_rows *rows, const struct tool_column *columns);
void tool_rows_fini(struct tool_rows *rows);
void tool_rows_text(struct tool_rows *rows, const char *text);
void tool_rows_number(struct tool_rows *rows, enum tool_cell_kind kind, uint64_t number);
/* How many rows are whole. */
size_t tool_rows_count(const struct tool_rows *rows);

void tool_rows_print(const struct tool_rows *rows, enum tool_format format, struct gp_buf *out);
/* One row, a line for each column. */
void tool_rows_describe(const struct tool_rows *rows, size_t row, struct gp_buf *out);

/* "12.0 GiB", "512 B"; "3m12s", "2d4h". out holds 32 bytes. */
void tool_bytes_text(uint64_t bytes, char out[32]);
void tool_age_text(uint64_t ms, char out[32]);

#endif
