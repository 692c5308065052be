// Branches of a timeline in characters, as `git log --graph` draws them.
#pragma once

#include <string>
#include <vector>

namespace cprewind::cli {

struct TimelineNode {
    std::string id;
    std::string parent;  // empty: none
    std::string text;    // what stands beside it
};

// `nodes` with parents before children; drawn the other way, newest first. A parent that is not among them ends its
// line.
std::vector<std::string> draw_timeline(const std::vector<TimelineNode>& nodes);

}  // namespace cprewind::cli
