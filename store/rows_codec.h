// The catalog's rows of what was inside a snapshot, as bytes: they travel in its pack, so that the catalog
// can be made again from the packs and `verify` can tell whether a row was changed.
//
//   rows = processes fds mappings files, each: count u32, then the fields of its rows in the order of
//   store/record.h;
//          integers as u64 (two's complement), text as length u32 and bytes
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "store/record.h"

namespace cprewind::store {

// As the catalog keeps them: NULs between arguments become blanks, because SQL's text functions stop at a
// NUL.
CatalogRows normalized(CatalogRows rows);

std::string make_rows(const CatalogRows& rows);
CatalogRows parse_rows(std::span<const std::byte> bytes, std::string_view name);

}  // namespace cprewind::store
