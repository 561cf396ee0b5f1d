/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound files in memory (see sound.h).  WAV is ours, so that its header is exact
 * to the byte; the rest is libsndfile's.
 */
#include "base/sound.h"

#include <stdint.h>
#include <string.h>

#include <sndfile.h>

#define STEP 4096 /* samples at a time */

static const struct {
    const char *name;
    const char *type;
    int format; /* libsndfile's, 0: none of its business */
} sounds[GB_SOUND_N] = {
    [GB_SOUND_WAV] = {"wav",  "audio/wav",  0                                        },
    [GB_SOUND_PCM] = {"pcm",  "audio/pcm",  0                                        },
    [GB_SOUND_MP3] = {"mp3",  "audio/mpeg", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III},
    [GB_SOUND_OPUS] = {"opus", "audio/ogg",  SF_FORMAT_OGG | SF_FORMAT_OPUS           },
    [GB_SOUND_FLAC] = {"flac", "audio/flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16        },
};

gb_sound_t gb_sound_by_name(const char *name)
{
    int i;

    for (i = 0; i < GB_SOUND_N && strcmp(name, sounds[i].name) != 0; i++) {
    }
    return (gb_sound_t)i;
}

const char *gb_sound_type(gb_sound_t sound)
{
    return sounds[sound].type;
}

/* ---- WAV ---- */

static void little_put(char *to, unsigned value, int bytes)
{
    while (bytes-- > 0) {
        *to++ = (char)(value & 0xff);
        value >>= 8;
    }
}

static unsigned little_get(const char *from, int bytes)
{
    unsigned value = 0;

    while (bytes-- > 0) {
        value = value << 8 | (unsigned char)from[bytes];
    }
    return value;
}

apr_status_t gb_sound_wav_header(gb_buf_t *out, unsigned rate, size_t bytes)
{
    char h[GB_SOUND_WAV_HEADER] = "RIFF....WAVEfmt ";
    int known = bytes <= UINT32_MAX - GB_SOUND_WAV_HEADER;

    little_put(h + 4, known ? (unsigned)bytes + GB_SOUND_WAV_HEADER - 8 : UINT32_MAX, 4);
    little_put(h + 16, 16, 4);
    little_put(h + 20, 1, 2); /* PCM */
    little_put(h + 22, 1, 2); /* one channel */
    little_put(h + 24, rate, 4);
    little_put(h + 28, rate * 2, 4); /* bytes a second */
    little_put(h + 32, 2, 2);        /* bytes a sample */
    little_put(h + 34, 16, 2);       /* bits a sample */
    memcpy(h + 36, "data", 4);
    little_put(h + 40, known ? (unsigned)bytes : UINT32_MAX, 4);
    return gb_buf_append(out, h, sizeof(h));
}

apr_status_t gb_sound_wav_samples(const char *bytes, size_t len, size_t *at, size_t *n,
                                  unsigned *rate)
{
    unsigned found = 0;
    size_t pos = 12, size;

    if (len < 12 || memcmp(bytes, "RIFF", 4) != 0 || memcmp(bytes + 8, "WAVE", 4) != 0) {
        return APR_EINVAL;
    }
    for (; pos + 8 <= len; pos += 8 + size + (size & 1)) {
        size = little_get(bytes + pos + 4, 4);
        if (memcmp(bytes + pos, "data", 4) == 0) {
            if (found == 0) {
                break;
            }
            *at = pos + 8;
            *n = size < len - *at ? size : len - *at; /* who streams does not know the size */
            *rate = found;
            return APR_SUCCESS;
        }
        if (size > len - pos - 8) {
            break;
        }
        if (memcmp(bytes + pos, "fmt ", 4) == 0 && size >= 16) {
            const char *fmt = bytes + pos + 8;

            found = little_get(fmt + 2, 2) == 1 && little_get(fmt + 14, 2) == 16
                        ? little_get(fmt + 4, 4)
                        : 0;
        }
    }
    return APR_EINVAL;
}

/* ---- libsndfile ---- */

/* A file that is a buffer: encoders go back to mend what they wrote first. */
typedef struct file_t {
    gb_buf_t *out;
    size_t begin; /* of the file in out */
    sf_count_t at;
} file_t;

static sf_count_t file_len(void *baton)
{
    const file_t *file = baton;

    return (sf_count_t)(file->out->len - file->begin);
}

static sf_count_t file_seek(sf_count_t offset, int whence, void *baton)
{
    file_t *file = baton;
    sf_count_t from = whence == SEEK_CUR ? file->at : whence == SEEK_END ? file_len(file) : 0;

    if (from + offset < 0 || from + offset > file_len(file)) {
        return -1;
    }
    file->at = from + offset;
    return file->at;
}

static sf_count_t file_tell(void *baton)
{
    return ((const file_t *)baton)->at;
}

static sf_count_t file_read(void *to, sf_count_t n, void *baton)
{
    file_t *file = baton;
    sf_count_t left = file_len(file) - file->at;

    n = n < left ? n : left;
    if (n > 0) {
        memcpy(to, file->out->data + file->begin + file->at, (size_t)n);
        file->at += n;
    }
    return n;
}

static sf_count_t file_write(const void *from, sf_count_t n, void *baton)
{
    file_t *file = baton;
    sf_count_t over = file->at + n - file_len(file);
    sf_count_t inside = over > 0 ? n - over : n;

    if (inside > 0) {
        memcpy(file->out->data + file->begin + file->at, from, (size_t)inside);
    }
    if (over > 0
        && gb_buf_append(file->out, (const char *)from + inside, (size_t)over) != APR_SUCCESS) {
        n = inside;
    }
    file->at += n;
    return n;
}

static int write_all(SNDFILE *snd, const char *samples, size_t n)
{
    short step[STEP];
    size_t i, k;

    for (i = 0; i < n; i += k) {
        for (k = 0; k < STEP && i + k < n; k++) {
            step[k] = (short)little_get(samples + (i + k) * 2, 2);
        }
        if (sf_write_short(snd, step, (sf_count_t)k) != (sf_count_t)k) {
            return 0;
        }
    }
    return 1;
}

static apr_status_t by_library(gb_buf_t *out, int format, const char *samples, size_t n,
                               unsigned rate, const char **why)
{
    SF_VIRTUAL_IO io = {file_len, file_seek, file_read, file_write, file_tell};
    file_t file = {out, out->len, 0};
    SF_INFO info = {0};
    SNDFILE *snd;
    int written;

    info.samplerate = (int)rate;
    info.channels = 1;
    info.format = format;
    snd = sf_open_virtual(&io, SFM_WRITE, &info, &file);
    if (snd == NULL) {
        *why = "the encoder does not take this rate or format";
        return APR_EGENERAL;
    }
    written = write_all(snd, samples, n);
    if (sf_close(snd) != 0 || !written) {
        *why = "the encoder failed";
        return out->rv != APR_SUCCESS ? out->rv : APR_EGENERAL;
    }
    return out->rv;
}

apr_status_t gb_sound_encode(gb_buf_t *out, gb_sound_t sound, const char *samples, size_t len,
                             unsigned rate, const char **why)
{
    len -= len & 1;
    *why = "it is too long";
    if (sounds[sound].format != 0) {
        return by_library(out, sounds[sound].format, samples, len / 2, rate, why);
    }
    if (sound == GB_SOUND_WAV) {
        gb_sound_wav_header(out, rate, len);
    }
    return gb_buf_append(out, samples, len);
}
