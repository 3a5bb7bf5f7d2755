// The parts that a stage has beyond those that make up its answer (Spare, partition/plan.h).
//
// Parity: coded distributed computing for one linear layer, as in "Robustly Executing DNNs in IoT Systems Using Coded
// Distributed Computing" (Hadidi et al., 2019). With W_p and b_p the weights and bias of part p, the parity part has
// ΣW_p and Σb_p, the shorter ones padded with zeros behind. What it gives is Σ(W_p x + b_p), so that part q's channels
// are that sum less what the others give.
#pragma once

#include "partition/divide.h"

namespace onnx_split {

// Adds the spare parts to a stage that has none yet. kUnsupported says why the stage can't have them. All that a spare
// part computes counts as repeated.
Expected<void> add_spare_parts(DividedStage& stage, Spare spare, PartWeights weights);

}  // namespace onnx_split
