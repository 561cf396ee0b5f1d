/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of settings, a row each:
 *
 *   GB_SETTING(NAME, "Directive", member, TYPE, SCOPE, fallback, min, max, choices, group, help)
 *
 * Included several times with GB_SETTING defined anew, so it has no guard.  The
 * order is the one in which pages, conf.d and the README show them; rows of a
 * group stand together.  Bounds are seconds for SECONDS and hold for each value
 * of a NUMBER_MAP; 1, 0 stands where there are none.  After a change run
 * `make -f apxs.mk settings`, which writes the README's table and the entries of
 * conf.d/gbalance.conf anew; a guard in `check` compares them.
 */
/* clang-format off */

/* ---- Pool and retries ---- */
GB_SETTING(API_KEYS, "GBalanceApiKeys", api_keys, SECRET_LIST, POOL, "", 1, 0, NULL, "Pool and retries",
           "Gemini API keys of the pool")
GB_SETTING(KEY_POLICY, "GBalanceKeyPolicy", key_policy, ENUM, POOL, "round_robin", 1, 0,
           "round_robin|least_used|headroom|sticky", "Pool and retries",
           "how a key is chosen: in turn, the least used, the one with most quota left, or the same for one conversation")
GB_SETTING(MAX_RETRIES, "GBalanceMaxRetries", max_retries, INT, POOL, "3", 1, 20, NULL, "Pool and retries",
           "upstream calls for one call of a client, the first one included")
GB_SETTING(MAX_FAILURES, "GBalanceMaxFailures", max_failures, INT, POOL, "3", 1, 1000, NULL, "Pool and retries",
           "consecutive service faults until a key is out")
GB_SETTING(CHECK_INTERVAL_HOURS, "GBalanceCheckIntervalHours", check_interval_hours, INT, POOL, "1", 0, 8760, NULL, "Pool and retries",
           "hours between two checks of the keys that are out; 0 = never")
GB_SETTING(TEST_MODEL, "GBalanceTestModel", test_model, STRING, POOL, "gemini-2.5-flash-lite", 1, 0, NULL, "Pool and retries",
           "model with which a key is checked")
GB_SETTING(MAX_CONCURRENT_PER_KEY, "GBalanceMaxConcurrentPerKey", max_concurrent_per_key, INT, POOL, "0", 0, 100000, NULL, "Pool and retries",
           "calls that one key serves at a time; 0 = any number")
GB_SETTING(KEY_QUEUE_MAX, "GBalanceKeyQueueMax", key_queue_max, INT, POOL, "256", 0, 100000, NULL, "Pool and retries",
           "calls of a process that wait for a key that is busy (MAX_CONCURRENT_PER_KEY); more are answered 429 at once")
GB_SETTING(KEY_QUEUE_TIME, "GBalanceKeyQueueTime", key_queue_time, SECONDS, POOL, "10", 1, 3600, NULL, "Pool and retries",
           "seconds that such a call waits at most")
GB_SETTING(MODEL_LIMITS, "GBalanceModelLimits", model_limits, JSON, POOL, "", 1, 0, "object:rpm|tpm|rpd", "Pool and retries",
           "quota of one project for a model, as JSON: {\"gemini-2.5-pro\": {\"rpm\": 5, \"tpm\": 250000, \"rpd\": 100}}; models not named are learnt")
GB_SETTING(MODEL_KEY_TAGS, "GBalanceModelKeyTags", model_key_tags, MAP, POOL, "", 1, 0, NULL, "Pool and retries",
           "tag that a key must carry to serve a model, by model name")
GB_SETTING(PAID_KEY, "GBalancePaidKey", paid_key, SECRET, POOL, "", 1, 0, NULL, "Pool and retries",
           "key for calls that Google answers to paying projects only, such as imagen")
GB_SETTING(COOL_FIRST, "GBalanceCoolFirst", cool_first, SECONDS, POOL, "30", 1, 86400, NULL, "Pool and retries",
           "seconds that a key rests for a model after a 429 that does not say how long")
GB_SETTING(COOL_FACTOR, "GBalanceCoolFactor", cool_factor, FLOAT, POOL, "2", 1, 100, NULL, "Pool and retries",
           "factor by which that rest grows with each further such 429")
GB_SETTING(COOL_MAX, "GBalanceCoolMax", cool_max, SECONDS, POOL, "600", 1, 86400, NULL, "Pool and retries",
           "seconds that such a rest lasts at most")
GB_SETTING(BREAKER_FAILURES, "GBalanceBreakerFailures", breaker_failures, INT, POOL, "3", 2, 1000, NULL, "Pool and retries",
           "failed attempts on at least two projects that open the breaker of a model")
GB_SETTING(BREAKER_WINDOW, "GBalanceBreakerWindow", breaker_window, SECONDS, POOL, "30", 1, 3600, NULL, "Pool and retries",
           "seconds within which they must fall")
GB_SETTING(BREAKER_OPEN, "GBalanceBreakerOpen", breaker_open, SECONDS, POOL, "5", 1, 3600, NULL, "Pool and retries",
           "seconds that the breaker stays open at first; each failed probe doubles them")
GB_SETTING(BREAKER_MAX, "GBalanceBreakerMax", breaker_max, SECONDS, POOL, "60", 1, 3600, NULL, "Pool and retries",
           "seconds that the breaker stays open at most")
GB_SETTING(GUARD_WINDOW, "GBalanceGuardWindow", guard_window, SECONDS, POOL, "60", 1, 3600, NULL, "Pool and retries",
           "seconds in which at most half of the active keys may leave the pool")

/* ---- Clients and tokens ---- */
GB_SETTING(ALLOWED_TOKENS, "GBalanceAllowedTokens", allowed_tokens, SECRET_LIST, VHOST, "", 1, 0, NULL, "Clients and tokens",
           "tokens that let an application in; none = nobody gets in")
GB_SETTING(CORS_ALLOW_ORIGINS, "GBalanceCorsAllowOrigins", cors_allow_origins, LIST, VHOST, "*", 1, 0, NULL, "Clients and tokens",
           "web origins that may call the API from a browser; * = all, empty = none")
GB_SETTING(URL_NORMALIZATION_ENABLED, "GBalanceUrlNormalizationEnabled", url_normalization_enabled, BOOL, POOL, "false", 1, 0, NULL, "Clients and tokens",
           "mend the mistakes that clients make with base URLs")

/* ---- Upstream and proxies ---- */
GB_SETTING(BASE_URL, "GBalanceBaseUrl", base_url, URL, POOL, "https://generativelanguage.googleapis.com/v1beta", 1, 0, NULL, "Upstream and proxies",
           "the Gemini API, or a proxy in front of it (a path is kept)")
GB_SETTING(VERTEX_API_KEYS, "GBalanceVertexApiKeys", vertex_api_keys, SECRET_LIST, POOL, "", 1, 0, NULL, "Upstream and proxies",
           "keys of Vertex AI in express mode, a pool of their own")
GB_SETTING(VERTEX_EXPRESS_BASE_URL, "GBalanceVertexExpressBaseUrl", vertex_express_base_url, URL, POOL, "https://aiplatform.googleapis.com/v1beta1/publishers/google", 1, 0, NULL, "Upstream and proxies",
           "the API of Vertex AI in express mode")
GB_SETTING(TIME_OUT, "GBalanceTimeOut", time_out, SECONDS, POOL, "300", 1, 86400, NULL, "Upstream and proxies",
           "seconds that an attempt may stay silent, before its first byte and between bytes")
GB_SETTING(TIME_OUT_CONNECT, "GBalanceTimeOutConnect", time_out_connect, SECONDS, POOL, "10", 1, 3600, NULL, "Upstream and proxies",
           "seconds to reach the upstream")
GB_SETTING(TIME_OUT_FIRST_TOKEN, "GBalanceTimeOutFirstToken", time_out_first_token, SECONDS, POOL, "0", 0, 86400, NULL, "Upstream and proxies",
           "seconds to the first piece of a stream, then another key is tried; 0 = off")
GB_SETTING(TIME_OUT_TOTAL, "GBalanceTimeOutTotal", time_out_total, SECONDS, POOL, "3600", 1, 604800, NULL, "Upstream and proxies",
           "seconds for a call with all its attempts")
GB_SETTING(MODEL_TIME_OUT, "GBalanceModelTimeOut", model_time_out, NUMBER_MAP, POOL, "", 1, 86400, NULL, "Upstream and proxies",
           "TIME_OUT by model name, in seconds")
GB_SETTING(PROXIES, "GBalanceProxies", proxies, LIST, POOL, "", 1, 0, NULL, "Upstream and proxies",
           "proxies to the upstream: http://user:password@host:port, also https and socks5")
GB_SETTING(PROXIES_USE_CONSISTENCY_HASH_BY_API_KEY, "GBalanceProxiesUseConsistencyHashByApiKey", proxies_use_consistency_hash_by_api_key, BOOL, POOL, "true", 1, 0, NULL, "Upstream and proxies",
           "a key always takes the same proxy")
GB_SETTING(CUSTOM_HEADERS, "GBalanceCustomHeaders", custom_headers, MAP, POOL, "", 1, 0, "headers", "Upstream and proxies",
           "headers added to every upstream request, by name")
GB_SETTING(STORE_REQUESTS, "GBalanceStoreRequests", store_requests, BOOL, POOL, "false", 1, 0, NULL, "Upstream and proxies",
           "let Google keep requests of paid projects when the client does not say")

/* ---- Models ---- */
GB_SETTING(MODEL_ALIASES, "GBalanceModelAliases", model_aliases, MAP, POOL, "", 1, 0, NULL, "Models",
           "names served by another model: {\"gpt-4o\": \"gemini-2.5-pro\"}")
GB_SETTING(FILTERED_MODELS, "GBalanceFilteredModels", filtered_models, LIST, POOL,
           "gemini-1.0-pro-vision-latest,gemini-pro-vision,chat-bison-001,text-bison-001,embedding-gecko-001", 1, 0, NULL, "Models",
           "models that are hidden and refused")
GB_SETTING(SEARCH_MODELS, "GBalanceSearchModels", search_models, LIST, POOL, "gemini-2.5-flash,gemini-2.5-pro", 1, 0, NULL, "Models",
           "models that have a -search variant, with Google Search")
GB_SETTING(IMAGE_MODELS, "GBalanceImageModels", image_models, LIST, POOL, "gemini-2.0-flash-exp,gemini-2.5-flash-image-preview", 1, 0, NULL, "Models",
           "models that have an -image variant, which may answer with pictures")

/* ---- Thinking ---- */
GB_SETTING(THINKING_MODELS, "GBalanceThinkingModels", thinking_models, LIST, POOL, "", 1, 0, NULL, "Thinking",
           "models that have a -non-thinking variant")
GB_SETTING(THINKING_BUDGET_MAP, "GBalanceThinkingBudgetMap", thinking_budget_map, NUMBER_MAP, POOL, "", -1, 1000000, NULL, "Thinking",
           "thinking tokens by model name when the client names none; -1 = the model decides, 0 = nothing is sent")
GB_SETTING(SHOW_THINKING_PROCESS, "GBalanceShowThinkingProcess", show_thinking_process, BOOL, POOL, "true", 1, 0, NULL, "Thinking",
           "hand the model's thoughts on to OpenAI clients")

/* ---- Tools and search ---- */
GB_SETTING(TOOLS_CODE_EXECUTION_ENABLED, "GBalanceToolsCodeExecutionEnabled", tools_code_execution_enabled, BOOL, POOL, "false", 1, 0, NULL, "Tools and search",
           "give models the code execution tool where it does not clash with another one")
GB_SETTING(URL_CONTEXT_ENABLED, "GBalanceUrlContextEnabled", url_context_enabled, BOOL, POOL, "false", 1, 0, NULL, "Tools and search",
           "give the models of URL_CONTEXT_MODELS the tool that reads web addresses")
GB_SETTING(URL_CONTEXT_MODELS, "GBalanceUrlContextModels", url_context_models, LIST, POOL,
           "gemini-2.5-pro,gemini-2.5-flash,gemini-2.5-flash-lite,gemini-2.0-flash,gemini-2.0-flash-live-001", 1, 0, NULL, "Tools and search",
           "models that get that tool")
GB_SETTING(SHOW_SEARCH_LINK, "GBalanceShowSearchLink", show_search_link, BOOL, POOL, "true", 1, 0, NULL, "Tools and search",
           "list the sources at the end of an answer that searched")

/* ---- Safety ---- */
GB_SETTING(SAFETY_SETTINGS, "GBalanceSafetySettings", safety_settings, JSON, POOL,
           "[{\"category\":\"HARM_CATEGORY_HARASSMENT\",\"threshold\":\"OFF\"},"
           "{\"category\":\"HARM_CATEGORY_HATE_SPEECH\",\"threshold\":\"OFF\"},"
           "{\"category\":\"HARM_CATEGORY_SEXUALLY_EXPLICIT\",\"threshold\":\"OFF\"},"
           "{\"category\":\"HARM_CATEGORY_DANGEROUS_CONTENT\",\"threshold\":\"OFF\"},"
           "{\"category\":\"HARM_CATEGORY_CIVIC_INTEGRITY\",\"threshold\":\"BLOCK_NONE\"}]", 1, 0, "array", "Safety",
           "safety thresholds sent when the client sends none")

/* ---- Images ---- */
GB_SETTING(CREATE_IMAGE_MODEL, "GBalanceCreateImageModel", create_image_model, STRING, POOL, "imagen-3.0-generate-002", 1, 0, NULL, "Images",
           "model that makes pictures when the client names none")
GB_SETTING(IMAGE_OUTPUT, "GBalanceImageOutput", image_output, ENUM, POOL, "markdown", 1, 0, "markdown|images|both", "Images",
           "where OpenAI chat clients find a picture: in the text as Markdown, in the member images, or both")
GB_SETTING(IMAGE_FETCH, "GBalanceImageFetch", image_fetch, ENUM, POOL, "gateway", 1, 0, "gateway|upstream", "Images",
           "who fetches a picture that a client names by its address")
GB_SETTING(IMAGE_FETCH_ALLOW, "GBalanceImageFetchAllow", image_fetch_allow, LIST, POOL, "", 1, 0, "ranges", "Images",
           "private address ranges from which pictures may be fetched, as 10.1.0.0/16")
GB_SETTING(UPLOAD_PROVIDER, "GBalanceUploadProvider", upload_provider, ENUM, POOL, "smms", 1, 0, "smms|picgo|cloudflare_imgbed|aliyun_oss|local", "Images",
           "where pictures are kept that clients get by address")
GB_SETTING(SMMS_SECRET_TOKEN, "GBalanceSmmsSecretToken", smms_secret_token, SECRET, POOL, "", 1, 0, NULL, "Images",
           "token of sm.ms")
GB_SETTING(SMMS_API_URL, "GBalanceSmmsApiUrl", smms_api_url, URL, POOL, "https://sm.ms/api/v2/upload", 1, 0, "query", "Images",
           "upload address of sm.ms, or of a server that speaks as it does")
GB_SETTING(PICGO_API_KEY, "GBalancePicgoApiKey", picgo_api_key, SECRET, POOL, "", 1, 0, NULL, "Images",
           "key of PicGo")
GB_SETTING(PICGO_API_URL, "GBalancePicgoApiUrl", picgo_api_url, URL, POOL, "https://www.picgo.net/api/1/upload", 1, 0, "query", "Images",
           "upload address of PicGo")
GB_SETTING(CLOUDFLARE_IMGBED_URL, "GBalanceCloudflareImgbedUrl", cloudflare_imgbed_url, URL, POOL, "", 1, 0, "query", "Images",
           "upload address of the Cloudflare image bed")
GB_SETTING(CLOUDFLARE_IMGBED_AUTH_CODE, "GBalanceCloudflareImgbedAuthCode", cloudflare_imgbed_auth_code, SECRET, POOL, "", 1, 0, NULL, "Images",
           "its code of authorization")
GB_SETTING(CLOUDFLARE_IMGBED_UPLOAD_FOLDER, "GBalanceCloudflareImgbedUploadFolder", cloudflare_imgbed_upload_folder, STRING, POOL, "", 1, 0, NULL, "Images",
           "its folder")
GB_SETTING(OSS_ENDPOINT, "GBalanceOssEndpoint", oss_endpoint, STRING, POOL, "", 1, 0, NULL, "Images",
           "Aliyun OSS: public endpoint")
GB_SETTING(OSS_ENDPOINT_INNER, "GBalanceOssEndpointInner", oss_endpoint_inner, STRING, POOL, "", 1, 0, NULL, "Images",
           "Aliyun OSS: endpoint for uploads from inside their network")
GB_SETTING(OSS_ACCESS_KEY, "GBalanceOssAccessKey", oss_access_key, SECRET, POOL, "", 1, 0, NULL, "Images",
           "Aliyun OSS: access key")
GB_SETTING(OSS_ACCESS_KEY_SECRET, "GBalanceOssAccessKeySecret", oss_access_key_secret, SECRET, POOL, "", 1, 0, NULL, "Images",
           "Aliyun OSS: secret of the access key")
GB_SETTING(OSS_BUCKET_NAME, "GBalanceOssBucketName", oss_bucket_name, STRING, POOL, "", 1, 0, NULL, "Images",
           "Aliyun OSS: bucket")
GB_SETTING(OSS_REGION, "GBalanceOssRegion", oss_region, STRING, POOL, "", 1, 0, NULL, "Images",
           "Aliyun OSS: region")
GB_SETTING(LOCAL_IMAGE_URL, "GBalanceLocalImageUrl", local_image_url, URL, POOL, "", 1, 0, NULL, "Images",
           "provider local: address at which LOCAL_IMAGE_DIR is served, as https://host/gbalance-images")
GB_SETTING(LOCAL_IMAGE_DIR, "GBalanceLocalImageDir", local_image_dir, STRING, SERVER, "images", 1, 0, NULL, "Images",
           "provider local: directory of the pictures, below the state directory unless absolute")
GB_SETTING(LOCAL_IMAGE_EXPIRE, "GBalanceLocalImageExpire", local_image_expire, SECONDS, SERVER, "86400", 1, 315360000, NULL, "Images",
           "provider local: seconds that a picture is kept")
GB_SETTING(LOCAL_IMAGE_MAX_MB, "GBalanceLocalImageMaxMb", local_image_max_mb, INT, SERVER, "1024", 1, 1048576, NULL, "Images",
           "provider local: megabytes of all pictures together; over it clients get data URLs")
GB_SETTING(LOCAL_IMAGE_MAX_FILE_MB, "GBalanceLocalImageMaxFileMb", local_image_max_file_mb, INT, POOL, "32", 1, 1024, NULL, "Images",
           "provider local: megabytes of one picture")

/* ---- Speech ---- */
GB_SETTING(TTS_MODEL, "GBalanceTtsModel", tts_model, STRING, POOL, "gemini-2.5-flash-preview-tts", 1, 0, NULL, "Speech",
           "model that speaks when the client names none")
GB_SETTING(TTS_VOICE_NAME, "GBalanceTtsVoiceName", tts_voice_name, STRING, POOL, "Zephyr", 1, 0, NULL, "Speech",
           "voice when the client names none")
GB_SETTING(TTS_SPEED, "GBalanceTtsSpeed", tts_speed, STRING, POOL, "normal", 1, 0, NULL, "Speech",
           "speed when the client names none")
GB_SETTING(TTS_RESPONSE_FORMAT, "GBalanceTtsResponseFormat", tts_response_format, ENUM, POOL, "wav", 1, 0, "wav|pcm|mp3|opus|flac", "Speech",
           "audio format when the client names none")

GB_SETTING(TRANSCRIPTION_MODEL, "GBalanceTranscriptionModel", transcription_model, STRING, POOL, "gemini-3.5-transcribe", 1, 0, NULL, "Speech",
           "model that transcribes when the client names none, or one of OpenAI's")
GB_SETTING(TRANSLATION_MODEL, "GBalanceTranslationModel", translation_model, STRING, POOL, "gemini-flash-latest", 1, 0, NULL, "Speech",
           "model that translates recordings to English likewise")

/* ---- Streaming ---- */
GB_SETTING(STREAM_OPTIMIZER_ENABLED, "GBalanceStreamOptimizerEnabled", stream_optimizer_enabled, BOOL, POOL, "false", 1, 0, NULL, "Streaming",
           "give out long pieces of text in small steps")
GB_SETTING(STREAM_MIN_DELAY, "GBalanceStreamMinDelay", stream_min_delay, SECONDS, POOL, "0.016", 0, 10, NULL, "Streaming",
           "shortest pause between two steps, in seconds, for long texts")
GB_SETTING(STREAM_MAX_DELAY, "GBalanceStreamMaxDelay", stream_max_delay, SECONDS, POOL, "0.024", 0, 10, NULL, "Streaming",
           "longest pause between two steps, in seconds, for short texts")
GB_SETTING(STREAM_SHORT_TEXT_THRESHOLD, "GBalanceStreamShortTextThreshold", stream_short_text_threshold, INT, POOL, "10", 0, 1000000, NULL, "Streaming",
           "characters up to which a text is short")
GB_SETTING(STREAM_LONG_TEXT_THRESHOLD, "GBalanceStreamLongTextThreshold", stream_long_text_threshold, INT, POOL, "50", 0, 1000000, NULL, "Streaming",
           "characters from which a text is long; shorter ones go out one character a step")
GB_SETTING(STREAM_CHUNK_SIZE, "GBalanceStreamChunkSize", stream_chunk_size, INT, POOL, "5", 1, 1000000, NULL, "Streaming",
           "characters a step of a long text")
GB_SETTING(FAKE_STREAM_ENABLED, "GBalanceFakeStreamEnabled", fake_stream_enabled, BOOL, POOL, "false", 1, 0, NULL, "Streaming",
           "serve streams from upstream calls that do not stream")
GB_SETTING(FAKE_STREAM_MODELS, "GBalanceFakeStreamModels", fake_stream_models, LIST, POOL, "", 1, 0, NULL, "Streaming",
           "models whose streams are served so even where FAKE_STREAM_ENABLED is off")
GB_SETTING(FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS, "GBalanceFakeStreamEmptyDataIntervalSeconds", fake_stream_empty_data_interval_seconds, SECONDS, POOL, "5", 0, 3600, NULL, "Streaming",
           "seconds between two heartbeats of such a stream; 0 = none")
GB_SETTING(STREAM_HEARTBEAT_SECONDS, "GBalanceStreamHeartbeatSeconds", stream_heartbeat_seconds, SECONDS, POOL, "0", 0, 3600, NULL, "Streaming",
           "seconds of silence after which a real stream gets a heartbeat; 0 = off")
GB_SETTING(STREAM_HEARTBEAT_FORM, "GBalanceStreamHeartbeatForm", stream_heartbeat_form, ENUM, POOL, "comment", 1, 0, "comment|delta", "Streaming",
           "what a heartbeat is for OpenAI clients: a comment, or a chunk whose delta is empty for clients that choke on comments")
GB_SETTING(STREAM_CONTINUE_MAX, "GBalanceStreamContinueMax", stream_continue_max, INT, POOL, "0", 0, 10, NULL, "Streaming",
           "how often a stream that the upstream cut is continued on another key; 0 = off")

/* ---- Files ---- */
GB_SETTING(FILES_CLEANUP_ENABLED, "GBalanceFilesCleanupEnabled", files_cleanup_enabled, BOOL, POOL, "true", 1, 0, NULL, "Files",
           "forget uploaded files that have expired at Google")
GB_SETTING(FILES_CLEANUP_INTERVAL_HOURS, "GBalanceFilesCleanupIntervalHours", files_cleanup_interval_hours, INT, POOL, "1", 1, 8760, NULL, "Files",
           "hours between two such rounds")
GB_SETTING(FILES_USER_ISOLATION_ENABLED, "GBalanceFilesUserIsolationEnabled", files_user_isolation_enabled, BOOL, POOL, "true", 1, 0, NULL, "Files",
           "a token sees its own files only")
GB_SETTING(MAX_CONCURRENT_UPLOADS, "GBalanceMaxConcurrentUploads", max_concurrent_uploads, INT, SERVER, "0", 0, 100000, NULL, "Files",
           "uploads at a time in one child; 0 = a quarter of its threads")

/* ---- Logs and retention ---- */
GB_SETTING(LOG_LEVEL, "GBalanceLogLevel", log_level, ENUM, POOL, "INFO", 1, 0, "DEBUG|INFO|WARNING|ERROR|CRITICAL", "Logs and retention",
           "least level of our own lines in the error log; what httpd's LogLevel leaves out stays out")
GB_SETTING(TIMEZONE, "GBalanceTimezone", timezone, STRING, POOL, "Asia/Shanghai", 1, 0, "zone", "Logs and retention",
           "time zone of schedules and pages, as Europe/Berlin")
GB_SETTING(ERROR_LOG_RECORD_REQUEST_BODY, "GBalanceErrorLogRecordRequestBody", error_log_record_request_body, BOOL, POOL, "false", 1, 0, NULL, "Logs and retention",
           "keep the body of a request that failed, without keys, tokens and media")
GB_SETTING(AUTO_DELETE_ERROR_LOGS_ENABLED, "GBalanceAutoDeleteErrorLogsEnabled", auto_delete_error_logs_enabled, BOOL, POOL, "true", 1, 0, NULL, "Logs and retention",
           "delete old rows of the error log")
GB_SETTING(AUTO_DELETE_ERROR_LOGS_DAYS, "GBalanceAutoDeleteErrorLogsDays", auto_delete_error_logs_days, INT, POOL, "7", 1, 3650, NULL, "Logs and retention",
           "days that they are kept")
GB_SETTING(AUTO_DELETE_REQUEST_LOGS_ENABLED, "GBalanceAutoDeleteRequestLogsEnabled", auto_delete_request_logs_enabled, BOOL, POOL, "true", 1, 0, NULL, "Logs and retention",
           "delete old rows of the request log")
GB_SETTING(AUTO_DELETE_REQUEST_LOGS_DAYS, "GBalanceAutoDeleteRequestLogsDays", auto_delete_request_logs_days, INT, POOL, "30", 1, 3650, NULL, "Logs and retention",
           "days that they are kept")
GB_SETTING(MODEL_PRICES, "GBalanceModelPrices", model_prices, JSON, POOL, "", 1, 0, "object:prompt|completion|cached", "Logs and retention",
           "US dollars for a million tokens of a model and its versions, as JSON: {\"gemini-x\": {\"prompt\": 1, \"completion\": 4, \"cached\": 0.25}}; what it does not name costs nothing")
GB_SETTING(LOG_MAX_ROWS, "GBalanceLogMaxRows", log_max_rows, INT, POOL, "5000000", 0, 1000000000, NULL, "Logs and retention",
           "rows of each log at most, the oldest go first; 0 = any number")
GB_SETTING(SPOOL_MAX_MB, "GBalanceSpoolMaxMb", spool_max_mb, INT, SERVER, "1024", 1, 1048576, NULL, "Logs and retention",
           "megabytes that wait on disk at most while the database is away")

/* ---- Admin and sessions ---- */
GB_SETTING(AUTH_TOKEN, "GBalanceAuthToken", auth_token, SECRET, VHOST, "", 1, 0, NULL, "Admin and sessions",
           "token of the administrator; none = no administration (never taken from ALLOWED_TOKENS)")
GB_SETTING(ADMIN_SESSION_EXPIRE, "GBalanceAdminSessionExpire", admin_session_expire, SECONDS, VHOST, "3600", 300, 86400, NULL, "Admin and sessions",
           "seconds that a login lasts")

/* ---- Database ---- */
GB_SETTING(DATABASE_TYPE, "GBalanceDatabaseType", database_type, ENUM, SERVER, "sqlite", 1, 0, "sqlite|mysql", "Database",
           "kind of database")
GB_SETTING(SQLITE_DATABASE, "GBalanceSqliteDatabase", sqlite_database, STRING, SERVER, "gbalance.db", 1, 0, NULL, "Database",
           "file of the embedded database, below the state directory unless absolute")
GB_SETTING(MYSQL_HOST, "GBalanceMysqlHost", mysql_host, STRING, SERVER, "", 1, 0, NULL, "Database",
           "host of MariaDB or MySQL")
GB_SETTING(MYSQL_PORT, "GBalanceMysqlPort", mysql_port, INT, SERVER, "3306", 1, 65535, NULL, "Database",
           "its port")
GB_SETTING(MYSQL_USER, "GBalanceMysqlUser", mysql_user, STRING, SERVER, "", 1, 0, NULL, "Database",
           "its user")
GB_SETTING(MYSQL_PASSWORD, "GBalanceMysqlPassword", mysql_password, SECRET, SERVER, "", 1, 0, NULL, "Database",
           "the user's password")
GB_SETTING(MYSQL_DATABASE, "GBalanceMysqlDatabase", mysql_database, STRING, SERVER, "", 1, 0, NULL, "Database",
           "name of the database")
GB_SETTING(MYSQL_SOCKET, "GBalanceMysqlSocket", mysql_socket, STRING, SERVER, "", 1, 0, NULL, "Database",
           "its local socket, which wins over host and port")
/* clang-format on */
