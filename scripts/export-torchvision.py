#!/usr/bin/python3
"""Export calibrated torchvision networks to ONNX, with two inputs and torch's answers to them.

The weights are random but seeded. A network with plain random weights is a bad witness: its logits
explode, or hardly depend on its input. So each network is calibrated on a seeded batch, layer by
layer in forward order, and the properties that a comparison relies on are asserted.

For each NETWORK the folder DIR gets NETWORK.onnx (symbolic batch), NETWORK.input0.npy and
.input1.npy [1,3,224,224], NETWORK.output0.npy and .output1.npy [1,1000], and NETWORK.json, which
says how it was made.
An export that is there already, made in the same way by this same script, is kept.

Example: scripts/export-torchvision.py /tmp/models resnet18 mobilenet_v2 --opset 11
"""
import argparse
import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

NETWORKS = ("alexnet vgg16 resnet18 resnet50 mobilenet_v2 squeezenet1_1 resnext50_32x4d "
            "densenet121 googlenet mobilenet_v3_large shufflenet_v2_x1_0").split()
EXTRA = {"googlenet": {"aux_logits": False, "init_weights": False}}
CALIBRATION_PICTURES = 32
LOGITS_STD = 2.0


def pictures(count, generator):
    """[count,3,224,224]: smooth blobs, texture and noise, mixed differently in every picture.

    White noise alone won't do: averaged over a picture, every two samples of it look the same.
    """
    def layer(size):
        noise = torch.randn(count, 3, size, size, generator=generator)
        smooth = F.interpolate(noise, size=(224, 224), mode="bilinear", align_corners=False)
        return smooth * (0.2 + torch.rand(count, 1, 1, 1, generator=generator))

    mixed = layer(4) + layer(28) + layer(224)
    return mixed / mixed.std(dim=(1, 2, 3), keepdim=True)


def per_channel(values):
    """Mean and standard deviation of each channel of [n,c,h,w] or [n,c]."""
    columns = values.transpose(0, 1).flatten(1)
    return columns.mean(1), columns.std(1, unbiased=False)


def set_batch_norm(norm, inputs):
    mean, std = per_channel(inputs[0])
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(std ** 2)


def standardise(layer, inputs, output, one_scale):
    """Give each output channel zero mean and unit variance (one_scale: unit variance on average)."""
    mean, std = per_channel(output)
    if one_scale:
        std = std.square().mean().sqrt().expand_as(std)
    std = std.clamp_min(1e-3)
    layer.weight.div_(std.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.sub_(mean).div_(std)
    return layer(*inputs)


@torch.no_grad()
def calibrate(net, batch, generator):
    """Set what is in front of each activation, so that its input is centred and of unit size.

    A layer that feeds a batch norm keeps its weights, the batch norm takes its statistics; a layer
    with a bias of its own is standardised itself. Batch norms get a positive bias: with half of all
    ReLUs off, deep networks blow up rounding errors, to 6e-5 of the logits in a ResNeXt50.
    """
    weighted = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    last = weighted[-1]
    hooks = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(0.75 + 0.5 * torch.rand(module.weight.shape, generator=generator))
            module.bias.copy_(0.5 + 0.1 * torch.randn(module.bias.shape, generator=generator))
            hooks.append(module.register_forward_pre_hook(set_batch_norm))
        elif module in weighted and module.bias is not None:
            hooks.append(module.register_forward_hook(once(module is last)))
    logits = net(batch)
    for hook in hooks:
        hook.remove()
    # Only a ReLU and an average follow the last layer (squeezenet), so scaling it scales the logits.
    factor = LOGITS_STD / logits.std()
    last.weight.mul_(factor)
    last.bias.mul_(factor)


def once(one_scale):
    """standardise as a forward hook, which must not call itself when it runs the layer again."""
    running = False

    def hook(layer, inputs, output):
        nonlocal running
        if running:
            return None
        running = True
        output = standardise(layer, inputs, output, one_scale)
        running = False
        return output

    return hook


def build(name, seed):
    torch.manual_seed(seed)
    net = getattr(torchvision.models, name)(weights=None, **EXTRA.get(name, {})).eval()
    generator = torch.Generator().manual_seed(seed)
    calibrate(net, pictures(CALIBRATION_PICTURES, generator), generator)
    return net, pictures(2, generator)


@torch.no_grad()
def measure(net, inputs, outputs):
    """The properties that a comparison with a tolerance of 1e-4 relies on."""
    exact = copy.deepcopy(net).double()(inputs.double())
    largest = exact.abs().max()
    figures = {
        "logits_std": outputs.std().item(),
        "input_difference": ((exact[0] - exact[1]).abs().max() / largest).item(),
        "rounding_error": ((outputs - exact).abs().max() / largest).item(),
    }
    assert 0.5 <= figures["logits_std"] <= 5, figures
    assert figures["input_difference"] >= 0.1, figures
    assert figures["rounding_error"] <= 2e-5, figures
    return figures


def export(name, folder, opset, raw, static, seed):
    record = folder / f"{name}.json"
    how = {"network": name, "opset": opset, "raw": raw, "static": static, "seed": seed,
           "script": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
           "torch": torch.__version__, "torchvision": torchvision.__version__}
    if record.exists() and how.items() <= json.loads(record.read_text()).items():
        print(f"{name}: kept", flush=True)
        return
    record.unlink(missing_ok=True)
    net, inputs = build(name, seed)
    with torch.no_grad():
        outputs = torch.cat([net(x[None]) for x in inputs])
    figures = measure(net, inputs, outputs)
    for i in range(2):
        np.save(folder / f"{name}.input{i}.npy", inputs[i:i + 1].numpy())
        np.save(folder / f"{name}.output{i}.npy", outputs[i:i + 1].numpy())
    axes = None if static else {"input": {0: "batch"}, "output": {0: "batch"}}
    mode = torch.onnx.TrainingMode.PRESERVE if raw else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        net, inputs[:1], str(folder / f"{name}.onnx"), opset_version=opset, training=mode,
        do_constant_folding=not raw, input_names=["input"], output_names=["output"],
        dynamic_axes=axes)
    record.write_text(json.dumps({**how, **figures}, indent=1) + "\n")  # last: it says all is there
    print(f"{name}: " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="default: all of them")
    parser.add_argument("--opset", type=int, default=13)
    parser.add_argument("--raw", action="store_true", help="keep batch norms, don't fold constants")
    parser.add_argument("--static", action="store_true",
                        help="fix the batch at 1 (shufflenet below opset 11 can't be symbolic)")
    parser.add_argument("--seed", type=int, default=1901)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for name in args.networks:
        if name not in NETWORKS:
            parser.error(f"unknown network {name}; there are: {' '.join(NETWORKS)}")
    torch.set_num_threads(args.threads)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.networks or NETWORKS:
        export(name, args.folder, args.opset, args.raw, args.static, args.seed)


if __name__ == "__main__":
    main()
