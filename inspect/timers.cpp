#include "inspect/timers.h"

#include <csignal>
#include <string_view>

#include "inspect/names.h"

namespace cprewind::inspect {

namespace {

uint64_t to_ns(uint64_t us) {
    return us > UINT64_MAX / 1000 ? UINT64_MAX : us * 1000;
}

std::string signal_of(std::string_view name) {
    return name == "real" ? "SIGALRM" : name == "virtual" ? "SIGVTALRM" : "SIGPROF";
}

void add_process(const images::Process& process, std::vector<TimerRow>& rows) {
    for (const images::IntervalTimer& timer : process.details.interval_timers) {
        if (timer.left_us == 0 && timer.interval_us == 0) continue;
        TimerRow row;
        row.kind = "itimer";
        row.pid = process.pid;
        row.comm = process.comm;
        row.clock = timer.name;
        row.left_ns = to_ns(timer.left_us);
        row.interval_ns = to_ns(timer.interval_us);
        row.signal = signal_of(timer.name);
        rows.push_back(std::move(row));
    }
    for (const images::PosixTimer& timer : process.details.posix_timers) {
        TimerRow row;
        row.kind = "posix";
        row.pid = process.pid;
        row.comm = process.comm;
        row.id = timer.id;
        row.clock = clock_name(timer.clock);
        row.left_ns = timer.left_ns;
        row.interval_ns = timer.interval_ns;
        if (timer.notify != SIGEV_NONE) row.signal = signal_name(timer.signal);
        row.notify = notify_name(timer.notify);
        row.thread = timer.thread;
        row.value = timer.value;
        row.expired = timer.overrun;
        rows.push_back(std::move(row));
    }
}

}  // namespace

std::vector<TimerRow> list_timers(const images::Checkpoint& checkpoint) {
    std::vector<TimerRow> rows;
    for (const images::Process& process : checkpoint.processes) add_process(process, rows);
    Holders holders = find_holders(checkpoint);
    for (const auto& [id, file] : checkpoint.files) {
        if (!file.details.timer) continue;
        TimerRow row;
        row.kind = "timerfd";
        row.id = id;
        row.clock = clock_name(file.details.timer->clock);
        row.left_ns = file.details.timer->left_ns;
        row.interval_ns = file.details.timer->interval_ns;
        row.expired = file.details.timer->ticks;
        auto held = holders.find(id);
        if (held != holders.end()) row.holders = held->second;
        rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace cprewind::inspect
