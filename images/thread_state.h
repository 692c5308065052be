// All registers of a thread as the kernel lays them out, for those who hand them on to a debugger: the model has the
// general ones by name, this has the rest (floating point, vectors) and the order.
//
// x86_64, of <sys/user.h>: user_regs_struct, 27 words; user_fpregs_struct, 512 bytes (FXSAVE); and the XSAVE area in
// its standard form: FXSAVE, at 464 in it the mask of features, at 512 the header with the mask of those in use, then
//
//   feature      2 AVX   3, 4 MPX     5 opmask  6 upper ZMM  7 ZMM 16-31  9 PKRU
//   offset       576     960, 1024    1088      1152         1664         2688
//
// These are the offsets of Intel's processors. AMD's differ, the image does not say which it was, and debuggers tell
// the two apart by the size: what is made here is always Intel's.
//
// aarch64: user_pt_regs, 34 words; user_fpsimd_state, 528 bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::criu {
class core_entry;
}

namespace cprewind::images {

struct ThreadState {
    Architecture architecture = Architecture::unknown;
    bool is_32_bit = false;                        // of a 64-bit kernel: 32-bit code
    std::vector<uint64_t> general;                 // empty for other architectures than these two
    std::string floating_point;                    // bytes as above
    std::string extended;                          // x86_64: the XSAVE area; "" when the image has none
    std::optional<uint64_t> tls;                   // aarch64: TPIDR_EL0
    std::optional<uint64_t> shadow_stack_pointer;  // x86_64
    bool signs_addresses = false;  // aarch64: return addresses may carry an authentication code
};

// Of core-<tid>.img. Nothing, with a finding, when it cannot be read.
std::optional<ThreadState> load_thread_state(const ImageSource& source, DumpPid tid, Findings& findings);
ThreadState read_thread_state(const criu::core_entry& core);

}  // namespace cprewind::images
