#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/text.h"

namespace cprewind::cli {
namespace {

using std::chrono::steady_clock;

std::string draw(const std::string& doing, uint64_t done, uint64_t total, steady_clock::duration spent) {
    if (total == 0) return fmt::format("{} …", doing);
    done = std::min(done, total);
    double part = static_cast<double>(done) / static_cast<double>(total);
    double seconds = std::chrono::duration<double>(spent).count();
    constexpr size_t k_width = 24;
    auto filled = static_cast<size_t>(part * k_width);
    std::string bar(filled, '#');
    bar.resize(k_width, '.');
    std::string rate;
    if (seconds > 0.2 && done > 0) {
        rate = fmt::format(
            "  {}/s, {} left", base::human_bytes(static_cast<uint64_t>(static_cast<double>(done) / seconds)),
            base::human_duration(
                std::chrono::nanoseconds(static_cast<int64_t>(seconds * (1 / part - 1) * 1e9))));
    }
    return fmt::format("{} [{}] {:3.0f} % of {}{}", doing, bar, part * 100, base::human_bytes(total), rate);
}

}  // namespace

Progress::Progress(bool wanted) : enabled_(wanted && ::isatty(STDERR_FILENO) == 1) {}

void Progress::show(const std::string& doing, uint64_t done, uint64_t total) {
    if (!enabled_) return;
    auto now = steady_clock::now();
    if (doing != doing_) {
        doing_ = doing;
        began_ = now;
        last_ = {};
    }
    if (now - began_ < std::chrono::milliseconds(500) || now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    std::string text = "\r" + draw(doing, done, total, now - began_) + "\x1b[K";
    std::fwrite(text.data(), 1, text.size(), stderr);
}

void Progress::clear() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
    drawn_ = false;
}

engine::Report Progress::report() {
    return [this](const std::string& doing, uint64_t done, uint64_t total) { show(doing, done, total); };
}

}  // namespace cprewind::cli
