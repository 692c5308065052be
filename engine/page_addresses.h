// Where the bytes of the pages files lay in memory: what tells the repository which page of the parent snapshot a page
// was.
#pragma once

#include <map>
#include <string>

#include "images/checkpoint.h"
#include "store/repository.h"

namespace cprewind::engine {

// By the name of the pages file. Shared memory goes by the first place where it is mapped, since its number is another
// after each restore.
std::map<std::string, store::PageAddresses> page_addresses(const images::ImageSource& images,
                                                           const images::Checkpoint& checkpoint);

}  // namespace cprewind::engine
