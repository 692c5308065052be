#include "images/registers.h"

#include <iterator>

#include "images/proto/process.pb.h"

namespace cprewind::images {

namespace {

std::vector<Register> x86_registers(const criu::user_x86_regs_entry& regs) {
    return {{"rax", regs.ax()},          {"rbx", regs.bx()},          {"rcx", regs.cx()},
            {"rdx", regs.dx()},          {"rsi", regs.si()},          {"rdi", regs.di()},
            {"rbp", regs.bp()},          {"rsp", regs.sp()},          {"r8", regs.r8()},
            {"r9", regs.r9()},           {"r10", regs.r10()},         {"r11", regs.r11()},
            {"r12", regs.r12()},         {"r13", regs.r13()},         {"r14", regs.r14()},
            {"r15", regs.r15()},         {"rip", regs.ip()},          {"eflags", regs.flags()},
            {"cs", regs.cs()},           {"ss", regs.ss()},           {"ds", regs.ds()},
            {"es", regs.es()},           {"fs", regs.fs()},           {"gs", regs.gs()},
            {"fs_base", regs.fs_base()}, {"gs_base", regs.gs_base()}, {"orig_rax", regs.orig_ax()}};
}

std::vector<Register> aarch64_registers(const criu::user_aarch64_regs_entry& regs) {
    constexpr const char* k_names[] = {"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",
                                       "x8",  "x9",  "x10", "x11", "x12", "x13", "x14", "x15",
                                       "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23",
                                       "x24", "x25", "x26", "x27", "x28", "x29", "x30"};
    std::vector<Register> out;
    for (int i = 0; i < regs.regs_size() && i < static_cast<int>(std::size(k_names)); ++i) {
        out.push_back({k_names[i], regs.regs(i)});
    }
    out.push_back({"sp", regs.sp()});
    out.push_back({"pc", regs.pc()});
    out.push_back({"pstate", regs.pstate()});
    return out;
}

// Where the schema names registers as debuggers do, or numbers them r0, r1, …: its fields in its order, of the repeated
// ones the first (the second are those of s390x that nobody has used since ESA).
std::vector<Register> numbered_registers(const google::protobuf::Message& regs) {
    constexpr const char* k_names[] = {"r0",  "r1",  "r2",  "r3",  "r4",  "r5",  "r6",  "r7",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
                                       "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23",
                                       "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31"};
    using google::protobuf::FieldDescriptor;
    std::vector<Register> out;
    const auto& type = *regs.GetDescriptor();
    const auto& get = *regs.GetReflection();
    for (int i = 0; i < type.field_count(); ++i) {
        const FieldDescriptor* field = type.field(i);
        bool wide = field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
        if (!wide && field->cpp_type() != FieldDescriptor::CPPTYPE_UINT32) continue;
        if (!field->is_repeated()) {
            if (!get.HasField(regs, field)) continue;
            out.push_back(
                {field->name().c_str(), wide ? get.GetUInt64(regs, field) : get.GetUInt32(regs, field)});
            continue;
        }
        if (!wide) continue;
        for (int n = 0; n < get.FieldSize(regs, field) && n < static_cast<int>(std::size(k_names)); ++n) {
            out.push_back({k_names[n], get.GetRepeatedUInt64(regs, field, n)});
        }
    }
    return out;
}

}  // namespace

Architecture architecture_of(const criu::core_entry& core) {
    switch (core.mtype()) {
        case criu::core_entry::X86_64:
            return Architecture::x86_64;
        case criu::core_entry::ARM:
            return Architecture::arm;
        case criu::core_entry::AARCH64:
            return Architecture::aarch64;
        case criu::core_entry::PPC64:
            return Architecture::ppc64;
        case criu::core_entry::S390:
            return Architecture::s390;
        case criu::core_entry::MIPS:
            return Architecture::mips;
        case criu::core_entry::LOONGARCH64:
            return Architecture::loongarch64;
        case criu::core_entry::RISCV64:
            return Architecture::riscv64;
        case criu::core_entry::UNKNOWN:
            break;
    }
    return Architecture::unknown;
}

std::vector<Register> read_registers(const criu::core_entry& core) {
    if (core.thread_info().has_gpregs()) return x86_registers(core.thread_info().gpregs());
    if (core.ti_aarch64().has_gpregs()) return aarch64_registers(core.ti_aarch64().gpregs());
    if (core.ti_arm().has_gpregs()) return numbered_registers(core.ti_arm().gpregs());
    if (core.ti_ppc64().has_gpregs()) return numbered_registers(core.ti_ppc64().gpregs());
    if (core.ti_s390().has_gpregs()) return numbered_registers(core.ti_s390().gpregs());
    if (core.ti_mips().has_gpregs()) return numbered_registers(core.ti_mips().gpregs());
    if (core.ti_loongarch64().has_gpregs()) return numbered_registers(core.ti_loongarch64().gpregs());
    if (core.ti_riscv64().has_gpregs()) return numbered_registers(core.ti_riscv64().gpregs());
    return {};
}

}  // namespace cprewind::images
