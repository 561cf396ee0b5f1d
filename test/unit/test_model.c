/* SPDX-License-Identifier: Apache-2.0 */
/* What model names tell. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "proto/model.h"

/* Flags, in this order: Gemini, geMma, Alias, Image, Tts, Embedding, imageN, Pro, Flash, Lite;
 * then what it takes: Drops sampling, Candidate count, thinking Level, Stream preferred. */
static const struct {
    const char *name;
    int major, minor;
    const char *flags;
    const char *takes;
} models[] = {
    {"gemini-2.5-flash",            2,      5,  "GF",   "C"  },
    {"gemini-2.5-flash-lite",       2,      5,  "GFL",  "C"  },
    {"gemini-2.5-pro",              2,      5,  "GP",   "C"  },
    {"models/gemini-2.5-pro",       2,      5,  "GP",   "C"  },
    {"google/gemini-2.5-pro",       2,      5,  "GP",   "C"  },
    {"gemini-2.0-flash-exp",        2,      0,  "GF",   "C"  },
    {"gemini-2.5-flash-image",      2,      5,  "GIF",  ""   },
    {"gemini-2.5-pro-preview-tts",  2,      5,  "GTP",  ""   },
    {"gemini-3-pro-preview",        3,      0,  "GP",   "L"  },
    {"gemini-3-flash-preview",      3,      0,  "GF",   "L"  },
    {"gemini-3.1-flash-lite-image", 3,      1,  "GIFL", "L"  },
    {"gemini-3.5-flash",            3,      5,  "GF",   "L"  },
    {"gemini-3.5-flash-lite",       3,      5,  "GFL",  "DL" },
    {"gemini-3.5-transcribe",       3,      5,  "G",    "L"  },
    {"gemini-3.6-flash",            3,      6,  "GF",   "DL" },
    {"gemini-3.8-flash-tts",        3,      8,  "GTF",  "DL" },
    {"gemini-3.10-flash",           3,      10, "GF",   "DL" },
    {"gemini-4-argon",              4,      0,  "G",    "DLS"},
    {"gemini-4.1-flash",            4,      1,  "GF",   "DLS"},
    {"gemini-12-x",                 12,     0,  "G",    "DLS"},
    {"gemini-flash-latest",         0,      0,  "GAF",  "DL" },
    {"gemini-pro-latest",           0,      0,  "GAP",  "DL" },
    {"gemini-nano-banana-2.1",      0,      0,  "GI",   "DL" },
    {"gemini-embedding-001",        0,      0,  "GE",   "DL" },
    {"text-embedding-004",          0,      0,  "E",    ""   },
    {"gemma-3-27b-it",              3,      0,  "M",    ""   },
    {"gemma-3n-e4b-it",             3,      0,  "M",    ""   },
    {"imagen-4.0-generate-001",     0,      0,  "N",    ""   },
    {"gpt-4o",                      0,      0,  "",     ""   },
    {"geminix-3",                   0,      0,  "",     ""   },
    {"gemini-99999999999999999999", 999999, 0,  "G",    "DLS"},
    {"gemini",                      0,      0,  "G",    "DL" },
    {"",                            0,      0,  "",     ""   },
    {"-",                           0,      0,  "",     ""   },
};

static void put(char *text, char letter, int flag)
{
    size_t len = strlen(text);

    if (flag) {
        text[len] = letter;
        text[len + 1] = '\0';
    }
}

static void names_tell(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        char flags[16] = "";
        char takes[16] = "";
        gb_model_t m;

        gb_model_parse(&m, models[i].name);
        put(flags, 'G', m.is_gemini);
        put(flags, 'M', m.is_gemma);
        put(flags, 'A', m.is_alias);
        put(flags, 'I', m.is_image);
        put(flags, 'T', m.is_tts);
        put(flags, 'E', m.is_embedding);
        put(flags, 'N', m.is_imagen);
        put(flags, 'P', m.is_pro);
        put(flags, 'F', m.is_flash);
        put(flags, 'L', m.is_lite);
        put(takes, 'D', gb_model_drops_sampling(&m));
        put(takes, 'C', gb_model_takes_candidate_count(&m));
        put(takes, 'L', gb_model_takes_thinking_level(&m));
        put(takes, 'S', gb_model_prefers_stream(&m));
        if (m.major != models[i].major || m.minor != models[i].minor
            || strcmp(flags, models[i].flags) != 0 || strcmp(takes, models[i].takes) != 0) {
            print_error("%s: %d.%d %s %s\n", models[i].name, m.major, m.minor, flags, takes);
            fail();
        }
    }
}

static void names_in_paths(void **state)
{
    static const char *const good[] = {"gemini-2.5-flash", "tunedModels/x-1", "a", "a.b:c@d_e",
                                       "models/gemini-2.5-pro"};
    static const char *const bad[] = {"",     "a b", "../x", "a..b", "a?b",  "a#b",
                                      "a%2f", "/a",  "a/",   "a\\b", "a\nb", "\xc3\xa4",
                                      "a&b",  "a=b", "a+b",  "a;b"};
    char longest[92];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(gb_model_name_ok(good[i], strlen(good[i])));
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(gb_model_name_ok(bad[i], strlen(bad[i])));
    }
    memset(longest, 'm', sizeof(longest));
    assert_true(gb_model_name_ok(longest, 90));
    assert_false(gb_model_name_ok(longest, 91));
    assert_false(gb_model_name_ok("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_tell),
        cmocka_unit_test(names_in_paths),
    };

    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
