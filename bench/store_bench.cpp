// The page store without Docker, for bench/store.py: saves a directory of CRIU images as the next snapshot of
// a timeline, and writes the files of a snapshot out again, both through the same calls as snap and rewind.
//
//   store_bench save REPOSITORY DIRECTORY TIMELINE    prints name, raw and stored bytes
//   store_bench extract REPOSITORY SNAPSHOT DIRECTORY
#include <fcntl.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "engine/page_addresses.h"
#include "images/checkpoint.h"
#include "images/directory_source.h"
#include "store/extract.h"
#include "store/repository.h"

namespace {

using namespace cprewind;
namespace fs = std::filesystem;

constexpr std::string_view k_prefix = "images/";

void save(const fs::path& path, const fs::path& directory, const std::string& timeline) {
    auto repository = store::open_repository(path, store::OpenMode::create);
    images::DirectorySource images(directory);
    store::SnapshotInfo info;
    info.container_name = timeline;
    info.container_id = base::digest_of(base::as_bytes(timeline)).hex();
    info.container_image = "bench";
    info.parent = repository->head(info.container_id);
    info.taken_at = std::chrono::system_clock::now();
    auto addresses = engine::page_addresses(images, images::load_checkpoint(images));
    auto writer = repository->begin(info.parent);
    for (const std::string& name : images.list())
        writer->add(std::string(k_prefix) + name, *images.open(name), {}, addresses[name]);
    store::SnapshotRecord record = writer->commit(info, {});
    fmt::print("{} {} {}\n", record.name(), record.raw_bytes, record.stored_bytes);
}

void extract(const fs::path& path, const std::string& reference, const fs::path& directory) {
    auto repository = store::open_repository(path, store::OpenMode::read);
    auto source = repository->open(repository->resolve(reference, std::chrono::system_clock::now()));
    base::make_private_directory(directory);
    for (const std::string& name : source->list()) {
        if (!name.starts_with(k_prefix)) continue;
        base::Fd out = base::open_file(directory / name.substr(k_prefix.size()), O_RDWR | O_CREAT | O_EXCL);
        store::extract(*source->open(name), out.get());
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (words.size() == 4 && words[0] == "save") {
            save(words[1], words[2], words[3]);
        } else if (words.size() == 4 && words[0] == "extract") {
            extract(words[1], words[2], words[3]);
        } else {
            fmt::print(stderr,
                       "usage: store_bench save REPOSITORY DIRECTORY TIMELINE\n"
                       "       store_bench extract REPOSITORY SNAPSHOT DIRECTORY\n");
            return 2;
        }
    } catch (const base::Error& error) {
        fmt::print(stderr, "store_bench: {}\n", error.message());
        return 1;
    }
    return 0;
}
