/* protocol/directory/model.c */
#include "protocol/directory/model.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* A word up to a blank, a hyphen or a bracket, in small letters. */
static size_t
word_take(const char **at, char *out, size_t bytes)
{
    size_t n = 0;

    while (**at != '\0' && strchr(" -([/_", **at) != NULL)
        (*at)++;
    for (; **at != '\0' && strchr(" -([/_", **at) == NULL; (*at)++)
        if (n + 1 < bytes && isalnum((unsigned char)**at))
            out[n++] = (char)tolower((unsigned char)**at);
    out[n] = '\0';
    return n;
}

/* "h200", "l40s", "v100", not "sxm4" or "80gb". */
static bool
is_model(const char *word)
{
    size_t letters = strspn(word, "abcdefghijklmnopqrstuvwxyz");
    size_t digits = strspn(word + letters, "0123456789");

    return letters >= 1 && letters <= 2 && digits >= 1;
}

static bool
by_rule(const char *name, const char *const *rules, char out[DIR_MODEL_BYTES])
{
    for (; rules != NULL && *rules != NULL; rules++) {
        const char *equals = strrchr(*rules, '=');
        char pattern[256];

        if (equals == NULL || (size_t)(equals - *rules) >= sizeof(pattern))
            continue;
        snprintf(pattern, sizeof(pattern), "%.*s", (int)(equals - *rules), *rules);
        if (fnmatch(pattern, name, FNM_CASEFOLD) != 0)
            continue;
        snprintf(out, DIR_MODEL_BYTES, "%.31s", equals + 1);
        return true;
    }
    return false;
}

void
dir_model_key(const char *name, const char *const *rules, char out[DIR_MODEL_BYTES])
{
    char word[DIR_MODEL_BYTES];
    const char *family = "";
    const char *at = name;
    size_t n = 0;

    if (by_rule(name, rules, out))
        return;
    while (word_take(&at, word, sizeof(word)) > 0) {
        if (strcmp(word, "software") == 0) {
            snprintf(out, DIR_MODEL_BYTES, "soft");
            return;
        }
        if (strcmp(word, "rtx") == 0 || strcmp(word, "gtx") == 0) {
            family = word[0] == 'r' ? "rtx" : "gtx";
        } else if (is_model(word) || (family[0] != '\0' && isdigit((unsigned char)word[0]))) {
            snprintf(out, DIR_MODEL_BYTES, "%s%.24s", family, word);
            return;
        }
    }
    for (; *name != '\0' && n + 1 < DIR_MODEL_BYTES; name++)
        if (isalnum((unsigned char)*name))
            out[n++] = (char)tolower((unsigned char)*name);
    out[n] = '\0';
}

bool
dir_model_is(const char *key, const char *wanted)
{
    return fnmatch(wanted, key, FNM_CASEFOLD) == 0;
}
