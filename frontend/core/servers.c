/* frontend/core/servers.c */
#include "frontend/core/servers.h"

#include "protocol/base/log.h"
#include "protocol/base/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 1024
#define BLANKS     " \t\r\n"

static bool
word_take(char *word, struct fe_server_line *line)
{
    char *value = strchr(word, '=');

    if (value == NULL)
        return false;
    *value++ = '\0';
    if (value[0] == '\0' || strlen(value) >= PLACE_TEXT)
        return false;
    if (strcmp(word, "region") == 0)
        snprintf(line->region, sizeof(line->region), "%s", value);
    else if (strcmp(word, "zone") == 0)
        snprintf(line->zone, sizeof(line->zone), "%s", value);
    else if (strcmp(word, "cost") == 0 && strcmp(value, "cloud") == 0)
        line->cost = PLACE_CLOUD;
    else
        return strcmp(word, "cost") == 0 && strcmp(value, "onprem") == 0;
    return true;
}

static bool
line_take(char *text, struct fe_server_line *line)
{
    struct gp_url url;
    char *rest = NULL, *word = strtok_r(text, BLANKS, &rest);
    bool ok = strlen(word) < sizeof(line->url) && gp_url_parse(word, &url) == GP_OK;

    memset(line, 0, sizeof(*line));
    line->cost = PLACE_ONPREM;
    if (ok)
        snprintf(line->url, sizeof(line->url), "%s", word);
    while (ok && (word = strtok_r(NULL, BLANKS, &rest)) != NULL && word[0] != '#')
        ok = word_take(word, line);
    return ok;
}

enum gp_status
fe_servers_read(const char *path, struct fe_server_line *lines, size_t max, size_t *count_p)
{
    static const char malformed[] = "not \"URL [region=NAME] [zone=NAME] [cost=onprem|cloud]\"";
    FILE *file = fopen(path, "re");
    const char *wrong = NULL;
    char text[LINE_BYTES];
    size_t count = 0;

    if (file == NULL) {
        log_error("servers-file %s: %m", path);
        return GP_ERR_INVALID;
    }
    for (unsigned n = 1; wrong == NULL && fgets(text, sizeof(text), file) != NULL; n++) {
        size_t blank = strspn(text, BLANKS);

        if (strlen(text) == sizeof(text) - 1 && text[sizeof(text) - 2] != '\n')
            wrong = malformed;
        else if (text[blank] == '\0' || text[blank] == '#')
            continue;
        else if (count == max)
            wrong = "more servers than a client may have";
        else if (!line_take(text, &lines[count++]))
            wrong = malformed;
        if (wrong != NULL)
            log_error("%s:%u: %s", path, n, wrong);
    }
    fclose(file);
    if (wrong != NULL)
        return GP_ERR_INVALID;
    *count_p = count;
    return GP_OK;
}
