#include "cli/moment_now.h"

#include <filesystem>

#include "cli/progress.h"
#include "engine/look.h"
#include "engine/snapshot_files.h"
#include "images/directory_source.h"

namespace cprewind::cli {

namespace {
constexpr std::string_view k_now = "@now";
}

bool MomentNow::is_now(const std::string& reference) {
    return reference.ends_with(k_now) && reference.find('/') == std::string::npos;
}

Subject MomentNow::open(const std::string& reference, const engine::VolumeWish& volumes) {
    if (!is_now(reference)) return open_subject(context_, reference);
    // A dump that memory cannot hold goes beside the repository, or where temporary files go when there is none.
    std::error_code ignored;
    namespace fs = std::filesystem;
    fs::path fallback = fs::is_directory(context_.repository, ignored)
                            ? open_for_reading(context_)->staging_path()
                            : fs::temp_directory_path();
    engine::DockerClient docker;
    Progress progress(!context_.json);
    std::string container = reference.substr(0, reference.size() - k_now.size());
    taken_.push_back(engine::look(docker, container, fallback, volumes, progress.report()));
    progress.clear();
    const engine::FrozenMoment& moment = taken_.back();
    Subject subject;
    subject.name = reference;
    subject.files = std::make_unique<images::DirectorySource>(moment.staging->path());
    subject.images = std::make_unique<images::DirectorySource>(moment.images());
    load_subject(subject);
    return subject;
}

}  // namespace cprewind::cli
