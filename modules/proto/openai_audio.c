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

#include "base/base64.h"
#include "base/sound.h"

#define RATE_DEFAULT 24000

void gb_openai_base64_get(gb_buf_t *out, const char *text, size_t len)
{
    unsigned v = 0;
    int bits = 0, digit;
    size_t i;

    gb_buf_reserve(out, len / 4 * 3 + 3);
    for (i = 0; i < len; i++) {
        if ((digit = gb_base64_digit(text[i])) < 0) {
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

/* "audio/L16;codec=pcm;rate=24000" */
unsigned gb_openai_audio_rate(gb_span_t type)
{
    const char *at = memmem(type.p, type.len, "rate=", 5);
    long rate = at != NULL ? strtol(at + 5, NULL, 10) : 0;

    return rate > 0 && rate < 1000000 ? (unsigned)rate : RATE_DEFAULT;
}

static int is_wav(gb_span_t data)
{
    return data.len > 6 && memcmp(data.p + 1, "UklGR", 5) == 0; /* "RIFF" in base64 */
}

int gb_openai_audio_is_raw(gb_span_t type)
{
    return type.len > 9
           && (strncasecmp(type.p + 1, "audio/l16", 9) == 0
               || strncasecmp(type.p + 1, "audio/pcm", 9) == 0);
}

void gb_openai_audio_samples(gb_buf_t *out, const gb_openai_sound_t *piece, unsigned *rate)
{
    gb_buf_t bytes;
    size_t at = 0, n;

    gb_buf_init(&bytes, GB_BUF_MAX_ANSWER);
    gb_openai_base64_get(&bytes, piece->data.p + 1, piece->data.len - 2);
    n = bytes.len;
    *rate = gb_openai_audio_rate(piece->type);
    gb_sound_wav_samples(bytes.data, bytes.len, &at, &n, rate); /* else all that there is */
    gb_buf_append(out, bytes.data + at, n);
    gb_buf_free(&bytes);
}

/* Whether the piece is what is wanted as it came; what is neither samples nor WAV always is. */
static int fits(const gb_openai_sound_t *piece, int wants_wav)
{
    return wants_wav ? is_wav(piece->data) || !gb_openai_audio_is_raw(piece->type)
                     : !is_wav(piece->data);
}

void gb_openai_audio_put(gb_buf_t *out, const apr_array_header_t *pieces, int wants_wav)
{
    const gb_openai_sound_t *first = (const gb_openai_sound_t *)pieces->elts;
    unsigned rate = 0, other;
    gb_buf_t samples, made;
    int i;

    if (pieces->nelts == 1 && fits(first, wants_wav)) {
        gb_json_put_span(out, first->data);
        return;
    }
    gb_buf_init(&samples, GB_BUF_MAX_ANSWER);
    gb_buf_init(&made, GB_BUF_MAX_ANSWER);
    for (i = 0; i < pieces->nelts; i++) {
        gb_openai_audio_samples(&samples, &first[i], i == 0 ? &rate : &other);
    }
    if (wants_wav && (is_wav(first->data) || gb_openai_audio_is_raw(first->type))) {
        gb_sound_wav_header(&made, rate, samples.len);
    }
    gb_buf_append(&made, samples.data, samples.len);
    gb_buf_putc(out, '"');
    gb_openai_base64_put(out, made.data, made.len);
    gb_buf_putc(out, '"');
    gb_buf_free(&samples);
    gb_buf_free(&made);
}
