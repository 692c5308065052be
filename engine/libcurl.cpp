#include "engine/libcurl.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"

namespace cprewind::engine {
namespace {

// The ABI's name since 2006 (libcurl 7.16), whichever TLS library it was built with.
constexpr const char* k_soname = "libcurl.so.4";

base::Error not_usable() {
    return base::Error(
        base::ErrorKind::unavailable,
        fmt::format("libcurl, by which cprewind speaks to Docker, cannot be used: {}", ::dlerror()),
        "install it: apt install libcurl4 (libcurl4t64 from Debian 13 on)");
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(::dlsym(library, name));
    if (function == nullptr) throw not_usable();
}

Libcurl load() {
    void* library = ::dlopen(k_soname, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw not_usable();
    Libcurl functions;
    find(library, "curl_easy_init", functions.init);
    find(library, "curl_easy_cleanup", functions.cleanup);
    find(library, "curl_easy_reset", functions.reset);
    find(library, "curl_easy_setopt", functions.setopt);
    find(library, "curl_easy_perform", functions.perform);
    find(library, "curl_easy_getinfo", functions.getinfo);
    find(library, "curl_easy_strerror", functions.strerror);
    find(library, "curl_slist_append", functions.slist_append);
    find(library, "curl_slist_free_all", functions.slist_free_all);
    return functions;
}

}  // namespace

const Libcurl& libcurl() {
    static const Libcurl loaded = load();
    return loaded;
}

}  // namespace cprewind::engine
