/* protocol/base/options.c -- values and their sources */
#include "protocol/base/options.h"

#include "protocol/base/log.h"
#include "protocol/base/options_priv.h"
#include "protocol/base/parse.h"
#include "protocol/base/url.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static size_t
option_count(const struct gp_option_set *set)
{
    size_t n = 0;

    while (set->options[n].name != NULL)
        n++;
    return n;
}

static const struct gp_option_value *
value_of(const struct gp_options *options, const char *name)
{
    for (size_t i = 0; i < options->count; i++)
        if (strcmp(options->set->options[i].name, name) == 0)
            return &options->values[i];
    return NULL;
}

static void
value_clear(struct gp_option_value *value)
{
    for (size_t i = 0; i < value->count; i++)
        free(value->items[i]);
    free(value->items);
    *value = (struct gp_option_value){.number = value->number};
}

static bool
is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);

    while (choices != NULL) {
        size_t len = strcspn(choices, "|");

        if (len == n && strncmp(choices, text, n) == 0)
            return true;
        choices = choices[len] == '|' ? choices + len + 1 : NULL;
    }
    return false;
}

/* What a value of this type looks like, for messages. */
static const char *
expected(const struct gp_option *opt)
{
    switch (opt->type) {
    case GP_OPT_FLAG:
        return "yes or no";
    case GP_OPT_ENUM:
        return opt->choices;
    case GP_OPT_NUMBER:
    case GP_OPT_FD:
        return "a number";
    case GP_OPT_BYTES:
        return "a size such as 512m";
    case GP_OPT_TIME:
        return "a time such as 20ms";
    case GP_OPT_URLS:
        return "scheme://host:port";
    case GP_OPT_GROUPS:
        return "scheme://host:port, or several of them joined by +";
    default:
        return "a text";
    }
}

static enum gp_status
check_group(const char *text)
{
    enum gp_status status = GP_OK;
    struct gp_url url;

    for (size_t len; status == GP_OK && text != NULL;
         text = text[len] != '\0' ? text + len + 1 : NULL) {
        GP_AUTO_FREE char *one = NULL;

        len = gp_url_group_next(text);
        one = strndup(text, len);
        status = one != NULL ? gp_url_parse(one, &url) : GP_ERR_NO_MEMORY;
    }
    return status;
}

static enum gp_status
check(const struct gp_option *opt, const char *text, uint64_t *number_p)
{
    struct gp_url url;
    bool flag;

    if (text[0] == '\0')
        return GP_ERR_INVALID;
    switch (opt->type) {
    case GP_OPT_FLAG:
        if (gp_parse_bool(text, &flag) != GP_OK)
            return GP_ERR_INVALID;
        *number_p = flag;
        return GP_OK;
    case GP_OPT_ENUM:
        return is_choice(opt->choices, text) ? GP_OK : GP_ERR_INVALID;
    case GP_OPT_NUMBER:
        return gp_parse_u64(text, number_p);
    case GP_OPT_FD:
        if (gp_parse_u64(text, number_p) != GP_OK || *number_p > INT_MAX)
            return GP_ERR_INVALID;
        return GP_OK;
    case GP_OPT_BYTES:
        return gp_parse_bytes(text, number_p);
    case GP_OPT_TIME:
        return gp_parse_time(text, number_p);
    case GP_OPT_URLS:
        return gp_url_parse(text, &url);
    case GP_OPT_GROUPS:
        return check_group(text);
    default:
        return GP_OK;
    }
}

static enum gp_status
value_append(struct gp_option_value *value, const char *text)
{
    char **items = realloc(value->items, (value->count + 1) * sizeof(*items));
    char *copy = strdup(text);

    if (items != NULL)
        value->items = items;
    if (items == NULL || copy == NULL) {
        free(copy);
        return GP_ERR_NO_MEMORY;
    }
    items[value->count++] = copy;
    return GP_OK;
}

static enum gp_status
take_one(const struct gp_option *opt, struct gp_option_value *value, const char *text,
         const char *where)
{
    uint64_t number = 0;

    if (check(opt, text, &number) != GP_OK) {
        log_error("%s: \"%s\" for %s is not %s", where, text, opt->name, expected(opt));
        return GP_ERR_INVALID;
    }
    value->number = number;
    return value_append(value, text);
}

static enum gp_status
take_list(const struct gp_option *opt, struct gp_option_value *value, const char *text,
          const char *where)
{
    GP_AUTO_FREE char *copy = strdup(text);
    char *rest = copy, *word;

    if (copy == NULL)
        return GP_ERR_NO_MEMORY;
    while ((word = strsep(&rest, ",")) != NULL) {
        size_t n;
        enum gp_status status;

        word += strspn(word, " \t");
        for (n = strlen(word); n > 0 && (word[n - 1] == ' ' || word[n - 1] == '\t'); n--)
            word[n - 1] = '\0';
        status = take_one(opt, value, word, where);
        if (status != GP_OK)
            return status;
    }
    return GP_OK;
}

enum gp_status
gp_options_set_value(struct gp_options *options, const struct gp_option *opt,
                     enum gp_option_rank rank, const char *text, const char *where)
{
    struct gp_option_value *value = &options->values[opt - options->set->options];
    bool list =
        opt->type == GP_OPT_URLS || opt->type == GP_OPT_GROUPS || opt->type == GP_OPT_STRINGS;
    struct gp_option_value ignored = {0};
    bool ranked = rank >= value->rank;
    enum gp_status status;

    if (!ranked)
        value = &ignored; /* still checked, so that a mistake shows */
    else if (!list || rank > value->rank)
        value_clear(value);

    status = list ? take_list(opt, value, text, where) : take_one(opt, value, text, where);
    if (ranked) {
        value->rank = rank;
        snprintf(value->where, sizeof(value->where), "%s", where);
    } else {
        value_clear(&ignored);
    }
    return status;
}

enum gp_status
gp_options_set(struct gp_options *options, const char *key, const char *value, const char *where)
{
    for (const struct gp_option *opt = options->set->options; opt->name != NULL; opt++)
        if (!opt->args_only && strcmp(gp_option_key(opt), key) == 0)
            return gp_options_set_value(options, opt, GP_OPTION_FILE, value, where);
    return GP_ERR_NOT_FOUND;
}

enum gp_status
gp_options_create(const struct gp_option_set *set, struct gp_options **options_p)
{
    struct gp_options *options = calloc(1, sizeof(*options));

    if (options == NULL)
        return GP_ERR_NO_MEMORY;
    options->set = set;
    options->count = option_count(set);
    options->values = calloc(options->count + 1, sizeof(*options->values));
    if (options->values == NULL) {
        free(options);
        return GP_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < options->count; i++) {
        const struct gp_option *opt = &set->options[i];
        enum gp_status status;

        options->values[i].number = opt->type == GP_OPT_FD ? UINT64_MAX : 0;
        if (opt->def == NULL)
            continue;
        status = gp_options_set_value(options, opt, GP_OPTION_DEFAULT, opt->def, "default");
        if (status != GP_OK) {
            gp_options_destroy(options);
            return status;
        }
    }
    *options_p = options;
    return GP_OK;
}

void
gp_options_destroy(struct gp_options *options)
{
    if (options == NULL)
        return;
    for (size_t i = 0; i < options->count; i++)
        value_clear(&options->values[i]);
    free(options->values);
    free(options);
}

void
gp_options_set_other(struct gp_options *options, gp_options_other_fn fn, void *user)
{
    options->other = fn;
    options->other_user = user;
}

bool
gp_options_is_set(const struct gp_options *options, const char *name)
{
    return gp_options_count(options, name) > 0;
}

const char *
gp_options_text(const struct gp_options *options, const char *name)
{
    return gp_options_at(options, name, 0);
}

bool
gp_options_flag(const struct gp_options *options, const char *name)
{
    return gp_options_u64(options, name) == 1;
}

uint64_t
gp_options_u64(const struct gp_options *options, const char *name)
{
    const struct gp_option_value *value = value_of(options, name);

    return value != NULL ? value->number : 0;
}

size_t
gp_options_count(const struct gp_options *options, const char *name)
{
    const struct gp_option_value *value = value_of(options, name);

    return value != NULL ? value->count : 0;
}

const char *
gp_options_at(const struct gp_options *options, const char *name, size_t i)
{
    const struct gp_option_value *value = value_of(options, name);

    return value != NULL && i < value->count ? value->items[i] : NULL;
}

const char *
gp_options_where(const struct gp_options *options, const char *name)
{
    const struct gp_option_value *value = value_of(options, name);

    return value != NULL && value->count > 0 ? value->where : "unset";
}
