// A directory that evidence is written into. Names come from the evidence, so nothing made here ever lies outside of it:
// every part of a path is opened on its own, never through a link, and no file is made where something is already.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/fd.h"

namespace cprewind::cli {

class OutputTree {
 public:
    // Made as 0700 when it is not there. Errors: io.
    explicit OutputTree(const std::filesystem::path& root);

    // `path` is relative; a part that is empty, "." or ".." is an Error (usage). Parents are made as needed.
    base::Fd create_file(const std::string& path);
    void make_directory(const std::string& path);

 private:
    base::Fd open_parent(const std::string& path, std::string& last);

    std::filesystem::path root_;
    base::Fd directory_;
};

}  // namespace cprewind::cli
