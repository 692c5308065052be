// What prune keeps, and what snapshots take: pure functions, so no repository is needed.
#include "store/retention.h"

#include <catch2/catch_test_macros.hpp>

#include "store/sizes.h"

using namespace cprewind;
using namespace cprewind::store;

namespace {

constexpr int64_t k_hour = 3600;

SnapshotRecord record(const std::string& container, uint64_t number, int64_t second) {
    SnapshotRecord record;
    record.id = container + std::to_string(number);
    record.number = number;
    record.info.container_id = record.info.container_name = container;
    record.info.taken_at = base::WallTime{std::chrono::seconds(1'700'000'000 + second)};
    return record;
}

// Ten of one container, an hour between them, ten bytes each and ten that all share.
struct Ten {
    std::vector<SnapshotRecord> records;
    StoredSizes sizes;

    Ten() {
        StoredSizes::Piece common = sizes.add_piece(10);
        for (uint64_t i = 1; i <= 10; ++i) {
            records.push_back(record("web", i, static_cast<int64_t>(i) * k_hour));
            sizes.add_snapshot(records.back().id, {sizes.add_piece(10), common});
        }
    }
    std::string kept(const PrunePolicy& policy) const {
        std::string numbers;
        for (const Verdict& verdict : judge(records, policy, sizes)) {
            CHECK(!verdict.why.empty());
            if (verdict.stays) numbers += std::to_string(verdict.record.number) + " ";
        }
        return numbers;
    }
};

}  // namespace

TEST_CASE("what several snapshots use is shared until the last but one is gone") {
    Ten ten;
    CHECK(ten.sizes.total() == 110);
    CHECK(ten.sizes.of("web1").unique == 10);
    CHECK(ten.sizes.of("web1").shared == 10);
    for (int i = 2; i <= 10; ++i) ten.sizes.remove_snapshot("web" + std::to_string(i));
    CHECK(ten.sizes.of("web1").unique == 20);
    CHECK(ten.sizes.of("web1").shared == 0);
    CHECK(ten.sizes.total() == 20);
    CHECK(ten.sizes.of("web2").unique == 0);
}

TEST_CASE("a snapshot stays when any keep rule names it") {
    Ten ten;
    CHECK(ten.kept({.keep_last = 2}) == "9 10 ");
    CHECK(ten.kept({.keep_hourly = 3}) == "8 9 10 ");
    ten.records[0].info.tags = {"good"};
    ten.records[1].info.tags = {"bad"};
    CHECK(ten.kept({.keep_last = 1, .keep_tags = {"good"}}) == "1 10 ");
    CHECK(ten.kept({.keep_last = 1, .keep_tags = {"*"}}) == "1 2 10 ");
    CHECK(ten.kept({.keep_last = 100}) == "1 2 3 4 5 6 7 8 9 10 ");
}

TEST_CASE("of an hour or a day the newest stays, and periods without a snapshot do not count") {
    Ten ten;
    ten.records.push_back(record("web", 11, 10 * k_hour + 60));
    ten.records.push_back(record("web", 12, 100 * 24 * k_hour));
    CHECK(ten.kept({.keep_hourly = 2}) == "11 12 ");
    CHECK(ten.kept({.keep_daily = 2}) == "11 12 ");
}

TEST_CASE("rules count each container for itself") {
    Ten ten;
    ten.records.push_back(record("db", 1, 0));
    CHECK(ten.kept({.keep_last = 1}) == "10 1 ");
}

TEST_CASE("above the largest size the oldest go, but no tagged one and not the newest") {
    Ten ten;
    CHECK(ten.kept({.max_size = 1000}) == "1 2 3 4 5 6 7 8 9 10 ");
    CHECK(ten.kept({.max_size = 50}) == "7 8 9 10 ");
    CHECK(ten.kept({.max_size = 0}) == "10 ");
    ten.records[2].info.tags = {"good"};
    CHECK(ten.kept({.max_size = 0}) == "3 10 ");
    CHECK(ten.kept({.keep_last = 5, .max_size = 40}) == "8 9 10 ");
}

TEST_CASE("of safety snapshots the last three stay, and they count for no other rule") {
    Ten ten;
    for (size_t i = 5; i < 10; ++i) ten.records[i].info.kind = SnapshotKind::safety;
    CHECK(ten.kept({.keep_last = 1}) == "5 8 9 10 ");
    ten.records[5].info.tags = {"mine"};
    CHECK(ten.kept({.keep_last = 1}) == "5 6 8 9 10 ");
}

TEST_CASE("what goes gives back what nobody else uses by then") {
    Ten ten;
    auto verdicts = judge(ten.records, {.max_size = 0}, ten.sizes);
    CHECK(verdicts[0].freed_bytes == 10);
    ten.records.resize(1);
    ten.records.push_back(record("web", 11, 20 * k_hour));
    for (int i = 2; i <= 10; ++i) ten.sizes.remove_snapshot("web" + std::to_string(i));
    verdicts = judge(ten.records, {.keep_last = 1}, ten.sizes);
    CHECK(verdicts[0].freed_bytes == 20);
}
