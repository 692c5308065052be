// Classic BPF, as seccomp filters are written in, made readable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "images/model.h"

namespace cprewind::inspect {

// A line for each instruction: "0003 jeq #0xa3 (acct) ? 4 : 5". `program` is struct sock_filter after struct
// sock_filter; a rest that is no whole instruction is told in a last line. Numbers that are compared with the system
// call's number get its name.
std::vector<std::string> disassemble_seccomp(std::string_view program, images::Architecture architecture);

}  // namespace cprewind::inspect
