#include "cli/core_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "inspect/ordered_work.h"

namespace cprewind::cli {

void write_core(const Subject& subject, const inspect::CoreFile& core, int fd, const std::string& name,
                Progress& progress, const std::function<void()>& check) {
    if (core.size() > INT64_MAX || ::ftruncate(fd, static_cast<off_t>(core.size())) != 0) {
        int e = core.size() > INT64_MAX ? EFBIG : errno;
        base::throw_errno(e, fmt::format("write {}", name));
    }
    core.write([&](uint64_t offset,
                   std::span<const std::byte> bytes) { base::pwrite_full(fd, bytes, offset, name); },
               [&](uint64_t done) {
                   if (check) check();
                   progress.show("writing the core", done, core.memory_bytes());
               },
               subject.reads_anywhere() ? inspect::ordered_workers() : 1);
}

}  // namespace cprewind::cli
