/* protocol/cudart/logs.c -- the driver's log buffer: what the library logged, for the program to
 * read
 *
 * Lock: one, before that of the callbacks; taken where a line is logged, so whatever locks the
 * logging code holds.
 */
#include "cuda_api.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/cudart/log_callbacks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES    100u
#define TEXT_BYTES 255u /* of one line, with its end: all of them are what CUDA keeps */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by lock. */
static char entries[ENTRIES][TEXT_BYTES + 1];
static CUlogIterator next_number; /* of the next line */

static void
keep(enum gp_log_level level, const char *text)
{
    char line[TEXT_BYTES + 1];

    if (level > GP_LOG_WARN)
        return;
    snprintf(line, sizeof(line), "[%s] %s", level == GP_LOG_ERROR ? "ERROR" : "WARNING", text);
    pthread_mutex_lock(&lock);
    strcpy(entries[next_number % ENTRIES], line);
    next_number++;
    /* Under the lock, so that the functions hear lines in the buffer's order. */
    gp_log_callbacks_hear(level == GP_LOG_ERROR ? CU_LOG_LEVEL_ERROR : CU_LOG_LEVEL_WARNING, line);
    pthread_mutex_unlock(&lock);
}

static __attribute__((constructor)) void
listen_to_log(void)
{
    gp_log_set_sink(keep);
}

GP_EXPORT CUresult
cuLogsCurrent(CUlogIterator *iterator, unsigned int flags)
{
    if (iterator == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    *iterator = next_number;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

/* The first line that is there from a wish on; *lost_p if lines before it are gone. Lock held. */
static CUlogIterator
first_kept(const CUlogIterator *wish, bool *lost_p)
{
    CUlogIterator oldest = next_number > ENTRIES ? next_number - ENTRIES : 0;
    CUlogIterator first = wish != NULL ? *wish : 0;

    if (first > next_number)
        first = next_number;
    *lost_p = first < oldest;
    return *lost_p ? oldest : first;
}

static const char cut[] = "[WARNING] earlier messages were lost\n";

GP_EXPORT CUresult
cuLogsDumpToMemory(CUlogIterator *iterator, char *buffer, size_t *size, unsigned int flags)
{
    size_t need = 0, used = 0, len;
    CUlogIterator first, from;
    bool lost;

    if (buffer == NULL || size == NULL || *size == 0 || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    first = first_kept(iterator, &lost);
    /* The latest that fit, behind the word that some did not. */
    for (from = next_number; from > first; from--) {
        len = strlen(entries[(from - 1) % ENTRIES]) + 1;
        if (need + len + (from - 1 > first || lost ? sizeof(cut) - 1 : 0) + 1 > *size)
            break;
        need += len;
    }
    if (from == next_number && first != next_number) {
        pthread_mutex_unlock(&lock);
        *size = 0;
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (from > first || (lost && from < next_number))
        used = (size_t)snprintf(buffer, *size, "%s", cut);
    for (; from < next_number; from++)
        used += (size_t)snprintf(buffer + used, *size - used, "%s\n", entries[from % ENTRIES]);
    buffer[used] = 0;
    *size = used;
    if (iterator != NULL)
        *iterator = next_number;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLogsDumpToFile(CUlogIterator *iterator, const char *path, unsigned int flags)
{
    char all[ENTRIES * (TEXT_BYTES + 1) + sizeof(cut)];
    size_t size = sizeof(all);
    CUlogIterator at = iterator != NULL ? *iterator : 0;
    FILE *file;
    bool ok;

    if (path == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    file = fopen(path, "we");
    if (file == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    ok = cuLogsDumpToMemory(&at, all, &size, 0) == CUDA_SUCCESS &&
         fwrite(all, 1, size, file) == size;
    ok = fclose(file) == 0 && ok;
    if (ok && iterator != NULL)
        *iterator = at;
    return ok ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}
