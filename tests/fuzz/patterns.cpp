// Patterns as a person writes them, and what they find: the lines before the first NUL are a file of patterns, what follows
// is memory.
#include "inspect/memory_patterns.h"

#include "base/text.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view input = fuzz::text_of(data, size);
    size_t lines_end = std::min(input.find('\0'), input.size());
    std::string_view memory = input.substr(std::min(lines_end + 1, input.size()));
    fuzz::allow_refusal([&] {
        std::vector<inspect::Pattern> patterns;
        constexpr size_t k_most = 8;  // what is looked for here does not need many
        for (const std::string& line : base::split(input.substr(0, lines_end), '\n')) {
            if (!line.empty() && patterns.size() < k_most)
                patterns.push_back(inspect::parse_pattern_line(line));
        }
        inspect::PatternSet set(std::move(patterns));
        inspect::PatternSet::Scanner scanner(set);
        scanner.scan(base::as_bytes(memory), [&](uint32_t number, size_t begin, size_t end) {
            fuzz::must(number < set.patterns().size(), "a match is of one of the patterns");
            fuzz::must(begin <= end && end <= memory.size(), "a match lies in the memory");
            const inspect::Pattern& pattern = set.patterns()[number];
            if (pattern.kind == inspect::PatternKind::text && !pattern.wide && !pattern.ignore_case)
                fuzz::must(memory.substr(begin, end - begin) == pattern.source, "a text is found as it is");
        });
    });
    return 0;
}
