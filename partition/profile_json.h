// Profiles as JSON files. Every field is checked on reading, and errors name the file and the field; whether a profile
// fits a model is check_profile's business.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "partition/profile.h"

namespace onnx_split {

// Of one thing that was measured: in profiles, and in a runner's answer (fleet/profiler.h).
Json timing_to_json(const Timing& time);
// Errors: negative times, quartiles on the wrong side of the median.
Expected<Timing> timing_from_json(const JsonReader& reader);

Json profile_to_json(const Profile& profile);
// Errors: a format of another version, numbers that no measurement gives (negative times, a bandwidth of 0, quartiles
// on the wrong side of the median).
Expected<Profile> profile_from_json(const Json& json);

Expected<void> write_profile(const Profile& profile, const std::filesystem::path& path);
Expected<Profile> read_profile(const std::filesystem::path& path);

}  // namespace onnx_split
