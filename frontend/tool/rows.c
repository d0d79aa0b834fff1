/* frontend/tool/rows.c */
#include "frontend/tool/rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- cells ------------------------------------------------------------------------------------- */

void
tool_rows_init(struct tool_rows *rows, const struct tool_column *columns)
{
    *rows = (struct tool_rows){.columns = columns};
    while (columns[rows->column_count].title != NULL)
        rows->column_count++;
    assert(rows->column_count <= TOOL_COLUMNS_MAX);
}

void
tool_rows_fini(struct tool_rows *rows)
{
    for (size_t i = 0; i < rows->cell_count; i++)
        free(rows->cells[i].text);
    free(rows->cells);
    *rows = (struct tool_rows){.columns = rows->columns, .column_count = rows->column_count};
}

static struct tool_cell *
cell_add(struct tool_rows *rows)
{
    if (rows->cell_count == rows->cell_cap) {
        size_t cap = rows->cell_cap != 0 ? rows->cell_cap * 2 : 64;
        struct tool_cell *cells = realloc(rows->cells, cap * sizeof(*cells));

        if (cells == NULL) {
            rows->failed = true;
            return NULL;
        }
        rows->cells = cells;
        rows->cell_cap = cap;
    }
    rows->cells[rows->cell_count] = (struct tool_cell){.kind = TOOL_TEXT};
    return &rows->cells[rows->cell_count++];
}

void
tool_rows_text(struct tool_rows *rows, const char *text)
{
    struct tool_cell *cell = cell_add(rows);

    if (cell != NULL)
        cell->text = strdup(text);
}

void
tool_rows_number(struct tool_rows *rows, enum tool_cell_kind kind, uint64_t number)
{
    struct tool_cell *cell = cell_add(rows);

    if (cell != NULL)
        *cell = (struct tool_cell){.kind = kind, .number = number};
}

size_t
tool_rows_count(const struct tool_rows *rows)
{
    return rows->failed ? 0 : rows->cell_count / rows->column_count;
}

/* -- for people -------------------------------------------------------------------------------- */

void
tool_bytes_text(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void
tool_age_text(uint64_t ms, char out[32])
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        snprintf(out, 32, "%" PRIu64 "ms", ms);
    else if (s < 60)
        snprintf(out, 32, "%" PRIu64 "s", s);
    else if (s < 3600)
        snprintf(out, 32, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, 32, "%" PRIu64 "h%" PRIu64 "m", s / 3600, s % 3600 / 60);
    else
        snprintf(out, 32, "%" PRIu64 "d%" PRIu64 "h", s / 86400, s % 86400 / 3600);
}

/* What a cell shows; buffer holds 32 bytes and is used where the cell has no text of its own. */
static const char *
cell_text(const struct tool_cell *cell, char *buffer)
{
    switch (cell->kind) {
    case TOOL_TEXT:
        return cell->text == NULL || cell->text[0] == '\0' ? "-" : cell->text;
    case TOOL_BYTES:
        tool_bytes_text(cell->number, buffer);
        return buffer;
    case TOOL_AGE:
        tool_age_text(cell->number, buffer);
        return buffer;
    case TOOL_BOOL:
        return cell->number != 0 ? "yes" : "no";
    default:
        snprintf(buffer, 32, "%" PRIu64, cell->number);
        return buffer;
    }
}

static size_t
column_width(const struct tool_rows *rows, size_t column)
{
    size_t count = tool_rows_count(rows), width = strlen(rows->columns[column].title);
    char buffer[32];

    for (size_t r = 0; r < count; r++) {
        size_t n = strlen(cell_text(&rows->cells[r * rows->column_count + column], buffer));

        width = n > width ? n : width;
    }
    return width;
}

static void
print_table(const struct tool_rows *rows, bool wide, struct gp_buf *out)
{
    size_t count = tool_rows_count(rows), widths[TOOL_COLUMNS_MAX];
    char buffer[32];

    for (size_t c = 0; c < rows->column_count; c++)
        widths[c] = column_width(rows, c);
    for (size_t r = 0; r < count + 1; r++) {
        size_t pad = 0; /* nothing is written behind the last column */

        for (size_t c = 0; c < rows->column_count; c++) {
            const struct tool_column *column = &rows->columns[c];
            const char *text = column->title;

            if (column->wide && !wide)
                continue;
            if (r > 0)
                text = cell_text(&rows->cells[(r - 1) * rows->column_count + c], buffer);
            gp_buf_printf(out, "%*s%s", (int)pad, "", text);
            pad = widths[c] - strlen(text) + 2;
        }
        gp_buf_append_text(out, "\n");
    }
}

void
tool_rows_describe(const struct tool_rows *rows, size_t row, struct gp_buf *out)
{
    char buffer[32];
    size_t width = 0;

    for (size_t c = 0; c < rows->column_count; c++)
        width = strlen(rows->columns[c].key) > width ? strlen(rows->columns[c].key) : width;
    for (size_t c = 0; c < rows->column_count; c++)
        gp_buf_printf(out, "%s:%*s %s\n", rows->columns[c].key,
                      (int)(width - strlen(rows->columns[c].key)), "",
                      cell_text(&rows->cells[row * rows->column_count + c], buffer));
}

/* -- for programs ------------------------------------------------------------------------------ */

/* JSON's strings are YAML's too. */
static void
print_string(const char *text, struct gp_buf *out)
{
    gp_buf_append_text(out, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            gp_buf_printf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            gp_buf_printf(out, "\\u%04x", (unsigned)*text);
        else
            gp_buf_append(out, text, 1);
    }
    gp_buf_append_text(out, "\"");
}

static void
print_value(const struct tool_cell *cell, struct gp_buf *out)
{
    if (cell->kind == TOOL_TEXT)
        print_string(cell->text != NULL ? cell->text : "", out);
    else if (cell->kind == TOOL_BOOL)
        gp_buf_append_text(out, cell->number != 0 ? "true" : "false");
    else
        gp_buf_printf(out, "%" PRIu64, cell->number);
}

static void
print_json(const struct tool_rows *rows, struct gp_buf *out)
{
    size_t count = tool_rows_count(rows);

    gp_buf_append_text(out, "[");
    for (size_t r = 0; r < count; r++) {
        gp_buf_append_text(out, r > 0 ? ",\n {" : "\n {");
        for (size_t c = 0; c < rows->column_count; c++) {
            gp_buf_printf(out, "%s\"%s\": ", c > 0 ? ", " : "", rows->columns[c].key);
            print_value(&rows->cells[r * rows->column_count + c], out);
        }
        gp_buf_append_text(out, "}");
    }
    gp_buf_append_text(out, count > 0 ? "\n]\n" : "]\n");
}

static void
print_yaml(const struct tool_rows *rows, struct gp_buf *out)
{
    size_t count = tool_rows_count(rows);

    if (count == 0)
        gp_buf_append_text(out, "[]\n");
    for (size_t r = 0; r < count; r++) {
        for (size_t c = 0; c < rows->column_count; c++) {
            gp_buf_printf(out, "%s%s: ", c == 0 ? "- " : "  ", rows->columns[c].key);
            print_value(&rows->cells[r * rows->column_count + c], out);
            gp_buf_append_text(out, "\n");
        }
    }
}

void
tool_rows_print(const struct tool_rows *rows, enum tool_format format, struct gp_buf *out)
{
    if (format == TOOL_JSON)
        print_json(rows, out);
    else if (format == TOOL_YAML)
        print_yaml(rows, out);
    else
        print_table(rows, format == TOOL_WIDE, out);
}
