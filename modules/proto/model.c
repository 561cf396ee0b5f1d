/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model names.  The words of a name are compared whole ("flash-lite" is flash
 * and lite), numbers are read as numbers: gemini-3.10 is newer than gemini-3.9,
 * and gemini-4-argon than both.
 */
#include "proto/model.h"

#include <string.h>

#define NAME_MAX_BYTES 90

typedef struct word_t {
    const char *word;
    size_t offset;
} word_t;

#define WORD(text, member)                                                                         \
    {                                                                                              \
        text, offsetof(gb_model_t, member)                                                         \
    }

/* What a word anywhere in the name says. */
static const word_t words[] = {
    WORD("image", is_image),         WORD("banana", is_image), WORD("tts", is_tts),
    WORD("embedding", is_embedding), WORD("pro", is_pro),      WORD("flash", is_flash),
    WORD("lite", is_lite),           WORD("latest", is_alias), WORD("transcribe", is_transcribe),
};

/* What the first word says. */
static const word_t families[] = {
    WORD("gemini", is_gemini),
    WORD("gemma", is_gemma),
    WORD("imagen", is_imagen),
};

static void note_word(gb_model_t *model, const word_t *table, size_t n, const char *word,
                      size_t len)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (strlen(table[i].word) == len && memcmp(table[i].word, word, len) == 0) {
            *(int *)((char *)model + table[i].offset) = 1;
        }
    }
}

static const char *read_number(const char *p, int *number)
{
    for (*number = 0; *p >= '0' && *p <= '9'; p++) {
        *number = *number < 100000 ? *number * 10 + (*p - '0') : *number;
    }
    return p;
}

/* "3", "3.5", "3n": the generation stands right behind the family. */
static void read_generation(gb_model_t *model, const char *p)
{
    p = read_number(p, &model->major);
    if (*p == '.') {
        read_number(p + 1, &model->minor);
    }
}

void gb_model_parse(gb_model_t *model, const char *name)
{
    size_t n = 0;

    memset(model, 0, sizeof(*model));
    if (strncmp(name, "models/", 7) == 0 || strncmp(name, "google/", 7) == 0) {
        name += 7;
    }
    for (; *name != '\0'; n++) {
        size_t len = strcspn(name, "-");

        if (n == 0) {
            note_word(model, families, sizeof(families) / sizeof(families[0]), name, len);
        }
        else if (n == 1 && (model->is_gemini || model->is_gemma)) {
            read_generation(model, name);
        }
        note_word(model, words, sizeof(words) / sizeof(words[0]), name, len);
        name += len + (name[len] == '-');
    }
}

int gb_model_name_ok(const char *name, size_t len)
{
    size_t i;

    if (len == 0 || len > NAME_MAX_BYTES || name[0] == '/' || name[len - 1] == '/') {
        return 0;
    }
    for (i = 0; i < len; i++) {
        char c = name[i];
        int is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!is_word && (c == '\0' || strchr("._:@/-", c) == NULL)) {
            return 0;
        }
        if (c == '.' && i > 0 && name[i - 1] == '.') {
            return 0;
        }
    }
    return 1;
}

int gb_model_at_least(const gb_model_t *model, int major, int minor)
{
    if (!model->is_gemini) {
        return 0;
    }
    if (model->major == 0) {
        return 1;
    }
    return model->major > major || (model->major == major && model->minor >= minor);
}

int gb_model_drops_sampling(const gb_model_t *model)
{
    return gb_model_at_least(model, 3, 6)
           || (gb_model_at_least(model, 3, 5) && model->is_flash && model->is_lite);
}

int gb_model_takes_candidate_count(const gb_model_t *model)
{
    return model->is_gemini && !gb_model_at_least(model, 3, 0) && !model->is_image
           && !model->is_tts;
}

int gb_model_takes_thinking_level(const gb_model_t *model)
{
    return gb_model_at_least(model, 3, 0);
}

int gb_model_prefers_stream(const gb_model_t *model)
{
    return model->is_gemini && model->major >= 4;
}
