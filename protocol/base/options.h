/* protocol/base/options.h -- one table gives arguments, environment, files, --help and reference
 *
 * A program describes its options once:
 *
 *   static const struct gp_option be_options[] = {
 *       // name     arg      type           default  help                       ini section, key
 *       {"listen",  "URL",   GP_OPT_URLS,   NULL,    "accept sessions on URL"},
 *       {"tls-key", "FILE",  GP_OPT_PATH,   NULL,    "private key, PEM",        "tls", "key"},
 *       {"slice",   "TIME",  GP_OPT_TIME,   "20ms",  "longest turn"},
 *       {NULL}
 *   };
 *   static const struct gp_option_set be_set = {"gpupoold", "serve GPUs", "GPUPOOLD_", "server",
 *                                               be_options};
 *
 * The same option is then --slice=20ms, GPUPOOLD_SLICE=20ms, and "slice = 20ms" under [server].
 * A later source wins by rank, whatever the order of loading: default, file, environment,
 * arguments. A list (URLS, STRINGS) of a higher rank replaces a lower one's, within a source it
 * adds up.
 *
 * Threads: load in one thread; afterwards read-only.
 * Errors:  each bad value is one log line that names the source (file and line, variable or
 *          argument), the text and what was expected; the status is GP_ERR_INVALID.
 */
#ifndef GP_OPTIONS_H
#define GP_OPTIONS_H

#include "protocol/base/buf.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gp_option_type {
    GP_OPT_FLAG,    /* no argument; --no-NAME clears it; yes or no elsewhere */
    GP_OPT_TEXT,    /* anything but empty */
    GP_OPT_PATH,    /* a file's name */
    GP_OPT_ENUM,    /* one of choices */
    GP_OPT_NUMBER,  /* unsigned */
    GP_OPT_BYTES,   /* "512m" */
    GP_OPT_TIME,    /* "20ms"; read as nanoseconds */
    GP_OPT_FD,      /* number of an open descriptor */
    GP_OPT_URLS,    /* scheme://host[:port], several by comma or by repetition */
    GP_OPT_GROUPS,  /* the same, and each may be several URLs joined by plus */
    GP_OPT_STRINGS, /* several by comma or by repetition */
};

struct gp_option {
    const char *name; /* "tls-key"; NULL ends the table */
    const char *arg;  /* in --help; NULL for a flag */
    enum gp_option_type type;
    const char *def; /* as text, NULL: unset */
    const char *help;
    const char *section; /* in a file; NULL: the set's */
    const char *key;     /* in the section; NULL: the name */
    const char *choices; /* GP_OPT_ENUM: "cuda|soft" */
    bool args_only;      /* not from a file or the environment (--ready-fd) */
};

struct gp_option_set {
    const char *program;
    const char *summary;    /* after "Usage: program [OPTION]... " */
    const char *env_prefix; /* "GPUPOOLD_"; NULL: no environment */
    const char *section;    /* where options without a section are in a file */
    const struct gp_option *options;
};

struct gp_options;

/* For sections of a file that no option names, [tenant "x"]: section is the text in brackets,
 * where is "file:line". GP_ERR_NOT_FOUND: nobody knows this section or key (logged here). */
typedef enum gp_status (*gp_options_other_fn)(void *user, const char *section, const char *key,
                                              const char *value, const char *where);

/* set is borrowed and must outlive *options_p, which is the caller's. Defaults are checked here. */
GP_CHECK enum gp_status gp_options_create(const struct gp_option_set *set,
                                          struct gp_options **options_p);
void gp_options_destroy(struct gp_options *options);
void gp_options_set_other(struct gp_options *options, gp_options_other_fn fn, void *user);

/*
 * Read argv[1..]. Stops at "--" or the first argument that is no option; *next_p is its index.
 * --help is answered by GP_ERR_AGAIN: the caller prints gp_options_help() and ends.
 */
GP_CHECK enum gp_status gp_options_load_args(struct gp_options *options, int argc,
                                             char *const argv[], int *next_p);
GP_CHECK enum gp_status gp_options_load_env(struct gp_options *options);
/* GP_ERR_NOT_FOUND if there is no such file: not logged, the caller knows whether it must be. */
GP_CHECK enum gp_status gp_options_load_file(struct gp_options *options, const char *path);
/* The same from memory; name is for messages. */
GP_CHECK enum gp_status gp_options_load_text(struct gp_options *options, const char *name,
                                             const char *text);

/* Set the option that a file calls key, as a file at where would: for sections like [tenant "x"]
 * that have a table of their own. GP_ERR_NOT_FOUND if no option has this key (not logged). */
GP_CHECK enum gp_status gp_options_set(struct gp_options *options, const char *key,
                                       const char *value, const char *where);

/* Values. name must be in the table with a fitting type, anything else is a programming error and
 * reads as unset. Returned strings are owned by options. */
bool gp_options_is_set(const struct gp_options *options, const char *name);
const char *gp_options_text(const struct gp_options *options, const char *name); /* NULL: unset */
bool gp_options_flag(const struct gp_options *options, const char *name);
/* NUMBER, BYTES, TIME, FD; 0 (FD: UINT64_MAX) if unset. */
uint64_t gp_options_u64(const struct gp_options *options, const char *name);
size_t gp_options_count(const struct gp_options *options, const char *name);
const char *gp_options_at(const struct gp_options *options, const char *name, size_t i);
/* Where the value came from, "server.ini:12", "GPUPOOLD_SLICE", "--slice", "default". */
const char *gp_options_where(const struct gp_options *options, const char *name);

/* --help, and a reference page in markdown. */
void gp_options_help(const struct gp_option_set *set, struct gp_buf *out);
void gp_options_reference(const struct gp_option_set *set, struct gp_buf *out);
/* The options of a manual page, from ".SH OPTIONS" on, and a file of all settings as comments. */
void gp_options_man(const struct gp_option_set *set, struct gp_buf *out);
void gp_options_example(const struct gp_option_set *set, struct gp_buf *out);

#endif
