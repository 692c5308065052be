#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cprewind::base {

std::string_view name_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::usage:
            return "usage";
        case ErrorKind::not_found:
            return "not-found";
        case ErrorKind::ambiguous:
            return "ambiguous";
        case ErrorKind::unavailable:
            return "unavailable";
        case ErrorKind::permission:
            return "permission";
        case ErrorKind::unsupported:
            return "unsupported";
        case ErrorKind::busy:
            return "busy";
        case ErrorKind::damaged:
            return "damaged";
        case ErrorKind::io:
            return "io";
        case ErrorKind::failed:
            return "failed";
    }
    return "failed";
}

void throw_errno(int error_number, std::string_view what) {
    ErrorKind kind = ErrorKind::io;
    std::string hint;
    switch (error_number) {
        case EACCES:
        case EPERM:
            kind = ErrorKind::permission;
            hint = "run cprewind as root";
            break;
        case ENOENT:
            kind = ErrorKind::not_found;
            break;
        case ENOSPC:
        case EDQUOT:
            hint = "free some space there, then run the command again; nothing was changed";
            break;
        case EROFS:
            hint = "the file system is mounted read-only; choose another place with --repo";
            break;
        default:
            break;
    }
    throw Error(kind, fmt::format("cannot {}: {}", what, std::strerror(error_number)), hint);
}

void check_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "cprewind: internal error at %s:%d: %s does not hold; please report this\n", file,
                 line, expression);
    std::abort();
}

}  // namespace cprewind::base
