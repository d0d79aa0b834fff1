/* protocol/base/options_priv.h -- shared by the options' files and their test only */
#ifndef GP_OPTIONS_PRIV_H
#define GP_OPTIONS_PRIV_H

#include "protocol/base/options.h"

/* Higher wins. */
enum gp_option_rank {
    GP_OPTION_DEFAULT,
    GP_OPTION_FILE,
    GP_OPTION_ENV,
    GP_OPTION_ARGS,
};

struct gp_option_value {
    char **items; /* one, or several of a list; owned */
    size_t count; /* 0: unset */
    uint64_t number;
    enum gp_option_rank rank;
    char where[128];
};

struct gp_options {
    const struct gp_option_set *set;
    size_t count;
    struct gp_option_value *values; /* one for each option, same order */
    gp_options_other_fn other;
    void *other_user;
};

/* Check text and keep it unless a higher rank has set the option. */
GP_CHECK enum gp_status gp_options_set_value(struct gp_options *options,
                                             const struct gp_option *opt, enum gp_option_rank rank,
                                             const char *text, const char *where);

/* "tls-key" with prefix "GPUPOOLD_" is "GPUPOOLD_TLS_KEY". */
void gp_option_env_name(const struct gp_option_set *set, const struct gp_option *opt, char *out,
                        size_t out_bytes);

static inline const char *
gp_option_section(const struct gp_option_set *set, const struct gp_option *opt)
{
    return opt->section != NULL ? opt->section : set->section;
}

static inline const char *
gp_option_key(const struct gp_option *opt)
{
    return opt->key != NULL ? opt->key : opt->name;
}

#endif
