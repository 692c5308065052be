// What CRIU says when it gives up, and what that means: one table for error messages, `explain` and the tests.
#pragma once

#include <span>
#include <string_view>

namespace cprewind::engine {

enum class CriuPhase { dump, restore, either };

struct CriuMessage {
    // As it stands in CRIU's sources (3.17 to 4.2), with "*" for what varies. It may stand anywhere in a message.
    std::string_view text;
    CriuPhase phase;
    std::string_view cause;    // in plain words, no final stop: what is wrong, as an error message says it
    std::string_view meaning;  // what CRIU was about and what it met there
    std::string_view remedy;   // the next step
};

// Specific before general: the first one that fits is meant.
std::span<const CriuMessage> criu_messages();

// The row that fits `message` (without time stamp and source line), or null.
const CriuMessage* find_criu_message(std::string_view message);

// Lines of level "Error" that report a failure further down, or none at all, and explain nothing.
bool is_consequence(std::string_view message);

}  // namespace cprewind::engine
