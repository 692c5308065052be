// Property: after any sequence of snap, rewind, rm, prune, export, import, rebuild and reopening, the repository holds
// exactly what a model that keeps plain copies holds, byte for byte, and verify finds nothing.
//
// CPREWIND_MODEL_RUNS=n makes n runs, each with a seed of its own, which a failure names.
#include <fcntl.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <map>
#include <random>

#include "engine/transfer.h"
#include "images/open_source.h"
#include "store/rebuild.h"
#include "store/retention.h"
#include "store/sizes.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;

namespace {

constexpr size_t k_page = 4096;

class Model {
 public:
    explicit Model(uint64_t seed) : random_(seed) {}

    void run(int operations) {
        for (int i = 0; i < operations; ++i) {
            unsigned dice = roll(100);
            if (dice < 45 || kept_.size() < 2) {
                snap();
            } else if (dice < 55) {
                rewind();
            } else if (dice < 70) {
                remove();
            } else if (dice < 78) {
                prune();
            } else if (dice < 86) {
                go_through_export();
            } else if (dice < 92) {
                repository_.reset();
                rebuild_catalog(scratch_.repo());
                open();
                // Heads are each container's newest after it; the states follow.
                for (auto& [container, state] : states_) take_over_head(container);
            } else {
                open();
            }
            compare(roll(4) == 0);
        }
        compare(true);
    }

 private:
    struct Kept {
        std::string container;
        std::string memory;
    };

    unsigned roll(unsigned sides) { return static_cast<unsigned>(random_() % sides); }

    void open() {
        repository_.reset();
        repository_ = scratch_.open(OpenMode::create);
    }

    // What a program may do to its memory between two snapshots.
    void change(std::string& memory) {
        for (unsigned i = 0; i < 1 + roll(6); ++i) {
            size_t pages = memory.size() / k_page;
            if (pages < 4) memory += pattern(k_page * 12, random_());
            size_t at = roll(static_cast<unsigned>(memory.size() / k_page)) * k_page;
            switch (roll(7)) {
                case 0:
                    memory.replace(at, k_page, noise(k_page, random_()));
                    break;
                case 1:
                    memory.replace(at + roll(4000), 8, noise(8, random_()));
                    break;
                case 2:
                    memory.replace(at, k_page, std::string(k_page, '\0'));
                    break;
                case 3:
                    memory.replace(at, k_page, memory.substr(roll(3) * k_page, k_page));
                    break;
                case 4:
                    memory += pattern(k_page * (1 + roll(80)) + roll(2) * 100, random_());
                    break;
                case 5:
                    memory.resize(memory.size() - std::min<size_t>(memory.size() / 2, roll(200'000)));
                    break;
                default:
                    for (size_t page = 0; page + k_page <= memory.size(); page += k_page)
                        memory[page + 17] = static_cast<char>(random_());
            }
        }
    }

    void snap() {
        std::string container = std::string("web") + static_cast<char>('a' + roll(3));
        std::string& memory = states_[container];
        change(memory);
        SnapshotInfo info = info_for(container, 1'700'000'000 + ++clock_);
        info.parent = repository_->head(info.container_id);
        auto writer = repository_->begin(info.parent);
        writer->add("images/pages-1.img", BytesFile(memory));
        writer->add("images/inventory.img", "so that it is taken for a checkpoint");
        writer->add("layer.data", BytesFile(memory.substr(0, memory.size() / 3)));
        SnapshotRecord record = writer->commit(info, some_rows());
        kept_[record.id] = {container, memory};
    }

    SnapshotRecord any() {
        auto list = repository_->list();
        return list[roll(static_cast<unsigned>(list.size()))];
    }

    void rewind() {
        SnapshotRecord record = any();
        repository_->set_head(record.info.container_id, record.id);
        states_[record.info.container_name] = kept_.at(record.id).memory;
    }

    void take_over_head(const std::string& container) {
        auto head = repository_->head(info_for(container).container_id);
        if (head && kept_.contains(*head)) states_[container] = kept_.at(*head).memory;
    }

    void remove() {
        SnapshotRecord record = any();
        repository_->remove(record.id);
        kept_.erase(record.id);
    }

    void prune() {
        PrunePolicy policy;
        if (roll(2) == 0) {
            policy.keep_last = 1 + roll(6);
        } else {
            policy.max_size = stored_sizes(*repository_).total() * (50 + roll(50)) / 100;
        }
        std::vector<SnapshotId> going;
        for (const Verdict& verdict : judge(repository_->list(), policy, stored_sizes(*repository_))) {
            if (verdict.stays) continue;
            going.push_back(verdict.record.id);
            kept_.erase(verdict.record.id);
        }
        repository_->remove(going);
    }

    // Out, away, and in again; or in beside what is there.
    void go_through_export() {
        SnapshotRecord record = any();
        auto path = scratch_.directory.path() / "export.tar.zst";
        {
            base::Fd fd = base::open_file(path, O_RDWR | O_CREAT | O_TRUNC);
            engine::export_snapshot(*repository_, record, fd.get(), path.string());
        }
        bool away = roll(2) == 0;
        Kept kept = kept_.at(record.id);
        if (away) {
            repository_->remove(record.id);
            kept_.erase(record.id);
        }
        auto source = images::open_source(path.string());
        engine::Imported imported = engine::import_snapshot(*repository_, *source.files, "");
        CHECK(imported.was_there == !away);
        kept_[imported.record.id] = kept;
    }

    void compare(bool all) {
        auto list = repository_->list();
        REQUIRE(list.size() == kept_.size());
        for (const SnapshotRecord& record : list) {
            REQUIRE(kept_.contains(record.id));
            const Kept& kept = kept_.at(record.id);
            REQUIRE(record.info.container_name == kept.container);
            if (!all && roll(8) != 0) continue;
            REQUIRE(read_back(*repository_, record, "images/pages-1.img") == kept.memory);
            REQUIRE(read_back(*repository_, record, "layer.data") ==
                    kept.memory.substr(0, kept.memory.size() / 3));
        }
        if (all) REQUIRE(faults_of(*repository_) == "");
    }

    std::mt19937_64 random_;
    Scratch scratch_;
    std::unique_ptr<Repository> repository_ = scratch_.open();
    std::map<std::string, std::string> states_;
    std::map<SnapshotId, Kept> kept_;
    int64_t clock_ = 0;
};

}  // namespace

TEST_CASE("a repository holds what a model with plain copies holds, whatever is done to both") {
    const char* given = std::getenv("CPREWIND_MODEL_RUNS");
    uint64_t runs = given != nullptr ? std::strtoull(given, nullptr, 10) : 3;
    for (uint64_t seed = 1; seed <= runs; ++seed) {
        INFO("seed " << seed);
        Model(seed).run(60);
    }
}
