// What waits in the queues of pipes, FIFOs, sockets and terminals, as a text that two moments can be compared by.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "inspect/moment.h"

namespace cprewind::inspect {

// Of one open file: `5 bytes "hello"`; longer ones show their beginning and a digest. Empty: nothing waits.
struct QueueText {
    std::string in;   // to be read by whoever has it
    std::string out;  // TCP: written and not acknowledged
};

// By id of the open file. Bytes that cannot be read are a finding, and their queue is told by its size alone.
std::map<uint32_t, QueueText> queue_texts(Moment moment, images::Findings& findings);

}  // namespace cprewind::inspect
