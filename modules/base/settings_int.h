/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the settings unit share: one text into one member.  Not for
 * others; they call settings.h.
 */
#ifndef GB_SETTINGS_INT_H
#define GB_SETTINGS_INT_H

#include "base/settings.h"

/* The row's member in settings, typed by the row. */
#define GB_MEMBER(settings, row)       ((void *)((char *)(settings) + (row)->offset))
#define GB_CONST_MEMBER(settings, row) ((const void *)((const char *)(settings) + (row)->offset))

/* Parses text by the row's type into member, which is touched on success only.  On APR_EINVAL *why
 * is a sentence that names the setting and what it takes, and never holds a secret. */
apr_status_t gb_setting_parse(void *member, const gb_setting_t *row, const char *text,
                              const char **why, apr_pool_t *p);

#endif
