/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound files: headers to the byte, what is found in files of others, and what
 * the encoders make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/sound.h"

#define FMT "fmt \x10\0\0\0\1\0\1\0\xc0\x5d\0\0\x80\xbb\0\0\2\0\x10\0"

static void test_header(void **state)
{
    static const char want[] = "RIFF\x28\0\0\0WAVE" FMT "data\4\0\0\0";
    gb_buf_t out;

    (void)state;
    gb_buf_init(&out, 1000);
    assert_int_equal(gb_sound_wav_header(&out, 24000, 4), APR_SUCCESS);
    assert_int_equal(out.len, GB_SOUND_WAV_HEADER);
    assert_memory_equal(out.data, want, GB_SOUND_WAV_HEADER);
    gb_buf_reset(&out);
    gb_sound_wav_header(&out, 24000, SIZE_MAX);
    assert_memory_equal(out.data + 4, "\xff\xff\xff\xff", 4);
    assert_memory_equal(out.data + 40, "\xff\xff\xff\xff", 4);
    gb_buf_free(&out);
}

typedef struct case_t {
    const char *bytes;
    size_t len;
    size_t at, n; /* n 0: refused */
} case_t;

#define BYTES(text) text, sizeof(text) - 1

static const case_t cases[] = {
    {BYTES("RIFF\x28\0\0\0WAVE" FMT "data\4\0\0\0abcd"),                                 44, 4},
    {BYTES("RIFF\x28\0\0\0WAVE" FMT "data\4\0\0\0abcdLIST"),                             44, 4},
    {BYTES("RIFF\xff\xff\xff\xffWAVE" FMT "data\xff\xff\xff\xff"
           "abcdef"),
     44,                                                                                     6},
    {BYTES("RIFF\x28\0\0\0WAVELIST\3\0\0\0abc\0" FMT "data\2\0\0\0ab"),                  56, 2},
    {BYTES("RIFF\x28\0\0\0WAVE" FMT "LIST\xff\xff\xff\x7f"
           "data\4\0\0\0abcd"),
     0,                                                                                      0},
    {BYTES("RIFF\x28\0\0\0WAVEdata\4\0\0\0abcd"),                                        0,  0},
    {BYTES("RIFF\x28\0\0\0WAVEfmt "
           "\x10\0\0\0\1\0\2\0\xc0\x5d\0\0\x80\xbb\0\0\2\0\x10\0data\4\0\0\0abcd"),
     0,                                                                                      0}, /* two channels */
    {BYTES("RIFF\x28\0\0\0WAVE" FMT),                                                    0,  0},
    {BYTES("RIFF\x28\0\0\0AVI "),                                                        0,  0},
    {BYTES("RIFF"),                                                                      0,  0},
    {BYTES(""),                                                                          0,  0},
};

static void test_samples(void **state)
{
    size_t i, at, n;
    unsigned rate;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const case_t *c = &cases[i];
        char *bytes = malloc(c->len + 1); /* so that a sanitizer sees where it ends */
        apr_status_t rv;

        memcpy(bytes, c->bytes, c->len);
        at = n = 0;
        rv = gb_sound_wav_samples(bytes, c->len, &at, &n, &rate);
        assert_int_equal(rv, c->n > 0 ? APR_SUCCESS : APR_EINVAL);
        assert_int_equal(at, c->at);
        assert_int_equal(n, c->n);
        assert_true(c->n == 0 || rate == 24000);
        free(bytes);
    }
}

static void test_encode(void **state)
{
    static const struct {
        const char *name;
        const char *magic;
    } files[] = {
        {"wav",  "RIFF"},
        {"pcm",  ""    },
        {"mp3",  ""    },
        {"opus", "OggS"},
        {"flac", "fLaC"},
    };
    const char *why;
    char *samples = calloc(1, 48001);
    gb_buf_t out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        gb_sound_t sound = gb_sound_by_name(files[i].name);

        assert_int_equal(sound, i);
        gb_buf_init(&out, GB_BUF_MAX_ANSWER);
        gb_buf_puts(&out, "before"); /* what stands there stays */
        assert_int_equal(gb_sound_encode(&out, sound, samples, 48001, 24000, &why), APR_SUCCESS);
        assert_memory_equal(out.data, "before", 6);
        assert_memory_equal(out.data + 6, files[i].magic, strlen(files[i].magic));
        assert_true(out.len > 100 && out.len <= 6 + 44 + 48000);
        gb_buf_free(&out);
    }
    gb_buf_init(&out, GB_BUF_MAX_ANSWER);
    assert_int_equal(gb_sound_encode(&out, GB_SOUND_OPUS, samples, 2000, 12345, &why),
                     APR_EGENERAL);
    assert_non_null(why);
    assert_int_equal(gb_sound_encode(&out, GB_SOUND_FLAC, NULL, 0, 24000, &why), APR_SUCCESS);
    gb_buf_free(&out);
    gb_buf_init(&out, 100); /* no room */
    assert_int_not_equal(gb_sound_encode(&out, GB_SOUND_MP3, samples, 48000, 24000, &why),
                         APR_SUCCESS);
    gb_buf_free(&out);
    assert_int_equal(gb_sound_by_name("aac"), GB_SOUND_N);
    free(samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_encode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
