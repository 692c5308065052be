// Pagemaps, their pages and their parents: what is read lies inside the files, and runs are in order.
#include "images/pages.h"

#include "tests/fuzz/fuzz.h"

using namespace cprewind;

namespace {

void check(const images::PageMap& map) {
    uint64_t last = 0;
    for (const images::PageRun& run : map.runs()) {
        fuzz::must(run.bytes > 0 && run.address >= last && run.end() > run.address, "runs are in order");
        last = run.end();
        if (run.state != images::PageState::present) continue;
        std::byte page[16];
        fuzz::allow_refusal([&] {
            map.read_run(run, run.address, page);
            map.read_run(run, run.end() - sizeof(page), page);
        });
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto source = fuzz::files_of(fuzz::text_of(data, size));
    images::Findings findings;
    fuzz::allow_refusal([&] {
        check(images::PageMap::open_process(source, images::DumpPid{1}, findings));
        check(images::PageMap::open_shared(source, 1, findings));
    });
    return 0;
}
