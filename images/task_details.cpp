// Turns the parts of a core image that only few views need into plain values.
#include "images/task_details.h"

#include <csignal>
#include <cstring>

#include "base/bytes.h"
#include "base/fd.h"
#include "images/proto/process.pb.h"

namespace cprewind::images {

namespace {

constexpr uint64_t k_micro = 1'000'000;
constexpr uint64_t k_nano = 1'000'000'000;

// Offsets in siginfo_t: three 32-bit integers, four bytes of padding, then a union.
constexpr size_t k_union = 16;

template <typename T>
std::optional<T> integer_at(const std::string& raw, size_t offset) {
    if (offset > raw.size()) return std::nullopt;
    return base::Cursor(base::as_bytes(raw).subspan(offset)).integer<T>();
}

std::vector<PendingSignal> read_queue(const criu::signal_queue_entry& queue) {
    std::vector<PendingSignal> out;
    for (const auto& entry : queue.signals()) out.push_back(parse_siginfo(entry.siginfo()));
    return out;
}

IntervalTimer read_timer(const char* name, const criu::itimer_entry& entry) {
    return {name, join_time(entry.isec(), entry.iusec(), k_micro),
            join_time(entry.vsec(), entry.vusec(), k_micro)};
}

}  // namespace

uint64_t join_time(uint64_t seconds, uint64_t part, uint64_t unit) {
    if (seconds > (UINT64_MAX - part) / unit) return UINT64_MAX;
    return seconds * unit + part;
}

PendingSignal parse_siginfo(const std::string& raw) {
    PendingSignal out;
    out.raw = raw;
    out.signal = integer_at<uint32_t>(raw, 0).value_or(0);
    out.error = static_cast<int32_t>(integer_at<uint32_t>(raw, 4).value_or(0));
    out.code = static_cast<int32_t>(integer_at<uint32_t>(raw, 8).value_or(0));
    switch (out.code) {
        case SI_USER:
        case SI_TKILL:
            out.pid = integer_at<uint32_t>(raw, k_union);
            out.uid = integer_at<uint32_t>(raw, k_union + 4);
            return out;
        case SI_QUEUE:
        case SI_MESGQ:
            out.pid = integer_at<uint32_t>(raw, k_union);
            out.uid = integer_at<uint32_t>(raw, k_union + 4);
            out.value = integer_at<uint64_t>(raw, k_union + 8);
            return out;
        case SI_TIMER:
            out.value = integer_at<uint64_t>(raw, k_union + 8);
            return out;
        default:
            break;
    }
    if (out.code <= 0) return out;
    switch (out.signal) {  // codes of the kernel's own belong to their signal
        case SIGCHLD:
            out.pid = integer_at<uint32_t>(raw, k_union);
            out.uid = integer_at<uint32_t>(raw, k_union + 4);
            out.value = integer_at<uint32_t>(raw, k_union + 8);
            break;
        case SIGSEGV:
        case SIGBUS:
        case SIGILL:
        case SIGFPE:
        case SIGTRAP:
            out.address = integer_at<uint64_t>(raw, k_union);
            break;
        default:
            break;
    }
    return out;
}

ThreadDetails read_thread_details(const criu::core_entry& core) {
    ThreadDetails out;
    if (core.has_thread_info()) out.clear_tid = core.thread_info().clear_tid_addr();
    if (core.has_ti_aarch64()) out.clear_tid = core.ti_aarch64().clear_tid_addr();
    const criu::thread_core_entry& entry = core.thread_core();
    out.pending = read_queue(entry.signals_p());
    if (entry.has_sas())
        out.alternate_stack =
            AlternateStack{entry.sas().ss_sp(), entry.sas().ss_size(), entry.sas().ss_flags()};
    if (entry.has_pdeath_sig() && entry.pdeath_sig() != 0) out.parent_death_signal = entry.pdeath_sig();
    if (entry.has_cg_set()) out.cgroup_set = entry.cg_set();
    if (!out.cgroup_set && core.tc().has_cg_set()) out.cgroup_set = core.tc().cg_set();
    if (entry.has_seccomp_filter()) out.seccomp_filter = entry.seccomp_filter();
    if (!out.seccomp_filter && core.tc().has_old_seccomp_filter())
        out.seccomp_filter = core.tc().old_seccomp_filter();
    out.robust_list = entry.futex_rla();
    return out;
}

TaskDetails read_task_details(const criu::core_entry& core) {
    TaskDetails out;
    const criu::task_core_entry& task = core.tc();
    uint32_t signal = 0;
    for (const auto& entry : task.sigactions()) {
        ++signal;
        while (signal == SIGKILL || signal == SIGSTOP) ++signal;
        out.actions.push_back({signal, entry.sigaction(), entry.flags(), entry.restorer(), entry.mask()});
    }
    out.pending = read_queue(task.signals_s());
    if (task.has_timers()) {
        out.interval_timers = {read_timer("real", task.timers().real()),
                               read_timer("virtual", task.timers().virt()),
                               read_timer("profiling", task.timers().prof())};
        for (const auto& entry : task.timers().posix()) {
            PosixTimer timer;
            timer.id = entry.it_id();
            timer.clock = entry.clock_id();
            timer.signal = entry.si_signo();
            timer.notify = entry.it_sigev_notify();
            timer.value = entry.sival_ptr();
            timer.overrun = entry.overrun();
            timer.interval_ns = join_time(entry.isec(), entry.insec(), k_nano);
            timer.left_ns = join_time(entry.vsec(), entry.vnsec(), k_nano);
            if (entry.has_notify_thread_id()) timer.thread = entry.notify_thread_id();
            out.posix_timers.push_back(timer);
        }
    }
    out.personality = task.personality();
    if (task.has_stop_signo()) out.stop_signal = task.stop_signo();
    if (task.has_child_subreaper()) out.child_subreaper = task.child_subreaper();
    return out;
}

}  // namespace cprewind::images
