// libcurl, loaded when Docker is first spoken to.
//
// Linked in, it and the thirty libraries that it needs would be more than half of what every command takes to start, and
// most commands never ask Docker anything (docs/decisions/0050-start-of-a-command.md).
#pragma once

#include <curl/curl.h>

namespace cprewind::engine {

// The functions that docker_client.cpp calls, each named as in libcurl without its curl_ or curl_easy_.
struct Libcurl {
    decltype(&::curl_easy_init) init;
    decltype(&::curl_easy_cleanup) cleanup;
    decltype(&::curl_easy_reset) reset;
    decltype(&::curl_easy_setopt) setopt;
    decltype(&::curl_easy_perform) perform;
    decltype(&::curl_easy_getinfo) getinfo;
    decltype(&::curl_easy_strerror) strerror;
    decltype(&::curl_slist_append) slist_append;
    decltype(&::curl_slist_free_all) slist_free_all;
};

// Loaded by the first call and never unloaded. Throws Error (unavailable) when this machine has no libcurl.
const Libcurl& libcurl();

}  // namespace cprewind::engine
