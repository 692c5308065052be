#include "tests/store/helpers.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/error.h"

namespace cprewind::store::test {

size_t BytesFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= content_.size()) return 0;
    size_t size = std::min(out.size(), content_.size() - static_cast<size_t>(offset));
    std::memcpy(out.data(), content_.data() + offset, size);
    return size;
}

std::string noise(size_t size, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string out(size, '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
}

std::string pattern(size_t size, uint64_t seed) {
    std::string out;
    for (uint64_t i = 0; out.size() < size; ++i) out += "key " + std::to_string(seed + i) + " of a table; ";
    out.resize(size);
    return out;
}

SnapshotInfo info_for(std::string container, int64_t second) {
    SnapshotInfo info;
    info.container_id = container + std::string(64 - container.size(), '0');
    info.container_name = std::move(container);
    info.container_image = "busybox:latest";
    info.taken_at = base::WallTime(std::chrono::seconds(second));
    info.stall = std::chrono::milliseconds(80);
    info.wall = std::chrono::milliseconds(900);
    info.message = "before the change";
    info.process_count = 2;
    info.memory_bytes = 4096;
    info.layer_bytes = 12;
    info.engine = "Docker 28.5.2";
    info.criu = "4.2";
    info.architecture = "x86_64";
    return info;
}

CatalogRows some_rows() {
    CatalogRows rows;
    rows.processes.push_back(
        {1, 0, "sh", std::string("sh\0-c\0sleep 1\0", 14), "/bin/sh", "sleeping", 1, 4096});
    rows.fds.push_back({1, 3, "tcp", "0.0.0.0:80"});
    rows.mappings.push_back({1, 0xffffffffff600000, 0xffffffffff601000, "r-xp", "vsyscall", "", 0});
    rows.files.push_back({"etc/h\xff", "regular", 12, -5, ""});
    return rows;
}

SnapshotRecord store(Repository& repository, const SnapshotInfo& info, const std::string& content) {
    auto writer = repository.begin();
    writer->add("container.json", "{}");
    writer->add("images/pages-1.img", BytesFile(content));
    return writer->commit(info, some_rows());
}

std::string read_back(const Repository& repository, const SnapshotRecord& record, std::string_view name) {
    auto file = repository.open(record)->open(name);
    if (!file) return "(absent)";
    std::string out(static_cast<size_t>(file->size()), '\0');
    size_t size = file->read_at(0, std::as_writable_bytes(std::span(out)));
    out.resize(size);
    return out;
}

std::string faults_of(const Repository& repository, bool with_harmless) {
    std::string out;
    for (const Fault& fault : repository.verify({}).faults) {
        if (with_harmless || !fault.harmless) out += fault.snapshot + ": " + fault.message + "\n";
    }
    return out;
}

int in_child(const std::function<void()>& body) {
    pid_t child = ::fork();
    if (child == 0) {
        try {
            body();
        } catch (...) {
            ::_exit(9);
        }
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}

void flip_bit(const std::filesystem::path& path, uint64_t offset, unsigned bit) {
    base::Fd fd = base::open_file(path, O_RDWR);
    std::byte byte{};
    base::pread_full(fd.get(), std::span(&byte, 1), offset, "test");
    byte ^= std::byte{1} << bit;
    base::pwrite_full(fd.get(), std::span(&byte, 1), offset, "test");
}

std::string error_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const base::Error& error) {
        return std::string(name_of(error.kind()));
    }
    return "none";
}

}  // namespace cprewind::store::test
