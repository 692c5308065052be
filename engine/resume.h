// Letting a frozen container run on, though Docker may be dead.
#pragma once

#include <chrono>
#include <string>

namespace cprewind::engine {

// Resumes the container that we paused: through Docker, or where Docker does not answer through the container's
// runtime, which needs nobody (dockerd sees for itself when it is back). Takes back the note that we paused it.
// Being not paused is no error. Throws base::Error.
void resume_container(const std::string& id);

// Waits until Docker answers, at most so long. False: it does not. After a crash dockerd is down for seconds.
bool wait_for_docker(std::chrono::seconds patience);

}  // namespace cprewind::engine
