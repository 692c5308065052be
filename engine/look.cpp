#include "engine/look.h"

#include "base/fd.h"
#include "engine/recover.h"
#include "engine/snapshot_files.h"
#include "images/layer.h"

namespace cprewind::engine {

FrozenMoment look(DockerClient& docker, const std::string& name,
                  const std::filesystem::path& fallback_staging, const Report& report) {
    ContainerLock lock(find_container(docker, name).id,
                       [&] { report("waiting for another cprewind", 0, 0); });
    recover_container(docker, lock, find_container(docker, name).id, fallback_staging.parent_path(), report);
    Container container = find_container(docker, name);
    report("freezing", 0, 0);
    FrozenMoment moment = take_moment(docker, container, {Via::automatic, fallback_staging, lock});
    moment.layer->finish();
    base::replace_file(moment.staging->path() / k_layer_tree, images::encode_layer(moment.layer->tree()));
    base::replace_file(moment.staging->path() / k_container_file, container.raw.dump());
    return moment;
}

}  // namespace cprewind::engine
