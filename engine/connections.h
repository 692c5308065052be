// What the sockets of a dump need of the world to be put back.
#pragma once

#include <string>
#include <vector>

#include "images/checkpoint.h"

namespace cprewind::engine {

// Its TCP connections whose other end is not in it: that one has moved on since, or is gone.
std::vector<const images::File*> outside_connections(const images::Checkpoint& checkpoint);
// Has it any?
bool talks_to_outside(const images::Checkpoint& checkpoint);

// The addresses, without ports, that its sockets are bound to: those that a loopback does not have anyway, each once.
std::vector<std::string> own_addresses(const images::Checkpoint& checkpoint);

}  // namespace cprewind::engine
