#include "inspect/bpf.h"

#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstring>

#include "base/bytes.h"
#include "base/fd.h"
#include "inspect/syscall_names.h"

namespace cprewind::inspect {

namespace {

// What the accumulator holds, as far as it was loaded by the instruction before: offsets in struct seccomp_data.
enum class Holds { other, number, architecture };

struct Instruction {
    uint16_t code = 0;
    uint8_t yes = 0;
    uint8_t no = 0;
    uint32_t k = 0;
};

std::string data_name(uint32_t offset) {
    if (offset == offsetof(seccomp_data, nr)) return "nr";
    if (offset == offsetof(seccomp_data, arch)) return "arch";
    if (offset == offsetof(seccomp_data, instruction_pointer)) return "ip.low";
    if (offset == offsetof(seccomp_data, instruction_pointer) + 4) return "ip.high";
    uint32_t first = offsetof(seccomp_data, args);
    if (offset >= first && offset < sizeof(seccomp_data) && offset % 4 == 0)
        return fmt::format("args[{}].{}", (offset - first) / 8, offset % 8 == 0 ? "low" : "high");
    return fmt::format("[{}]", offset);
}

std::string return_name(uint32_t value) {
    uint32_t data = value & SECCOMP_RET_DATA;
    switch (value & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_KILL_PROCESS:
            return "KILL_PROCESS";
        case SECCOMP_RET_KILL_THREAD:
            return "KILL_THREAD";
        case SECCOMP_RET_TRAP:
            return fmt::format("TRAP({})", data);
        case SECCOMP_RET_ERRNO:
            return fmt::format("ERRNO({}{})", data,
                               strerrorname_np(static_cast<int>(data)) != nullptr && data != 0
                                   ? fmt::format(" {}", strerrorname_np(static_cast<int>(data)))
                                   : "");
        case SECCOMP_RET_USER_NOTIF:
            return "USER_NOTIF";
        case SECCOMP_RET_TRACE:
            return fmt::format("TRACE({})", data);
        case SECCOMP_RET_LOG:
            return "LOG";
        case SECCOMP_RET_ALLOW:
            return "ALLOW";
        default:
            return fmt::format("{:#x}", value);
    }
}

std::string meaning(uint32_t k, Holds holds, images::Architecture architecture) {
    if (holds == Holds::number) {
        const char* name = syscall_name(architecture, k);
        return name != nullptr ? fmt::format(" ({})", name) : "";
    }
    if (holds != Holds::architecture) return "";
    switch (k) {
        case AUDIT_ARCH_X86_64:
            return " (x86_64)";
        case AUDIT_ARCH_I386:
            return " (i386)";
        case AUDIT_ARCH_AARCH64:
            return " (aarch64)";
        case AUDIT_ARCH_ARM:
            return " (arm)";
        case AUDIT_ARCH_S390X:
            return " (s390x)";
        case AUDIT_ARCH_PPC64LE:
            return " (ppc64le)";
        case AUDIT_ARCH_RISCV64:
            return " (riscv64)";
        default:
            return "";
    }
}

std::string load(const Instruction& one, const char* target) {
    switch (BPF_MODE(one.code)) {
        case BPF_IMM:
            return fmt::format("{} #{:#x}", target, one.k);
        case BPF_ABS:
            return fmt::format("{} {}", target, data_name(one.k));
        case BPF_MEM:
            return fmt::format("{} M[{}]", target, one.k);
        case BPF_LEN:
            return fmt::format("{} len", target);
        default:
            return fmt::format("{} mode {:#x} {:#x}", target, BPF_MODE(one.code), one.k);
    }
}

std::string arithmetic(const Instruction& one) {
    constexpr const char* k_names[] = {"add", "sub", "mul", "div", "or", "and",
                                       "lsh", "rsh", "neg", "mod", "xor"};
    uint32_t index = BPF_OP(one.code) >> 4;
    if (index >= std::size(k_names)) return fmt::format("alu {:#x} {:#x}", one.code, one.k);
    if (BPF_OP(one.code) == BPF_NEG) return "neg";
    return BPF_SRC(one.code) == BPF_X ? fmt::format("{} x", k_names[index])
                                      : fmt::format("{} #{:#x}", k_names[index], one.k);
}

std::string jump(const Instruction& one, size_t at, Holds holds, images::Architecture architecture) {
    if (BPF_OP(one.code) == BPF_JA) return fmt::format("ja {}", at + 1 + one.k);
    constexpr const char* k_names[] = {"ja", "jeq", "jgt", "jge", "jset"};
    uint32_t index = BPF_OP(one.code) >> 4;
    if (index >= std::size(k_names)) return fmt::format("jmp {:#x} {:#x}", one.code, one.k);
    std::string operand = BPF_SRC(one.code) == BPF_X
                              ? "x"
                              : fmt::format("#{:#x}{}", one.k, meaning(one.k, holds, architecture));
    return fmt::format("{} {} ? {} : {}", k_names[index], operand, at + 1 + one.yes, at + 1 + one.no);
}

std::string one_line(const Instruction& one, size_t at, Holds holds, images::Architecture architecture) {
    switch (BPF_CLASS(one.code)) {
        case BPF_LD:
            return load(one, "ld");
        case BPF_LDX:
            return load(one, "ldx");
        case BPF_ST:
            return fmt::format("st M[{}]", one.k);
        case BPF_STX:
            return fmt::format("stx M[{}]", one.k);
        case BPF_ALU:
            return arithmetic(one);
        case BPF_JMP:
            return jump(one, at, holds, architecture);
        case BPF_RET:
            return BPF_RVAL(one.code) == BPF_A ? "ret a" : "ret " + return_name(one.k);
        default:
            return (one.code & 0xf8) == BPF_TXA ? "txa" : "tax";
    }
}

}  // namespace

std::vector<std::string> disassemble_seccomp(std::string_view program, images::Architecture architecture) {
    // BPF_MAXINSNS; the kernel takes no longer ones.
    constexpr size_t k_longest = 4096;
    std::vector<std::string> lines;
    base::Cursor cursor(base::as_bytes(program));
    Holds holds = Holds::other;
    while (cursor.left() >= sizeof(sock_filter) && lines.size() < k_longest) {
        Instruction one{*cursor.integer<uint16_t>(), *cursor.integer<uint8_t>(), *cursor.integer<uint8_t>(),
                        *cursor.integer<uint32_t>()};
        size_t at = lines.size();
        lines.push_back(fmt::format("{:04} {}", at, one_line(one, at, holds, architecture)));
        if (BPF_CLASS(one.code) == BPF_LD) {
            bool absolute = BPF_MODE(one.code) == BPF_ABS;
            holds = absolute && one.k == offsetof(seccomp_data, nr)     ? Holds::number
                    : absolute && one.k == offsetof(seccomp_data, arch) ? Holds::architecture
                                                                        : Holds::other;
        } else if (BPF_CLASS(one.code) == BPF_ALU || BPF_CLASS(one.code) == BPF_MISC) {
            holds = Holds::other;
        }
    }
    if (!cursor.at_end()) lines.push_back(fmt::format("{} more bytes", cursor.left()));
    return lines;
}

}  // namespace cprewind::inspect
