#include "inspect/stacks.h"

#include <elf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <memory>

#include "inspect/elf_modules.h"
#include "inspect/symbolise.h"
#include "inspect/thread_registers.h"

namespace cprewind::inspect {

namespace {

using images::Architecture;
using images::Process;

constexpr size_t k_frames_limit = 2048;

// DWARF's numbers of the registers, as places in ThreadState::general.
constexpr size_t k_x86_64[] = {x86_64::rax, x86_64::rdx, x86_64::rcx, x86_64::rbx, x86_64::rsi, x86_64::rdi,
                               x86_64::rbp, x86_64::rsp, x86_64::r8,  x86_64::r9,  x86_64::r10, x86_64::r11,
                               x86_64::r12, x86_64::r13, x86_64::r14, x86_64::r15, x86_64::rip};

struct EndElf {
    void operator()(Elf* elf) const { elf_end(elf); }
};

// Everything that the callbacks of libdwfl need, and what they find.
class Unwinder {
 public:
    Unwinder(Moment moment, const Process& process, const ContainerFiles& files, images::Findings& findings)
        : process_(process),
          memory_(moment.source, process, findings),
          full_(memory_, process, files),
          modules_(process, files, full_) {
        for (const images::Thread& thread : process.threads)
            states_.emplace(thread.tid.value, load_registers(moment, memory_, thread.tid, findings));
        expect_stacks();
    }
    Unwinder(const Unwinder&) = delete;
    Unwinder& operator=(const Unwinder&) = delete;

    std::vector<ThreadStack> run();

 private:
    struct Frame {
        uint64_t address = 0;
        bool is_activation = false;  // interrupted there, not called from there
        bool has_information = false;
        bool is_signal_handler = false;
    };

    void expect_stacks() const;
    bool attach();
    void unwind(const images::Thread& thread, ThreadStack& stack);
    bool is_code(uint64_t address) const;
    void look_up(Frame& frame) const;
    std::string end_of(const Frame& last) const;

    static pid_t next_thread(Dwfl*, void*, void**) { return 0; }
    static bool get_thread(Dwfl*, pid_t tid, void* self, void** argument);
    static bool read_memory(Dwfl*, Dwarf_Addr address, Dwarf_Word* result, void* self);
    static bool set_registers(Dwfl_Thread* thread, void* self);
    static int add_frame(Dwfl_Frame* state, void* self);

    const Process& process_;
    images::AddressSpace memory_;
    FullMemory full_;
    // Both must outlive the session of libdwfl, which is in modules_.
    Elf64_Ehdr machine_{};
    std::unique_ptr<Elf, EndElf> elf_;
    ElfModules modules_;
    std::map<uint32_t, std::optional<images::ThreadState>> states_;
    const images::ThreadState* current_ = nullptr;
    std::vector<Frame> frames_;
    bool too_many_ = false;
};

// Says which part of which stack will be read, so that a compressed archive is decoded once and not for each thread.
void Unwinder::expect_stacks() const {
    constexpr uint64_t k_all = 12u << 20, k_each = 256u << 10, k_page = 4096;
    uint64_t part = std::clamp(k_all / std::max<uint64_t>(1, states_.size()), k_page, k_each);
    for (const auto& [tid, state] : states_) {
        if (!state || state->general.empty()) continue;
        bool is_arm = state->architecture == Architecture::aarch64;
        uint64_t pointer = state->general[is_arm ? size_t{aarch64::sp} : size_t{x86_64::rsp}];
        if (pointer <= UINT64_MAX - part) memory_.expect({pointer, pointer + part});
    }
}

bool Unwinder::get_thread(Dwfl*, pid_t, void* self, void** argument) {
    *argument = self;
    return true;
}

bool Unwinder::read_memory(Dwfl*, Dwarf_Addr address, Dwarf_Word* result, void* self) {
    try {
        auto word = static_cast<Unwinder*>(self)->full_.word(address);
        if (!word) return false;
        *result = *word;
        return true;
    } catch (const std::exception&) {
        return false;
    }
}

bool Unwinder::set_registers(Dwfl_Thread* thread, void* self) {
    const std::vector<uint64_t>& general = static_cast<Unwinder*>(self)->current_->general;
    if (static_cast<Unwinder*>(self)->current_->architecture == Architecture::aarch64) {
        std::vector<Dwarf_Word> values(general.begin(), general.begin() + aarch64::sp + 1);
        dwfl_thread_state_register_pc(thread, general[aarch64::pc]);
        return dwfl_thread_state_registers(thread, 0, static_cast<unsigned>(values.size()), values.data());
    }
    std::vector<Dwarf_Word> values;
    for (size_t place : k_x86_64) values.push_back(general[place]);
    return dwfl_thread_state_registers(thread, 0, static_cast<unsigned>(values.size()), values.data());
}

int Unwinder::add_frame(Dwfl_Frame* state, void* argument) {
    auto* self = static_cast<Unwinder*>(argument);
    Frame frame;
    if (!dwfl_frame_pc(state, &frame.address, &frame.is_activation)) return DWARF_CB_ABORT;
    // Thumb of a return address that was signed, and what a broken chain runs into.
    if (frame.address == 0) return DWARF_CB_ABORT;
    // What frame pointers lead to is a guess: it is a caller only where code can be.
    bool guessed = !self->frames_.empty() && !self->frames_.back().has_information;
    if (guessed && !self->is_code(frame.address)) return DWARF_CB_ABORT;
    if (self->frames_.size() >= k_frames_limit) {
        self->too_many_ = true;
        return DWARF_CB_ABORT;
    }
    self->look_up(frame);
    self->frames_.push_back(frame);
    return DWARF_CB_OK;
}

bool Unwinder::is_code(uint64_t address) const {
    return std::any_of(
        process_.mappings.begin(), process_.mappings.end(), [&](const images::Mapping& mapping) {
            return address >= mapping.start && address < mapping.end && (mapping.protection & PROT_EXEC) != 0;
        });
}

// Whether call frame information tells who called, and whether it says that the kernel did.
void Unwinder::look_up(Frame& frame) const {
    uint64_t place = frame.is_activation ? frame.address : frame.address - 1;
    Dwfl_Module* module = dwfl_addrmodule(modules_.dwfl(), place);
    if (module == nullptr) return;
    for (auto* of : {dwfl_module_eh_cfi, dwfl_module_dwarf_cfi}) {
        Dwarf_Addr bias = 0;
        Dwarf_CFI* information = of(module, &bias);
        Dwarf_Frame* found = nullptr;
        if (information == nullptr || dwarf_cfi_addrframe(information, place - bias, &found) != 0) continue;
        Dwarf_Addr begin = 0, end = 0;
        bool is_signal = false;
        dwarf_frame_info(found, &begin, &end, &is_signal);
        std::free(found);
        frame.has_information = true;
        frame.is_signal_handler = is_signal;
        return;
    }
}

bool Unwinder::attach() {
    static const Dwfl_Thread_Callbacks k_callbacks = {next_thread,   get_thread, read_memory,
                                                      set_registers, nullptr,    nullptr};
    const images::ThreadState* any = nullptr;
    for (const auto& [tid, state] : states_) {
        if (state && !state->general.empty() && !state->is_32_bit) any = &*state;
    }
    if (any == nullptr) return false;
    // Tells libdw the machine, even when no file of the process is at hand.
    std::copy_n(ELFMAG, SELFMAG, machine_.e_ident);
    machine_.e_ident[EI_CLASS] = ELFCLASS64;
    machine_.e_ident[EI_DATA] = ELFDATA2LSB;
    machine_.e_ident[EI_VERSION] = EV_CURRENT;
    machine_.e_type = ET_CORE;
    machine_.e_machine = any->architecture == Architecture::aarch64 ? EM_AARCH64 : EM_X86_64;
    machine_.e_version = EV_CURRENT;
    machine_.e_ehsize = sizeof(machine_);
    elf_.reset(elf_memory(reinterpret_cast<char*>(&machine_), sizeof(machine_)));
    return elf_ != nullptr && dwfl_attach_state(modules_.dwfl(), elf_.get(),
                                                static_cast<pid_t>(process_.pid.value), &k_callbacks, this);
}

// Why the caller of the last frame is not known.
std::string Unwinder::end_of(const Frame& last) const {
    if (too_many_) return fmt::format("more than {} frames are not shown", k_frames_limit);
    uint64_t place = last.is_activation ? last.address : last.address - 1;
    const ElfModule* module = modules_.find(place);
    if (module == nullptr)
        return "its caller is not known: no file is mapped there, so nothing tells how to unwind it";
    if (!module->why_not.empty())
        return fmt::format("its caller is not known: {} is not at hand ({})", module->path, module->why_not);
    if (!last.has_information)
        return fmt::format("its caller is not known: {} has no call frame information for it", module->path);
    const char* message = dwfl_errmsg(-1);
    return fmt::format("its caller is not known: {}",
                       message != nullptr ? message : "the stack makes no sense");
}

void Unwinder::unwind(const images::Thread& thread, ThreadStack& stack) {
    const auto& state = states_.at(thread.tid.value);
    if (!state || state->general.empty()) {
        stack.end = "its registers are not in the images, or of an architecture that is not unwound";
        return;
    }
    if (state->is_32_bit) {
        stack.end = "it ran 32-bit code, which is not unwound";
        return;
    }
    current_ = &*state;
    frames_.clear();
    too_many_ = false;
    int result =
        dwfl_getthread_frames(modules_.dwfl(), static_cast<pid_t>(thread.tid.value), add_frame, this);
    for (size_t i = 0; i < frames_.size(); ++i) {
        StackFrame frame;
        frame.address = frames_[i].address;
        if (i > 0)
            frame.found_by =
                frames_[i - 1].has_information ? FoundBy::frame_information : FoundBy::frame_pointer;
        frame.is_signal_handler = frames_[i].is_signal_handler;
        auto named =
            symbolise(modules_, process_, frame, !frames_[i].is_activation && !frame.is_signal_handler);
        stack.frames.insert(stack.frames.end(), named.begin(), named.end());
    }
    if (frames_.empty()) {
        stack.end = "nothing is known of where it stands";
    } else if (result != 0 || !frames_.back().has_information) {
        stack.end = end_of(frames_.back());
    }
}

std::vector<ThreadStack> Unwinder::run() {
    std::vector<ThreadStack> stacks;
    bool attached = attach();
    for (const images::Thread& thread : process_.threads) {
        ThreadStack stack;
        stack.pid = process_.pid;
        stack.tid = thread.tid;
        stack.comm = thread.comm.empty() ? process_.comm : thread.comm;
        if (attached) {
            unwind(thread, stack);
        } else {
            stack.end = "stacks are unwound of 64-bit threads of x86_64 and aarch64 only";
        }
        stacks.push_back(std::move(stack));
    }
    return stacks;
}

}  // namespace

const char* name_of(FoundBy found_by) {
    switch (found_by) {
        case FoundBy::registers:
            return "registers";
        case FoundBy::frame_information:
            return "frame information";
        case FoundBy::frame_pointer:
            break;
    }
    return "frame pointer";
}

std::vector<ThreadStack> unwind_process(Moment moment, const Process& process, const ContainerFiles& files,
                                        images::Findings& findings) {
    return Unwinder(moment, process, files, findings).run();
}

std::vector<StackGroup> group_stacks(const std::vector<ThreadStack>& stacks) {
    std::vector<StackGroup> groups;
    std::map<std::string, size_t> known;
    for (const ThreadStack& stack : stacks) {
        std::string key = stack.end;
        for (const StackFrame& frame : stack.frames)
            key += fmt::format("|{}+{:x} {}", frame.object, frame.object_address, frame.function);
        auto [place, is_new] = known.try_emplace(key, groups.size());
        if (is_new) groups.emplace_back();
        groups[place->second].threads.push_back(&stack);
    }
    return groups;
}

}  // namespace cprewind::inspect
