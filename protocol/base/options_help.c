/* protocol/base/options_help.c -- --help and the reference page */
#include "protocol/base/options.h"
#include "protocol/base/options_priv.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HELP_COLUMN   26
#define HELP_WIDTH    80
#define COMMENT_WIDTH 96

/* What an option is for, as a text with its 0. */
static enum gp_status
describe(const struct gp_option *opt, bool with_default, struct gp_buf *out)
{
    gp_buf_append_text(out, opt->help);
    if (opt->type == GP_OPT_ENUM)
        gp_buf_printf(out, ": %s", opt->choices);
    if (with_default && opt->def != NULL)
        gp_buf_printf(out, " (%s)", opt->def);
    gp_buf_append(out, "", 1);
    return gp_buf_status(out);
}

/* Break text into lines that begin at margin, where the cursor is now, and with mark before it. */
static void
put_wrapped(struct gp_buf *out, const char *text, const char *mark, size_t margin, size_t width)
{
    size_t column = margin;

    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (column + 1 + n > width && column > margin) {
            gp_buf_printf(out, "\n%-*s", (int)margin, mark);
            column = margin;
        } else if (column > margin) {
            gp_buf_append_text(out, " ");
            column++;
        }
        gp_buf_append(out, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    gp_buf_append_text(out, "\n");
}

static void
put_option(const struct gp_option *opt, struct gp_buf *out)
{
    GP_AUTO_BUF struct gp_buf help = {0};
    size_t before = out->len, column;

    gp_buf_printf(out, "  --%s%s%s", opt->name, opt->arg != NULL ? " " : "",
                  opt->arg != NULL ? opt->arg : "");
    column = out->len - before;
    if (column + 2 > HELP_COLUMN) {
        gp_buf_append_text(out, "\n");
        column = 0;
    }
    gp_buf_printf(out, "%*s", (int)(HELP_COLUMN - column), "");

    if (describe(opt, true, &help) == GP_OK)
        put_wrapped(out, (const char *)help.data, "", HELP_COLUMN, HELP_WIDTH);
}

void
gp_options_help(const struct gp_option_set *set, struct gp_buf *out)
{
    gp_buf_printf(out, "Usage: %s [OPTION]... %s\n\n", set->program, set->summary);
    for (const struct gp_option *opt = set->options; opt->name != NULL; opt++)
        put_option(opt, out);
    gp_buf_printf(out, "  --%-*s%s\n", HELP_COLUMN - 4, "help", "print this and end");
    if (set->env_prefix != NULL)
        gp_buf_printf(out, "\nEach option may also be set as %sNAME in the environment.\n",
                      set->env_prefix);
}

/* "|" would end a table's cell. */
static void
put_cell(struct gp_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            gp_buf_append_text(out, "\\");
        gp_buf_append(out, text, 1);
    }
}

void
gp_options_reference(const struct gp_option_set *set, struct gp_buf *out)
{
    gp_buf_printf(out, "# %s: options\n\n", set->program);
    gp_buf_append_text(out, "Generated from the option table, do not edit. Arguments win over the "
                            "environment, that over the file.\n\n"
                            "| Argument | Environment | File | Default | Meaning |\n"
                            "|---|---|---|---|---|\n");
    for (const struct gp_option *opt = set->options; opt->name != NULL; opt++) {
        GP_AUTO_BUF struct gp_buf help = {0};
        char env[128] = "";

        if (set->env_prefix != NULL && !opt->args_only)
            gp_option_env_name(set, opt, env, sizeof(env));
        gp_buf_printf(out, "| `--%s%s%s` | %s | ", opt->name, opt->arg != NULL ? " " : "",
                      opt->arg != NULL ? opt->arg : "", env);
        if (!opt->args_only)
            gp_buf_printf(out, "[%s] %s", gp_option_section(set, opt), gp_option_key(opt));
        gp_buf_printf(out, " | %s | ", opt->def != NULL ? opt->def : "");
        if (describe(opt, false, &help) == GP_OK)
            put_cell(out, (const char *)help.data);
        gp_buf_append_text(out, " |\n");
    }
}

/* Text of a manual page: nothing of it is a request, no hyphen becomes another sign. */
static void
put_roff(struct gp_buf *out, const char *text)
{
    bool line_start = true;

    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            gp_buf_append_text(out, "\\&");
        if (*text == '\\')
            gp_buf_append_text(out, "\\e");
        else if (*text == '-')
            gp_buf_append_text(out, "\\-");
        else
            gp_buf_append(out, text, 1);
        line_start = *text == '\n';
    }
}

static void
put_man_option(const struct gp_option_set *set, const struct gp_option *opt, struct gp_buf *out)
{
    GP_AUTO_BUF struct gp_buf help = {0};

    gp_buf_append_text(out, ".TP\n.BI \\-\\-");
    put_roff(out, opt->name);
    if (opt->arg != NULL)
        gp_buf_printf(out, " \" %s\"", opt->arg);
    gp_buf_append_text(out, "\n");
    if (describe(opt, true, &help) == GP_OK)
        put_roff(out, (const char *)help.data);
    if (!opt->args_only && set->section != NULL)
        gp_buf_printf(out, ". In a file:\n.B %s\nunder [%s]", gp_option_key(opt),
                      gp_option_section(set, opt));
    gp_buf_append_text(out, ".\n");
}

void
gp_options_man(const struct gp_option_set *set, struct gp_buf *out)
{
    gp_buf_append_text(out, ".SH OPTIONS\n");
    for (const struct gp_option *opt = set->options; opt->name != NULL; opt++)
        if (strstr(opt->help, "(internal)") == NULL)
            put_man_option(set, opt, out);
}

/* In lines that a reader of files takes, each a comment. */
static void
put_comment(struct gp_buf *out, const struct gp_option *opt)
{
    GP_AUTO_BUF struct gp_buf help = {0};

    gp_buf_append_text(out, "# ");
    if (describe(opt, false, &help) == GP_OK)
        put_wrapped(out, (const char *)help.data, "#", 2, COMMENT_WIDTH);
}

/* The sections in the order of the table, each option once. */
void
gp_options_example(const struct gp_option_set *set, struct gp_buf *out)
{
    for (const struct gp_option *first = set->options; first->name != NULL; first++) {
        const char *section = gp_option_section(set, first);
        bool seen = first->args_only;

        for (const struct gp_option *opt = set->options; opt < first && !seen; opt++)
            seen = !opt->args_only && strcmp(gp_option_section(set, opt), section) == 0;
        if (seen)
            continue;
        gp_buf_printf(out, "[%s]\n", section);
        for (const struct gp_option *opt = first; opt->name != NULL; opt++) {
            if (opt->args_only || strcmp(gp_option_section(set, opt), section) != 0)
                continue;
            put_comment(out, opt);
            gp_buf_printf(out, "#%s = %s\n\n", gp_option_key(opt),
                          opt->def != NULL ? opt->def : "");
        }
    }
}
