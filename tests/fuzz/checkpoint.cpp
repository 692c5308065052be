// A whole checkpoint, from bytes through the model to every view of it.
#include "images/checkpoint.h"

#include "images/coverage.h"
#include "inspect/diff.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/overview.h"
#include "inspect/ps.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto source = fuzz::files_of(fuzz::text_of(data, size));
    fuzz::allow_refusal([&] {
        images::Checkpoint checkpoint = images::load_checkpoint(source);
        for (const images::FileCoverage& file : images::cover(source).files)
            fuzz::must(file.sum() == file.size, "every byte is accounted for");
        inspect::Moment moment{checkpoint, source};
        inspect::make_overview(moment);
        inspect::list_processes(moment);
        inspect::list_fds(checkpoint);
        inspect::list_memory(moment);
        inspect::diff_processes(moment, moment);
        inspect::diff_fds(moment, moment);
        inspect::diff_memory(moment, moment);
    });
    return 0;
}
