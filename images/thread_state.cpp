#include "images/thread_state.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/process.pb.h"
#include "images/registers.h"

namespace cprewind::images {

namespace {

constexpr size_t k_fxsave_size = 512;
constexpr size_t k_mask_offset = 464;
constexpr size_t k_header_size = 64;
constexpr uint64_t k_x87_and_sse = 3;
// The code segment of 32-bit programs on a 64-bit kernel.
constexpr uint64_t k_compat_code_segment = 0x23;
constexpr uint64_t k_shadow_stack_bit = 1;

// Puts `values` at `offset`; what would not fit into `size` bytes is left out, what is missing stays zero.
template <typename Values>
void put(std::string& area, size_t offset, size_t size, const Values& values) {
    size_t width = sizeof(*values.begin());
    for (auto value : values) {
        if (size < width) return;
        std::memcpy(area.data() + offset, &value, width);
        offset += width;
        size -= width;
    }
}

std::string make_fxsave(const criu::user_x86_fpregs_entry& regs) {
    std::string area;
    for (uint32_t word : {regs.cwd(), regs.swd(), regs.twd(), regs.fop()})
        base::append_integer(area, static_cast<uint16_t>(word));
    base::append_integer(area, regs.rip());
    base::append_integer(area, regs.rdp());
    base::append_integer(area, regs.mxcsr());
    base::append_integer(area, regs.mxcsr_mask());
    area.resize(k_fxsave_size, '\0');
    put(area, 32, 128, regs.st_space());
    put(area, 160, 256, regs.xmm_space());
    put(area, 416, 96, regs.padding());
    return area;
}

std::string make_xsave(const std::string& fxsave, const criu::user_x86_xsave_entry& xsave) {
    std::string area = fxsave;
    area.resize(k_fxsave_size + k_header_size, '\0');
    uint64_t features = k_x87_and_sse;
    auto component = [&](unsigned feature, size_t offset, size_t size, const auto& values) {
        if (values.empty()) return;
        features |= uint64_t{1} << feature;
        area.resize(std::max(area.size(), offset + size), '\0');
        put(area, offset, size, values);
    };
    component(2, 576, 256, xsave.ymmh_space());
    component(3, 960, 64, xsave.bndreg_state());
    component(4, 1024, 64, xsave.bndcsr_state());
    component(5, 1088, 64, xsave.opmask_reg());
    component(6, 1152, 512, xsave.zmm_upper());
    component(7, 1664, 1024, xsave.hi16_zmm());
    component(9, 2688, 8, xsave.pkru());
    uint64_t used = xsave.xstate_bv() & features;
    std::memcpy(area.data() + k_mask_offset, &features, sizeof(features));
    std::memcpy(area.data() + k_fxsave_size, &used, sizeof(used));
    return area;
}

void read_x86(const criu::thread_info_x86& info, ThreadState& state) {
    const criu::user_x86_regs_entry& r = info.gpregs();
    state.is_32_bit = r.mode() == criu::COMPAT || r.cs() == k_compat_code_segment;
    state.general = {r.r15(),     r.r14(),     r.r13(), r.r12(), r.bp(),    r.bx(), r.r11(),
                     r.r10(),     r.r9(),      r.r8(),  r.ax(),  r.cx(),    r.dx(), r.si(),
                     r.di(),      r.orig_ax(), r.ip(),  r.cs(),  r.flags(), r.sp(), r.ss(),
                     r.fs_base(), r.gs_base(), r.ds(),  r.es(),  r.fs(),    r.gs()};
    state.floating_point = make_fxsave(info.fpregs());
    if (!info.fpregs().has_xsave()) return;
    const criu::user_x86_xsave_entry& xsave = info.fpregs().xsave();
    state.extended = make_xsave(state.floating_point, xsave);
    if (xsave.has_cet() && (xsave.cet().cet() & k_shadow_stack_bit) != 0)
        state.shadow_stack_pointer = xsave.cet().ssp();
}

void read_aarch64(const criu::thread_info_aarch64& info, ThreadState& state) {
    constexpr size_t k_numbered = 31, k_vector_bytes = 512, k_size = 528;
    const criu::user_aarch64_regs_entry& r = info.gpregs();
    state.general.assign(r.regs().begin(), r.regs().end());
    state.general.resize(k_numbered);
    state.general.insert(state.general.end(), {r.sp(), r.pc(), r.pstate()});
    state.floating_point.assign(k_vector_bytes, '\0');
    put(state.floating_point, 0, k_vector_bytes, info.fpsimd().vregs());
    base::append_integer(state.floating_point, info.fpsimd().fpsr());
    base::append_integer(state.floating_point, info.fpsimd().fpcr());
    state.floating_point.resize(k_size, '\0');
    state.tls = info.tls();
    state.signs_addresses = info.pac_keys().has_pac_address_keys();
}

}  // namespace

ThreadState read_thread_state(const criu::core_entry& core) {
    ThreadState state;
    state.architecture = architecture_of(core);
    if (state.architecture == Architecture::x86_64 && core.has_thread_info()) {
        read_x86(core.thread_info(), state);
    } else if (state.architecture == Architecture::aarch64 && core.has_ti_aarch64()) {
        read_aarch64(core.ti_aarch64(), state);
    }
    return state;
}

std::optional<ThreadState> load_thread_state(const ImageSource& source, DumpPid tid, Findings& findings) {
    const ImageKind& kind = image_kind("CORE");
    criu::core_entry core;
    // What is odd in the image was told when the model was loaded.
    Findings told;
    std::string name = image_file_name(kind, tid.value);
    if (read_single(source, name, kind, core, told)) return read_thread_state(core);
    for (Finding& finding : told) add_finding(findings, std::move(finding));
    return std::nullopt;
}

}  // namespace cprewind::images
