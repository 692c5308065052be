#include "cli/timeline_graph.h"

#include <algorithm>
#include <set>

namespace cprewind::cli {

std::vector<std::string> draw_timeline(const std::vector<TimelineNode>& nodes) {
    std::set<std::string> known;
    for (const TimelineNode& node : nodes) known.insert(node.id);
    std::vector<std::string> lanes;  // the id that each column waits for
    std::vector<std::string> lines;
    for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
        auto lane = std::find(lanes.begin(), lanes.end(), node->id);
        if (lane == lanes.end()) lane = lanes.insert(lanes.end(), node->id);
        size_t column = static_cast<size_t>(lane - lanes.begin());
        // Branches that begin here come together in the leftmost of their columns, one a line.
        for (size_t other = lanes.size(); other-- > column + 1;) {
            if (lanes[other] != node->id) continue;
            std::string line;
            for (size_t i = 0; i < lanes.size(); ++i) {
                if (i < other) line += i + 1 == other ? "|" : "| ";
                if (i == other) line += "/ ";
                if (i > other) line += "/ ";
            }
            line.erase(line.find_last_not_of(' ') + 1);
            lines.push_back(line);
            lanes.erase(lanes.begin() + static_cast<std::ptrdiff_t>(other));
        }
        std::string line;
        for (size_t i = 0; i < lanes.size(); ++i) line += i == column ? "* " : "| ";
        lines.push_back(line + node->text);
        if (known.contains(node->parent)) {
            lanes[column] = node->parent;
        } else {
            lanes.erase(lanes.begin() + static_cast<std::ptrdiff_t>(column));
        }
    }
    return lines;
}

}  // namespace cprewind::cli
