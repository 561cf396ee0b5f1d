/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound files of 16-bit samples in one channel, which is what Gemini's speech
 * models make: WAV, bare samples, and by libsndfile MP3, Ogg Opus and FLAC.
 * Everything happens in memory.  Encoding takes its time (some milliseconds a
 * second of sound): not for the engine's thread.
 */
#ifndef GB_SOUND_H
#define GB_SOUND_H

#include "base/buf.h"

typedef enum {
    GB_SOUND_WAV,
    GB_SOUND_PCM,
    GB_SOUND_MP3,
    GB_SOUND_OPUS,
    GB_SOUND_FLAC,
    GB_SOUND_N
} gb_sound_t;

#define GB_SOUND_WAV_HEADER 44

/* "wav"; GB_SOUND_N when it is none of them. */
gb_sound_t gb_sound_by_name(const char *name);
/* Content-Type of its bytes. */
const char *gb_sound_type(gb_sound_t sound);

/* The header of a WAV file with so many bytes of samples; SIZE_MAX: nobody knows yet how many. */
apr_status_t gb_sound_wav_header(gb_buf_t *out, unsigned rate, size_t bytes);

/*
 * Where the samples of a WAV file stand.  APR_EINVAL: it is no WAV file, or one
 * whose samples are not 16 bit in one channel.
 */
apr_status_t gb_sound_wav_samples(const char *bytes, size_t len, size_t *at, size_t *n,
                                  unsigned *rate);

/*
 * Samples (little endian) as a file.  APR_EGENERAL: the encoder refuses them, *why is
 * its word (static).
 */
apr_status_t gb_sound_encode(gb_buf_t *out, gb_sound_t sound, const char *samples, size_t len,
                             unsigned rate, const char **why);

#endif
