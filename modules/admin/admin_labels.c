/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the settings are called on the page, with their unit and whether they
 * hold names of models.  All else about them stands in base/settings_table.h; a
 * guard compares the names.
 */
#include "admin_config.h"

#include <string.h>

static const admin_label_t labels[] = {
    {"API_KEYS",                                ADMIN_WORD("Gemini API keys"),                     NULL,                     0                },
    {"KEY_POLICY",                              ADMIN_WORD("How a key is chosen"),                 NULL,                     0                },
    {"MAX_RETRIES",                             ADMIN_WORD("Attempts for one call"),               ADMIN_WORD("attempts"),   0                },
    {"MAX_FAILURES",                            ADMIN_WORD("Failures until a key is out"),         ADMIN_WORD("in a row"),   0                },
    {"CHECK_INTERVAL_HOURS",                    ADMIN_WORD("Check of keys that are out"),          ADMIN_WORD("hours"),      0                },
    {"TEST_MODEL",                              ADMIN_WORD("Model for checking keys"),             NULL,                     ADMIN_MODEL      },
    {"MAX_CONCURRENT_PER_KEY",                  ADMIN_WORD("Calls of one key at a time"),          ADMIN_WORD("calls"),      0                },
    {"KEY_QUEUE_MAX",                           ADMIN_WORD("Calls that wait for a key"),           ADMIN_WORD("calls"),      0                },
    {"KEY_QUEUE_TIME",                          ADMIN_WORD("Waiting for a key"),                   ADMIN_WORD("seconds"),    0                },
    {"MODEL_LIMITS",                            ADMIN_WORD("Known quotas"),                        NULL,                     0                },
    {"MODEL_KEY_TAGS",                          ADMIN_WORD("Tag a key needs for a model"),         NULL,                     ADMIN_MODEL_NAMES},
    {"PAID_KEY",                                ADMIN_WORD("Key of a paying project"),             NULL,                     0                },
    {"COOL_FIRST",                              ADMIN_WORD("First rest after a 429"),              ADMIN_WORD("seconds"),    0                },
    {"COOL_FACTOR",                             ADMIN_WORD("Growth of the rest"),                  ADMIN_WORD("times"),      0                },
    {"COOL_MAX",                                ADMIN_WORD("Longest rest"),                        ADMIN_WORD("seconds"),    0                },
    {"BREAKER_FAILURES",                        ADMIN_WORD("Failures that open the breaker"),      ADMIN_WORD("failures"),   0                },
    {"BREAKER_WINDOW",                          ADMIN_WORD("Window of the breaker"),               ADMIN_WORD("seconds"),    0                },
    {"BREAKER_OPEN",                            ADMIN_WORD("First opening of the breaker"),        ADMIN_WORD("seconds"),    0                },
    {"BREAKER_MAX",                             ADMIN_WORD("Longest opening of the breaker"),      ADMIN_WORD("seconds"),    0                },
    {"GUARD_WINDOW",                            ADMIN_WORD("Guard against losing the pool"),       ADMIN_WORD("seconds"),    0                },

    {"ALLOWED_TOKENS",                          ADMIN_WORD("Client tokens"),                       NULL,                     ADMIN_GENERATED  },
    {"CORS_ALLOW_ORIGINS",                      ADMIN_WORD("Web pages that may call"),             NULL,                     0                },
    {"URL_NORMALIZATION_ENABLED",               ADMIN_WORD("Mend base URLs"),                      NULL,                     0                },

    {"BASE_URL",                                ADMIN_WORD("Gemini API"),                          NULL,                     0                },
    {"VERTEX_API_KEYS",                         ADMIN_WORD("Vertex AI keys"),                      NULL,                     0                },
    {"VERTEX_EXPRESS_BASE_URL",                 ADMIN_WORD("Vertex AI in express mode"),           NULL,                     0                },
    {"TIME_OUT",                                ADMIN_WORD("Silence of an attempt"),               ADMIN_WORD("seconds"),    0                },
    {"TIME_OUT_CONNECT",                        ADMIN_WORD("Time to connect"),                     ADMIN_WORD("seconds"),    0                },
    {"TIME_OUT_FIRST_TOKEN",                    ADMIN_WORD("Time to the first piece"),             ADMIN_WORD("seconds"),    0                },
    {"TIME_OUT_TOTAL",                          ADMIN_WORD("Time for one call"),                   ADMIN_WORD("seconds"),    0                },
    {"MODEL_TIME_OUT",                          ADMIN_WORD("Silence by model"),                    ADMIN_WORD("seconds"),    ADMIN_MODEL_NAMES},
    {"PROXIES",                                 ADMIN_WORD("Upstream proxies"),                    NULL,                     ADMIN_PROXIES    },
    {"PROXIES_USE_CONSISTENCY_HASH_BY_API_KEY", ADMIN_WORD("A key keeps its proxy"),               NULL,                     0                },
    {"CUSTOM_HEADERS",                          ADMIN_WORD("Headers for the upstream"),            NULL,                     0                },
    {"STORE_REQUESTS",                          ADMIN_WORD("Google may keep requests"),            NULL,                     0                },

    {"MODEL_ALIASES",                           ADMIN_WORD("Other names of models"),               NULL,                     ADMIN_MODEL_NAMES},
    {"FILTERED_MODELS",                         ADMIN_WORD("Hidden models"),                       NULL,                     ADMIN_MODEL      },
    {"SEARCH_MODELS",                           ADMIN_WORD("Models with a -search variant"),       NULL,                     ADMIN_MODEL      },
    {"IMAGE_MODELS",                            ADMIN_WORD("Models with an -image variant"),       NULL,                     ADMIN_MODEL      },

    {"THINKING_MODELS",                         ADMIN_WORD("Models with a -non-thinking variant"), NULL,                     ADMIN_MODEL      },
    {"THINKING_BUDGET_MAP",                     ADMIN_WORD("Thinking budget by model"),            ADMIN_WORD("tokens"),
     ADMIN_MODEL_NAMES                                                                                                                        },
    {"SHOW_THINKING_PROCESS",                   ADMIN_WORD("Show thoughts"),                       NULL,                     0                },

    {"TOOLS_CODE_EXECUTION_ENABLED",            ADMIN_WORD("Code execution"),                      NULL,                     0                },
    {"URL_CONTEXT_ENABLED",                     ADMIN_WORD("Reading web addresses"),               NULL,                     0                },
    {"URL_CONTEXT_MODELS",                      ADMIN_WORD("Models that read web addresses"),      NULL,                     ADMIN_MODEL      },
    {"SHOW_SEARCH_LINK",                        ADMIN_WORD("Show sources"),                        NULL,                     0                },

    {"SAFETY_SETTINGS",                         ADMIN_WORD("Safety thresholds"),                   NULL,                     0                },

    {"CREATE_IMAGE_MODEL",                      ADMIN_WORD("Model for pictures"),                  NULL,                     ADMIN_MODEL      },
    {"IMAGE_OUTPUT",                            ADMIN_WORD("Where pictures stand in answers"),     NULL,                     0                },
    {"IMAGE_FETCH",                             ADMIN_WORD("Who fetches pictures"),                NULL,                     0                },
    {"IMAGE_FETCH_ALLOW",                       ADMIN_WORD("Private addresses with pictures"),     NULL,                     0                },
    {"UPLOAD_PROVIDER",                         ADMIN_WORD("Where pictures are kept"),             NULL,                     0                },
    {"SMMS_API_URL",                            ADMIN_WORD("sm.ms: address"),                      NULL,                     0                },
    {"SMMS_SECRET_TOKEN",                       ADMIN_WORD("sm.ms: token"),                        NULL,                     0                },
    {"PICGO_API_KEY",                           ADMIN_WORD("PicGo: key"),                          NULL,                     0                },
    {"PICGO_API_URL",                           ADMIN_WORD("PicGo: address"),                      NULL,                     0                },
    {"CLOUDFLARE_IMGBED_URL",                   ADMIN_WORD("Cloudflare image bed: address"),       NULL,                     0                },
    {"CLOUDFLARE_IMGBED_AUTH_CODE",             ADMIN_WORD("Cloudflare image bed: code"),          NULL,                     0                },
    {"CLOUDFLARE_IMGBED_UPLOAD_FOLDER",         ADMIN_WORD("Cloudflare image bed: folder"),        NULL,                     0                },
    {"OSS_ENDPOINT",                            ADMIN_WORD("Aliyun OSS: endpoint"),                NULL,                     0                },
    {"OSS_ENDPOINT_INNER",                      ADMIN_WORD("Aliyun OSS: inner endpoint"),          NULL,                     0                },
    {"OSS_ACCESS_KEY",                          ADMIN_WORD("Aliyun OSS: access key"),              NULL,                     0                },
    {"OSS_ACCESS_KEY_SECRET",                   ADMIN_WORD("Aliyun OSS: secret"),                  NULL,                     0                },
    {"OSS_BUCKET_NAME",                         ADMIN_WORD("Aliyun OSS: bucket"),                  NULL,                     0                },
    {"OSS_REGION",                              ADMIN_WORD("Aliyun OSS: region"),                  NULL,                     0                },
    {"LOCAL_IMAGE_URL",                         ADMIN_WORD("Kept here: address"),                  NULL,                     0                },
    {"LOCAL_IMAGE_DIR",                         ADMIN_WORD("Kept here: directory"),                NULL,                     0                },
    {"LOCAL_IMAGE_EXPIRE",                      ADMIN_WORD("Kept here: for how long"),             ADMIN_WORD("seconds"),    0                },
    {"LOCAL_IMAGE_MAX_MB",                      ADMIN_WORD("Kept here: all pictures"),             "MB",                     0                },
    {"LOCAL_IMAGE_MAX_FILE_MB",                 ADMIN_WORD("Kept here: one picture"),              "MB",                     0                },

    {"TTS_MODEL",                               ADMIN_WORD("Model that speaks"),                   NULL,                     ADMIN_MODEL      },
    {"TTS_VOICE_NAME",                          ADMIN_WORD("Voice"),                               NULL,                     0                },
    {"TTS_SPEED",                               ADMIN_WORD("Speed"),                               NULL,                     0                },
    {"TTS_RESPONSE_FORMAT",                     ADMIN_WORD("Audio format"),                        NULL,                     0                },

    {"TRANSCRIPTION_MODEL",                     ADMIN_WORD("Model that writes down speech"),       NULL,                     ADMIN_MODEL      },
    {"TRANSLATION_MODEL",                       ADMIN_WORD("Model that translates speech"),        NULL,                     ADMIN_MODEL      },

    {"STREAM_OPTIMIZER_ENABLED",                ADMIN_WORD("Small steps"),                         NULL,                     0                },
    {"STREAM_MIN_DELAY",                        ADMIN_WORD("Shortest pause"),                      ADMIN_WORD("seconds"),    0                },
    {"STREAM_MAX_DELAY",                        ADMIN_WORD("Longest pause"),                       ADMIN_WORD("seconds"),    0                },
    {"STREAM_SHORT_TEXT_THRESHOLD",             ADMIN_WORD("A text is short up to"),               ADMIN_WORD("characters"),
     0                                                                                                                                        },
    {"STREAM_LONG_TEXT_THRESHOLD",              ADMIN_WORD("A text is long from"),                 ADMIN_WORD("characters"), 0                },
    {"STREAM_CHUNK_SIZE",                       ADMIN_WORD("Length of a step"),                    ADMIN_WORD("characters"), 0                },
    {"FAKE_STREAM_ENABLED",                     ADMIN_WORD("Streams from whole answers"),          NULL,                     0                },
    {"FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS", ADMIN_WORD("Heartbeat of such a stream"),
     ADMIN_WORD("seconds"),                                                                                                  0                },
    {"STREAM_HEARTBEAT_SECONDS",                ADMIN_WORD("Heartbeat of a real stream"),          ADMIN_WORD("seconds"),
     0                                                                                                                                        },
    {"FAKE_STREAM_MODELS",                      ADMIN_WORD("Models with such streams"),            NULL,                     ADMIN_MODEL      },
    {"STREAM_HEARTBEAT_FORM",                   ADMIN_WORD("Form of heartbeats"),                  NULL,                     0                },
    {"STREAM_CONTINUE_MAX",                     ADMIN_WORD("Going on after a cut"),                ADMIN_WORD("times"),      0                },

    {"FILES_CLEANUP_ENABLED",                   ADMIN_WORD("Forget expired files"),                NULL,                     0                },
    {"FILES_CLEANUP_INTERVAL_HOURS",            ADMIN_WORD("Rounds of forgetting"),                ADMIN_WORD("hours"),      0                },
    {"FILES_USER_ISOLATION_ENABLED",            ADMIN_WORD("Files of their token only"),           NULL,                     0                },
    {"MAX_CONCURRENT_UPLOADS",                  ADMIN_WORD("Uploads at a time"),                   ADMIN_WORD("uploads"),    0                },

    {"LOG_LEVEL",                               ADMIN_WORD("Least level of log lines"),            NULL,                     0                },
    {"TIMEZONE",                                ADMIN_WORD("Time zone"),                           NULL,                     0                },
    {"ERROR_LOG_RECORD_REQUEST_BODY",           ADMIN_WORD("Record request bodies of errors"),     NULL,                     0                },
    {"AUTO_DELETE_ERROR_LOGS_ENABLED",          ADMIN_WORD("Delete old errors"),                   NULL,                     0                },
    {"AUTO_DELETE_ERROR_LOGS_DAYS",             ADMIN_WORD("Errors are kept"),                     ADMIN_WORD("days"),       0                },
    {"AUTO_DELETE_REQUEST_LOGS_ENABLED",        ADMIN_WORD("Delete old requests"),                 NULL,                     0                },
    {"AUTO_DELETE_REQUEST_LOGS_DAYS",           ADMIN_WORD("Requests are kept"),                   ADMIN_WORD("days"),       0                },
    {"LOG_MAX_ROWS",                            ADMIN_WORD("Rows of each log"),                    ADMIN_WORD("rows"),       0                },
    {"SPOOL_MAX_MB",                            ADMIN_WORD("Waiting for the database"),            "MB",                     0                },
    {"MODEL_PRICES",                            ADMIN_WORD("Prices of models"),                    NULL,                     0                },

    {"AUTH_TOKEN",                              ADMIN_WORD("Admin token"),                         NULL,                     ADMIN_GENERATED  },
    {"ADMIN_SESSION_EXPIRE",                    ADMIN_WORD("A login lasts"),                       ADMIN_WORD("seconds"),    0                },

    {"DATABASE_TYPE",                           ADMIN_WORD("Kind of database"),                    NULL,                     0                },
    {"SQLITE_DATABASE",                         ADMIN_WORD("File of the embedded database"),       NULL,                     0                },
    {"MYSQL_HOST",                              ADMIN_WORD("MariaDB or MySQL: host"),              NULL,                     0                },
    {"MYSQL_PORT",                              ADMIN_WORD("MariaDB or MySQL: port"),              NULL,                     0                },
    {"MYSQL_USER",                              ADMIN_WORD("MariaDB or MySQL: user"),              NULL,                     0                },
    {"MYSQL_PASSWORD",                          ADMIN_WORD("MariaDB or MySQL: password"),          NULL,                     0                },
    {"MYSQL_DATABASE",                          ADMIN_WORD("MariaDB or MySQL: database"),          NULL,                     0                },
    {"MYSQL_SOCKET",                            ADMIN_WORD("MariaDB or MySQL: socket"),            NULL,                     0                },
};

const admin_label_t *admin_label(const char *name)
{
    static const admin_label_t none = {NULL, NULL, NULL, 0};
    size_t i;

    for (i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        if (strcmp(labels[i].name, name) == 0) {
            return &labels[i];
        }
    }
    return &none;
}
