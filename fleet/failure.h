// Why a deployment can't go on, and whom that says something about.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"

namespace onnx_split {

struct Failure {
  Error error;
  // The device that is dead, stalled, unreachable or can't do its share: it has to be left out. Nothing: something got
  // lost, and everybody may take part again.
  std::optional<std::string> lost;
  // A connection between these two broke although both are there: the one that says so, and the other.
  std::optional<std::string> reporter;
  std::optional<std::string> suspect;
  // Spare parts answer in place of what is missing, and nothing needs to be sent again: the deployment goes on until
  // there is another one.
  bool goes_on = false;
  // The device can't take its share as well as what it is doing: it has too little memory, or a port is taken.
  bool is_refusal = false;
  // What is lost doesn't answer: there is no telling it anything.
  bool is_silent = false;
  // The deployment never got as far as taking requests.
  bool at_beginning = false;
};

}  // namespace onnx_split
