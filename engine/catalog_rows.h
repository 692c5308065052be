// From the model of a checkpoint to the rows by which the catalog is searched.
#pragma once

#include "images/checkpoint.h"
#include "images/layer.h"
#include "store/record.h"

namespace cprewind::engine {

store::CatalogRows make_catalog_rows(const images::Checkpoint& checkpoint, const images::ImageSource& source,
                                     const images::LayerTree& layer);

}  // namespace cprewind::engine
