#include "cli/import_export.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "engine/transfer.h"
#include "images/archive_source.h"
#include "store/repository.h"

namespace cprewind::cli {
namespace {

using base::Error;
using base::ErrorKind;

class FdFile : public images::ImageFile {
 public:
    FdFile(base::Fd fd, std::string name)
        : fd_(std::move(fd)), name_(std::move(name)), size_(base::file_size(fd_.get(), name_)) {}
    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        return base::pread_full(fd_.get(), out, offset, name_);
    }

 private:
    base::Fd fd_;
    std::string name_;
    uint64_t size_;
};

// A pipe cannot be read twice, and an import checks all before it stores any. The file has no name, so nothing is left.
base::Fd spool(const Context& context) {
    auto repository = store::open_repository(context.repository, store::OpenMode::create);
    base::Fd fd = base::open_file(repository->staging_path(), O_RDWR | O_TMPFILE);
    std::vector<std::byte> piece(1 << 20);
    while (size_t got = base::read_full(STDIN_FILENO, piece, "standard input"))
        base::write_full(fd.get(), std::span(piece).first(got), "the import's copy of standard input");
    return fd;
}

}  // namespace

std::unique_ptr<images::ImageSource> open_export(const Context& context, const std::string& path) {
    bool from_stdin = path == "-";
    std::error_code ignored;
    if (!from_stdin && std::filesystem::is_directory(path, ignored)) return nullptr;
    std::string name = from_stdin ? "standard input" : path;
    base::Fd fd = from_stdin ? spool(context) : base::open_file(path, O_RDONLY);
    try {
        auto files =
            std::make_unique<images::ArchiveSource>(std::make_shared<FdFile>(std::move(fd), name), "", name);
        if (!engine::is_export(*files)) return nullptr;
        // Cut off or flipped: what the archive lost, no digest would miss.
        if (!files->findings().empty()) {
            throw Error(ErrorKind::damaged,
                        fmt::format("{} is damaged: {}", base::escape(name),
                                    base::escape(files->findings().front().message)),
                        "export the snapshot again");
        }
        return files;
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::unsupported) throw;
        return nullptr;
    }
}

int import_export(Context& context, const images::ImageSource& files, const std::string& container_name) {
    auto repository = store::open_repository(context.repository, store::OpenMode::create);
    Progress progress(!context.json);
    engine::Imported imported = engine::import_snapshot(
        *repository, files, container_name,
        [&](uint64_t done, uint64_t total) { progress.show("importing", done, total); });
    progress.clear();
    if (context.json) {
        context.output.json({{"snapshot", record_json(imported.record)},
                             {"was_there", imported.was_there},
                             {"dropped_tags", imported.dropped_tags},
                             {"origin", nullptr},
                             {"verified_bytes", nullptr},
                             {"findings", Json::array()}});
        return exit_done;
    }
    context.output.line(imported.was_there ? fmt::format("{} is here already", imported.record.name())
                                           : fmt::format("{}: {}, {} stored", imported.record.name(),
                                                         record_content(imported.record),
                                                         base::human_bytes(imported.record.stored_bytes)));
    for (const std::string& tag : imported.dropped_tags) {
        complain(fmt::format("the tag '{}' stays with the snapshot that has it here", base::escape(tag)));
    }
    return exit_done;
}

}  // namespace cprewind::cli
