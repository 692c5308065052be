// From the command line to a command and its exit status; the one place where Errors end.
#pragma once

#include <string>
#include <vector>

namespace cprewind::cli {

// `arguments` without the program's name.
int run_app(const std::vector<std::string>& arguments);

}  // namespace cprewind::cli
