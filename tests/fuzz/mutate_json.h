// Changes JSON documents where bytes can't be changed without breaking them: numbers, names, members, elements.
#pragma once

#include <string>

#include "base/json.h"
#include "base/random.h"

namespace onnx_split::fuzz {

// A few changes at random places.
void mutate_json(Json& document, Random& random);

// The text of a document, changed; empty where it can't be parsed, or at random: then bytes are to be changed.
std::string mutated_json(std::string_view text, Random& random);

}  // namespace onnx_split::fuzz
