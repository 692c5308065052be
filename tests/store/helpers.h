// What the tests of the store share: a repository in a temporary directory, files that live in memory, and
// ways to fill, damage and compare them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "images/image_source.h"
#include "store/repository.h"

namespace cprewind::store::test {

class BytesFile : public images::ImageFile {
 public:
    explicit BytesFile(std::string content) : content_(std::move(content)) {}
    uint64_t size() const override { return content_.size(); }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;

 private:
    std::string content_;
};

// Deterministic, incompressible.
std::string noise(size_t size, uint64_t seed);
// Compressible, no zero block.
std::string pattern(size_t size, uint64_t seed);

SnapshotInfo info_for(std::string container, int64_t second = 1'700'000'000);
CatalogRows some_rows();

struct Scratch {
    base::TemporaryDirectory directory{std::filesystem::temp_directory_path(), "cprewind-store-"};

    std::filesystem::path repo() const { return directory.path() / "repo"; }
    std::unique_ptr<Repository> open(OpenMode mode = OpenMode::create) const {
        return open_repository(repo(), mode);
    }
};

// Stores one snapshot with a small and a large file.
SnapshotRecord store(Repository& repository, const SnapshotInfo& info, const std::string& content);

// The whole of a stored file.
std::string read_back(const Repository& repository, const SnapshotRecord& record, std::string_view name);

// All faults in one string, for CAPTURE and comparison; "" when the repository is sound.
std::string faults_of(const Repository& repository, bool with_harmless = true);

// Runs `body` in a forked child; its wait status. The child ends without running destructors of ours.
int in_child(const std::function<void()>& body);

void flip_bit(const std::filesystem::path& path, uint64_t offset, unsigned bit);

// The kind of the Error that `body` throws, or "none".
std::string error_of(const std::function<void()>& body);

}  // namespace cprewind::store::test
