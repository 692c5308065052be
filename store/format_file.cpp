#include "store/format_file.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::store {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::string_view k_first_line = "cprewind repository";

[[noreturn]] void no_repository(const fs::path& path) {
    throw Error(ErrorKind::not_found, fmt::format("there is no repository at {}", path.string()),
                "`cprewind snap` makes one; --repo or CPREWIND_REPO names another place");
}

}  // namespace

std::string make_format() {
    std::array<std::byte, 16> id{};
    CPREWIND_CHECK(getrandom(id.data(), id.size(), 0) == static_cast<ssize_t>(id.size()));
    return fmt::format("{}\nversion {}\nid {}\n", k_first_line, k_format_version, base::to_hex(id));
}

// The first two lines are the same in every version, so that each version can tell what it does not
// understand.
void check_format(const Layout& layout) {
    std::string text;
    try {
        text = base::read_file(layout.format(), 4096);
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::not_found) no_repository(layout.root);
        throw;
    }
    auto lines = base::split(text, '\n');
    constexpr std::string_view k_version_word = "version ";
    std::optional<uint64_t> version;
    if (lines.size() >= 2 && lines[0] == k_first_line && lines[1].starts_with(k_version_word)) {
        version = base::parse_number(std::string_view(lines[1]).substr(k_version_word.size()));
    }
    if (version && *version > k_format_version) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("the repository {} has format {}; this cprewind understands formats up to {}",
                                layout.root.string(), *version, k_format_version),
                    "use the cprewind that wrote it, or a newer one");
    }
    bool whole = version && *version > 0 && lines.size() == 4 && lines[3].empty() &&
                 lines[2].starts_with("id ") && lines[2].size() == 3 + 32 &&
                 lines[2].find_first_not_of("0123456789abcdef", 3) == std::string::npos;
    if (!whole) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} is not what cprewind wrote there", layout.format().string()),
                    "is this a repository at all? The file holds `cprewind repository`, a version and an id");
    }
}

void raise_format(const Layout& layout) {
    std::string text = base::read_file(layout.format(), 4096);
    std::string old = fmt::format("{}\nversion 1\n", k_first_line);
    if (!text.starts_with(old)) return;
    base::replace_file(layout.format(), fmt::format("{}\nversion {}\n{}", k_first_line, k_format_version,
                                                    text.substr(old.size())));
}

}  // namespace cprewind::store
