/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator's settings and a model's name add to a request, whatever
 * protocol the client speaks: aliases, filters, the suffixes of variants,
 * Google's tools, thinking.  The surfaces write it down, each in its own way.
 */
#ifndef GB_FEATURES_H
#define GB_FEATURES_H

#include "proto/dialect.h"
#include "proto/model.h"

/* What a model's name carried beside the model. */
#define GB_VARIANT_SEARCH       1u
#define GB_VARIANT_IMAGE        2u
#define GB_VARIANT_NON_THINKING 4u
#define GB_VARIANT_PAID         8u /* chat with CREATE_IMAGE_MODEL */

/* Google's own tools. */
enum { GB_TOOL_SEARCH, GB_TOOL_URL_CONTEXT, GB_TOOL_CODE_EXECUTION, GB_TOOL_N };
extern const char *const gb_tool_names[GB_TOOL_N];

/* Without a leading models/ or google/. */
const char *gb_feature_bare_name(const char *name);

/*
 * The model that a name means.  *variant gets what its suffix says; a name that
 * Google lists has no suffix.  APR_NOTFOUND: it is filtered, or an alias for
 * something that is no name.  asked was checked (gb_model_name_ok).
 */
apr_status_t gb_feature_model(const char **pmodel, unsigned *variant, const char *asked,
                              const gb_settings_t *settings, const gb_memory_t *memory,
                              apr_pool_t *p);

/* The suffix of the i-th kind of variant that a model has, for lists; "" = not this one, NULL = the end. */
const char *gb_feature_suffix(int i, const gb_settings_t *settings, const char *model);

/* The image model that stands for names that Google has given up; of those that it lists. */
const char *gb_feature_image_model(const gb_memory_t *memory);

/* A request as far as it decides on tools. */
typedef struct gb_feature_case_t {
    const gb_settings_t *settings;
    const char *name; /* of the model that is called */
    const gb_model_t *model;
    unsigned variant;
    unsigned client; /* 1 << GB_TOOL_...: the client's own */
    int has_media;
    int json_answer; /* the client wants JSON by schema or type */
} gb_feature_case_t;

/* 1 << GB_TOOL_... that operator and variant add.  They give way to functions. */
unsigned gb_feature_tools(const gb_feature_case_t *about);

/* Whether a stream of that model, as called or as asked for, is made of an answer in one piece. */
int gb_feature_fakes_stream(const gb_settings_t *settings, const char *asked, const char *model);

/* Whether the model thinks in words: thinkingConfig is a 400 elsewhere. */
int gb_feature_thinks(const gb_model_t *model);
/* "MINIMAL" or "LOW" */
const char *gb_feature_lowest_level(const char *model);
/* The level that stands for a budget where budgets are not known; NULL: the model decides. */
const char *gb_feature_level_of(apr_int64_t budget);

#endif
