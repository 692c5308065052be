// One file of JSON that somebody else wrote, asked for values by path. Whatever is absent or of another type is
// nothing: an empty text, a null. Nothing here copies a value: that recurses, as deep as the evidence likes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

class JsonDocument {
 public:
    // The largest seen is 12 KiB; a value of JSON takes up to 20 times its text in memory.
    static constexpr uint64_t k_limit = 2u << 20;

    // Absent: there() is false, and no finding. No JSON, cut off, unreadable or beyond the limit: a finding.
    JsonDocument(const ImageSource& files, std::string name, Findings& findings);

    bool there() const { return there_; }

    template <typename... Keys>
    const nlohmann::json& at(const Keys&... keys) const {
        const nlohmann::json* value = &root_;
        ((value = step(*value, keys)), ...);
        return *value;
    }
    template <typename... Keys>
    std::string text(const Keys&... keys) const {
        return text_of(at(keys...));
    }

    static std::string text_of(const nlohmann::json& value, const char* key) {
        return text_of(*step(value, key));
    }
    static std::string text_of(const nlohmann::json& value) {
        return value.is_string() ? value.get<std::string>() : std::string();
    }
    static const nlohmann::json* step(const nlohmann::json& value, const char* key);

 private:
    bool there_ = false;
    nlohmann::json root_;
};

}  // namespace cprewind::images
