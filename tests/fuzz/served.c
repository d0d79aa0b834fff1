/* tests/fuzz/served.c */
#include "tests/fuzz/served.h"

#include "backend/session/put_lines.h"
#include "protocol/base/log.h"

#include <stdio.h>

static struct be_driver driver;
static struct be_line line;
static struct be_put_lines *lines; /* to nowhere, but calls about them are taken */

void
fuzz_driver_open(void)
{
    const char *name = getenv("GPUPOOL_TEST_DRIVER");

    gp_log_set_level(GP_LOG_ERROR);
    setenv("GPUPOOL_SOFT_MEMORY", "256m", 0);
    if (be_driver_open(name != NULL ? name : "soft", &driver) != GP_OK) {
        fprintf(stderr, "no driver to fuzz with\n");
        exit(77);
    }
}

struct be_session *
fuzz_session_begin(void)
{
    struct be_session_config config = {
        .images_fd = -1, .driver = &driver, .print_fd = -1, .range_bytes = 1ull << 30};
    struct be_session *session;

    config.limits.upload_bytes = 1u << 20;
    be_line_init(&line, NULL, 1u << 20);
    if (be_session_create(&config, &line, &session) != GP_OK)
        abort();
    if (be_put_lines_create(&(struct be_put_lines_config){.puts = session->puts}, &lines) != GP_OK)
        abort();
    be_puts_open(session->puts, 1, lines);
    be_space_set_lease(session->space, 0, 64u << 20);
    return session;
}

void
fuzz_session_end(struct be_session *session)
{
    (void)be_parked_poll(session);
    be_session_destroy(session);
    be_put_lines_destroy(lines);
    be_line_fini(&line);
}

void
fuzz_record_add(struct gp_buf *row, uint16_t call, uint32_t context, const void *args, size_t bytes)
{
    struct wire_record record = {.bytes = (uint32_t)(sizeof(record) + WIRE_PAD(bytes)),
                                 .call = call,
                                 .tag = wire_calls[call].sync ? 1 : 0,
                                 .context = context};
    static const uint8_t zeros[8];

    gp_buf_append(row, &record, sizeof(record));
    gp_buf_append(row, args, bytes);
    gp_buf_append(row, zeros, WIRE_PAD(bytes) - bytes);
}
