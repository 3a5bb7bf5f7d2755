// Whom to go on without after the failure of an epoch, and whether to go on at all.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "fleet/failure.h"

namespace onnx_split {

class Blame {
 public:
  // What became of the epoch; of one that has failed at its beginning nothing did.
  struct Record {
    std::chrono::steady_clock::duration lasted{};
    bool had_results = false;  // any since the failure before
    bool is_idle = false;      // nothing was waited for
  };
  struct Verdict {
    bool goes_on = true;
    std::optional<std::string> without;  // a device
  };

  // A connection that breaks between two that answer may have been an accident; not the second time in a row, so the
  // device at either end of both is left out, the one that is suspected rather than the one that said so. Where nobody
  // is to blame, or only once, it begins again with everybody: until five failures in a row came without a result in
  // between. Ends at kCancelled.
  Verdict judge(const Failure& failure, const Record& record);

  // An epoch that has gone well for so long shall be replaced: what happened before it may be long ago.
  void forget_if_steady(std::chrono::steady_clock::duration lasted);

 private:
  std::map<std::string, unsigned> strikes_;  // connections that broke without a reason, by device at either end
  unsigned failures_ = 0;                    // in a row, without a result and without anybody to blame
};

}  // namespace onnx_split
