/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read by cppcheck before each file: macros of httpd and APR that look like no
 * C without their headers.  No part of the build.
 */
#define APR_DECLARE_EXTERNAL_HOOK(ns, link, ret, name, args)
#define APR_DECLARE_OPTIONAL_FN(ret, name, args) typedef ret(apr_OFN_##name##_t) args
#define APR_IMPLEMENT_OPTIONAL_HOOK_RUN_ALL(ns, link, ret, name, args_decl, args_use, ok, decline)
#define APR_IMPLEMENT_OPTIONAL_HOOK_RUN_FIRST(ns, link, ret, name, args_decl, args_use, decline)
#define APR_IMPLEMENT_EXTERNAL_HOOK_RUN_ALL(ns, link, ret, name, args_decl, args_use, ok, decline)
#define APR_IMPLEMENT_EXTERNAL_HOOK_RUN_FIRST(ns, link, ret, name, args_decl, args_use, decline)
#define APR_IMPLEMENT_EXTERNAL_HOOK_VOID(ns, link, name, args_decl, args_use)
#define APR_HOOK_STRUCT(members)
#define APR_HOOK_LINK(name)
#define AP_DECLARE_MODULE(name)    module name##_module
#define APLOG_USE_MODULE(name)     extern module name##_module
#define APR_OPTIONAL_FN_TYPE(name) apr_OFN_##name##_t
#define AP_INIT_FLAG(name, func, data, where, help)                                                \
    {                                                                                              \
        name, func, data, where, help                                                              \
    }
#define AP_INIT_TAKE1(name, func, data, where, help)                                               \
    {                                                                                              \
        name, func, data, where, help                                                              \
    }
#define AP_INIT_RAW_ARGS(name, func, data, where, help)                                            \
    {                                                                                              \
        name, func, data, where, help                                                              \
    }
