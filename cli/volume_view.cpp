#include "cli/volume_view.h"

#include "cli/json_text.h"

namespace cprewind::cli {

Json volume_json(const images::Volume& volume) {
    Json item;
    item["kind"] = images::name_of(volume.kind);
    put_bytes(item, "name", volume.name);
    put_bytes(item, "destination", volume.destination);
    put_bytes(item, "source", volume.source);
    return item;
}

}  // namespace cprewind::cli
