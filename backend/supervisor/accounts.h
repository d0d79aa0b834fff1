/* backend/supervisor/accounts.h -- how much ran here, for whom, on which day
 *
 * Each session is looked at now and then and at its end; what it did since goes to its tenant's row
 * of that day (UTC). Rows are kept in a file to which only is added, a line for what a row has
 * grown by, so that two supervisors (succession.h) may write to it, and one that is killed loses
 * what it had not written for at most a minute. When lines have become many and nobody else writes,
 * the file is written anew, a line a row, without days that are too old.
 *
 * Threads: one. Hostile input: what workers say of themselves; the file, which may be cut.
 */
#ifndef BE_ACCOUNTS_H
#define BE_ACCOUNTS_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_ACCOUNT_NAME_BYTES 64   /* with its 0 */
#define BE_ACCOUNT_SLOTS      1024 /* as many as the ledger has */
#define BE_ACCOUNT_DAYS       400  /* kept */
#define BE_ACCOUNT_LOOK_MS    5000u
#define BE_ACCOUNT_SAVE_MS    60000u

enum be_account_sum {
    BE_ACCOUNT_SESSIONS,
    BE_ACCOUNT_SESSION_MS, /* that sessions were open */
    BE_ACCOUNT_GPU_MS,     /* the same, times the GPUs on which a session had something */
    BE_ACCOUNT_LAUNCHES,
    BE_ACCOUNT_CALLS,
    BE_ACCOUNT_BYTES_IN,
    BE_ACCOUNT_BYTES_OUT,
    BE_ACCOUNT_SUMS,
};

struct be_account {
    uint32_t day;                     /* 20261128 */
    char name[BE_ACCOUNT_NAME_BYTES]; /* of the tenant; of the certificate where there is none */
    uint64_t sums[BE_ACCOUNT_SUMS];
    uint64_t saved[BE_ACCOUNT_SUMS]; /* as the file has it */
};

/* What a session has done so far. */
struct be_account_seen {
    uint64_t session_id, opened_ms; /* since 1970 */
    const char *name;
    unsigned gpus; /* on which it has something now */
    uint64_t launches, calls, bytes_in, bytes_out;
};

struct be_accounts;

/* path is borrowed; NULL: nothing is kept. alone: nobody else writes to it. Errors are logged; a
 * file that cannot be read is an error, one that is not there is none. */
GP_CHECK enum gp_status be_accounts_open(const char *path, uint64_t now_ms,
                                         struct be_accounts **accounts_p);
/* Saves first. NULL is fine. */
void be_accounts_close(struct be_accounts *accounts, uint64_t now_ms);

/* The session of a slot; the same once more before it is gone. */
void be_accounts_look(struct be_accounts *accounts, unsigned slot,
                      const struct be_account_seen *seen, uint64_t now_ms);
void be_accounts_gone(struct be_accounts *accounts, unsigned slot);
/* After all of them were looked at: writes what is due. alone: nobody else writes to the file. */
void be_accounts_looked(struct be_accounts *accounts, uint64_t now_ms, bool alone);
/* When they want to be looked at next. */
uint64_t be_accounts_next_ms(const struct be_accounts *accounts);

/* Sums of each name over the days [from, to]; *rows_p is the caller's to free. False without
 * memory. */
bool be_accounts_sum(struct be_accounts *accounts, uint32_t from, uint32_t to,
                     struct be_account **rows_p, size_t *count_p);

uint32_t be_account_day(uint64_t ms);

#endif
