/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spoken answers: Gemini sends a WAV file or bare samples (whatever the type
 * says), OpenAI's clients named what they want.  Nothing is transcoded, only
 * the 44 bytes in front are put on or taken off.
 */
#include "proto/openai_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WAV_HEADER   44
#define RATE_DEFAULT 24000

static int digit_value(unsigned char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}

static void base64_decode(gb_buf_t *out, const char *text, size_t len)
{
    unsigned v = 0;
    int bits = 0, digit;
    size_t i;

    gb_buf_reserve(out, len / 4 * 3 + 3);
    for (i = 0; i < len; i++) {
        if ((digit = digit_value((unsigned char)text[i])) < 0) {
            continue;
        }
        v = v << 6 | (unsigned)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            gb_buf_putc(out, (char)(v >> bits & 0xff));
        }
    }
}

static void little(unsigned char *to, unsigned value, int bytes)
{
    while (bytes-- > 0) {
        *to++ = value & 0xff;
        value >>= 8;
    }
}

/* 16 bit, mono: what Gemini's speech models make. */
static void header_put(gb_buf_t *out, unsigned rate, size_t samples)
{
    unsigned char h[WAV_HEADER] = "RIFF....WAVEfmt ";

    little(h + 4, (unsigned)samples + WAV_HEADER - 8, 4);
    little(h + 16, 16, 4);
    little(h + 20, 1, 2);
    little(h + 22, 1, 2);
    little(h + 24, rate, 4);
    little(h + 28, rate * 2, 4);
    little(h + 32, 2, 2);
    little(h + 34, 16, 2);
    memcpy(h + 36, "data", 4);
    little(h + 40, (unsigned)samples, 4);
    gb_buf_append(out, h, sizeof(h));
}

/* "audio/L16;codec=pcm;rate=24000" */
static unsigned rate_of(gb_span_t type)
{
    const char *at = memmem(type.p, type.len, "rate=", 5);
    long rate = at != NULL ? strtol(at + 5, NULL, 10) : 0;

    return rate > 0 && rate < 1000000 ? (unsigned)rate : RATE_DEFAULT;
}

static int is_wav(gb_span_t data)
{
    return data.len > 6 && memcmp(data.p + 1, "UklGR", 5) == 0; /* "RIFF" in base64 */
}

/* Samples begin after the chunk "data"; 0 when there is none near the front. */
static size_t samples_at(const gb_buf_t *wav)
{
    const char *at = memmem(wav->data, wav->len < 512 ? wav->len : 512, "data", 4);

    return at != NULL && (size_t)(at - wav->data) + 8 <= wav->len ? (size_t)(at - wav->data) + 8
                                                                  : 0;
}

static int is_raw(gb_span_t type)
{
    return type.len > 9
           && (strncasecmp(type.p + 1, "audio/l16", 9) == 0
               || strncasecmp(type.p + 1, "audio/pcm", 9) == 0);
}

void gb_openai_audio_put(gb_buf_t *out, gb_span_t type, gb_span_t data, int wants_wav)
{
    gb_buf_t bytes, made;
    size_t skip = 0;

    if (wants_wav ? is_wav(data) || !is_raw(type) : !is_wav(data)) {
        gb_json_put_span(out, data);
        return;
    }
    gb_buf_init(&bytes, GB_BUF_MAX_ANSWER);
    gb_buf_init(&made, GB_BUF_MAX_ANSWER);
    base64_decode(&bytes, data.p + 1, data.len - 2);
    if (wants_wav) {
        header_put(&made, rate_of(type), bytes.len);
    }
    else {
        skip = samples_at(&bytes);
    }
    gb_buf_append(&made, bytes.data + skip, bytes.len - skip);
    gb_buf_putc(out, '"');
    gb_openai_base64_put(out, made.data, made.len);
    gb_buf_putc(out, '"');
    gb_buf_free(&bytes);
    gb_buf_free(&made);
}
