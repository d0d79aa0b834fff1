/* protocol/base/options_load.c -- arguments, environment and INI files */
#include "protocol/base/log.h"
#include "protocol/base/options.h"
#include "protocol/base/options_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#define FILE_BYTES_MAX (1u << 20)

void
gp_option_env_name(const struct gp_option_set *set, const struct gp_option *opt, char *out,
                   size_t out_bytes)
{
    size_t used = (size_t)snprintf(out, out_bytes, "%s", set->env_prefix);

    for (const char *p = opt->name; *p != '\0' && used + 1 < out_bytes; p++, used++)
        out[used] = *p == '-' ? '_' : (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
    out[used < out_bytes ? used : out_bytes - 1] = '\0';
}

enum gp_status
gp_options_load_env(struct gp_options *options)
{
    const struct gp_option *opt = options->set->options;
    enum gp_status status;

    for (; options->set->env_prefix != NULL && opt->name != NULL; opt++) {
        char name[128];
        const char *text;

        gp_option_env_name(options->set, opt, name, sizeof(name));
        text = opt->args_only ? NULL : getenv(name);
        if (text == NULL || text[0] == '\0')
            continue;
        status = gp_options_set_value(options, opt, GP_OPTION_ENV, text, name);
        if (status != GP_OK)
            return status;
    }
    return GP_OK;
}

/* Finds "name" or, for a flag, "no-name"; len is the name's length in word. */
static const struct gp_option *
find_arg(const struct gp_options *options, const char *word, size_t len, bool *negated_p)
{
    const struct gp_option *opt = options->set->options;

    for (; opt->name != NULL; opt++) {
        *negated_p = false;
        if (strlen(opt->name) == len && strncmp(opt->name, word, len) == 0)
            return opt;
        *negated_p = true;
        if (opt->type == GP_OPT_FLAG && len > 3 && strncmp(word, "no-", 3) == 0 &&
            strlen(opt->name) == len - 3 && strncmp(opt->name, word + 3, len - 3) == 0)
            return opt;
    }
    return NULL;
}

/* argv[*i] is an option; moves *i to the last word it used. */
static enum gp_status
take_arg(struct gp_options *options, int argc, char *const argv[], int *i)
{
    const char *word = argv[*i] + 2, *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const char *value = equals != NULL ? equals + 1 : NULL;
    const struct gp_option *opt;
    char where[128];
    bool negated;

    opt = find_arg(options, word, len, &negated);
    if (opt == NULL) {
        log_error("%s: unknown option %s; --help lists them", options->set->program, argv[*i]);
        return GP_ERR_INVALID;
    }
    if (opt->type == GP_OPT_FLAG) {
        if (value != NULL && negated) {
            log_error("%s: %s takes no value", options->set->program, argv[*i]);
            return GP_ERR_INVALID;
        }
        if (value == NULL)
            value = negated ? "no" : "yes";
    } else if (value == NULL) {
        if (*i + 1 >= argc) {
            log_error("%s: %s needs %s", options->set->program, argv[*i], opt->arg);
            return GP_ERR_INVALID;
        }
        value = argv[++*i];
    }
    snprintf(where, sizeof(where), "--%s", opt->name);
    return gp_options_set_value(options, opt, GP_OPTION_ARGS, value, where);
}

enum gp_status
gp_options_load_args(struct gp_options *options, int argc, char *const argv[], int *next_p)
{
    enum gp_status status;
    int i;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return GP_ERR_AGAIN;
        if (argv[i][0] != '-' || argv[i][1] == '\0')
            break;
        if (argv[i][1] != '-') {
            log_error("%s: unknown option %s; --help lists them", options->set->program, argv[i]);
            return GP_ERR_INVALID;
        }
        status = take_arg(options, argc, argv, &i);
        if (status != GP_OK)
            return status;
    }
    *next_p = i < argc ? i : argc;
    return GP_OK;
}

/* inih takes a line at a time from here, so that we know its number and that it is whole. */
struct ini_source {
    struct gp_options *options;
    const char *name;
    const char *at;
    unsigned line;
    bool too_long;
    enum gp_status status;
};

static char *
ini_read_line(char *line, int size, void *user)
{
    struct ini_source *src = user;
    size_t n = strcspn(src->at, "\n");

    if (src->at[0] == '\0' || src->status != GP_OK || src->too_long)
        return NULL;
    src->line++;
    if (n + 1 >= (size_t)size) {
        src->too_long = true;
        return NULL;
    }
    memcpy(line, src->at, n);
    line[n] = '\0';
    src->at += n + (src->at[n] == '\n' ? 1 : 0);
    return line;
}

static int
ini_take(void *user, const char *section, const char *key, const char *value)
{
    struct ini_source *src = user;
    const struct gp_option_set *set = src->options->set;
    const struct gp_option *opt = set->options;
    char where[128];

    snprintf(where, sizeof(where), "%s:%u", src->name, src->line);
    for (; opt->name != NULL; opt++)
        if (!opt->args_only && strcmp(section, gp_option_section(set, opt)) == 0 &&
            strcmp(key, gp_option_key(opt)) == 0)
            break;

    if (opt->name != NULL)
        src->status = gp_options_set_value(src->options, opt, GP_OPTION_FILE, value, where);
    else if (src->options->other != NULL)
        src->status = src->options->other(src->options->other_user, section, key, value, where);
    else
        src->status = GP_ERR_NOT_FOUND;

    if (src->status == GP_ERR_NOT_FOUND) {
        log_error("%s: unknown setting \"%s\" in section [%s]", where, key, section);
        src->status = GP_ERR_INVALID;
    }
    return src->status == GP_OK;
}

enum gp_status
gp_options_load_text(struct gp_options *options, const char *name, const char *text)
{
    struct ini_source src = {.options = options, .name = name, .at = text};
    int bad_line = ini_parse_stream(ini_read_line, &src, ini_take, &src);

    if (src.status != GP_OK)
        return src.status;
    if (src.too_long) {
        log_error("%s:%u: line too long, break it: further lines that begin with a blank add to "
                  "a list",
                  name, src.line);
        return GP_ERR_INVALID;
    }
    if (bad_line != 0) {
        log_error("%s:%d: neither [section] nor key = value", name, bad_line);
        return GP_ERR_INVALID;
    }
    return GP_OK;
}

static enum gp_status
read_file(const char *path, struct gp_buf *out)
{
    GP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return GP_ERR_NOT_FOUND;
    while (fd >= 0) {
        uint8_t *to = gp_buf_reserve(out, 4096);
        ssize_t got;

        if (to == NULL) {
            log_error("%s: cannot read it into memory: %s", path, gp_status_text(out->status));
            return out->status;
        }
        got = read(fd, to, 4096);
        if (got == 0) {
            gp_buf_append(out, "", 1);
            return gp_buf_status(out);
        }
        if (got < 0 && errno != EINTR)
            break;
        if (got > 0)
            out->len += (size_t)got;
    }
    log_error("%s: cannot read it: %m", path);
    return GP_ERR_IO;
}

enum gp_status
gp_options_load_file(struct gp_options *options, const char *path)
{
    GP_AUTO_BUF struct gp_buf text;
    enum gp_status status;

    gp_buf_init(&text, FILE_BYTES_MAX);
    status = read_file(path, &text);
    if (status != GP_OK)
        return status;
    if (memchr(text.data, '\0', text.len - 1) != NULL) {
        log_error("%s: not a text file", path);
        return GP_ERR_INVALID;
    }
    return gp_options_load_text(options, path, (const char *)text.data);
}
