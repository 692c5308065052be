// A progress line on standard error while long work is under way: what, how far, how fast, how long still.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "engine/snap.h"

namespace cprewind::cli {

// Draws only on a terminal and only what takes longer than half a second; leaves nothing behind.
class Progress {
 public:
    explicit Progress(bool wanted);
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void show(const std::string& doing, uint64_t done, uint64_t total);
    void clear();
    // As the engine wants it; valid while this lives.
    engine::Report report();

 private:
    bool enabled_;
    bool drawn_ = false;
    std::string doing_;
    std::chrono::steady_clock::time_point began_{};
    std::chrono::steady_clock::time_point last_{};
};

}  // namespace cprewind::cli
