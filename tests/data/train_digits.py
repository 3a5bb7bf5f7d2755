#!/usr/bin/python3
"""Train the small residual network of tests/data/digits and write it with its held-out data.

Needs Debian's python3-torch, python3-sklearn and python3-onnx. Takes about ten seconds on one core.
Seeded: the same versions on the same processor make the same files.
"""
import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

SEED = 1901
HELD_OUT = 360
WORDS = "zero one two three four five six seven eight nine".split()


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class DigitsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 48, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(48, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def load_split():
    """Pictures [n,1,8,8] in 0..1 and labels: training set, then held-out set."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED)
    return train_x, train_y, test_x, test_y


def shifted(images):
    """Each picture moved by at most one pixel, so that the network learns shapes, not places."""
    padded = F.pad(images, (1, 1, 1, 1))
    out = torch.empty_like(images)
    for i, (row, column) in enumerate(torch.randint(0, 3, (len(images), 2)).tolist()):
        out[i] = padded[i, :, row:row + 8, column:column + 8]
    return out


def train(net, images, labels, epochs, batch=64):
    steps = epochs * -(-len(images) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(images)).split(batch):
            loss = F.cross_entropy(net(shifted(images[index])), labels[index], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(index)
        print(f"epoch {epoch + 1}/{epochs}: loss {total / len(images):.4f}", flush=True)
    net.eval()


def export(net, path):
    # PRESERVE and no constant folding keep the batch norms, so that the importer has some to fold.
    torch.onnx.export(
        net, torch.zeros(1, 1, 8, 8), str(path), opset_version=13,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        input_names=["image"], output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "digits")
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)

    train_x, train_y, test_x, test_y = load_split()
    net = DigitsNet()
    train(net, torch.from_numpy(train_x), torch.from_numpy(train_y), args.epochs)
    with torch.no_grad():
        logits = net(torch.from_numpy(test_x)).numpy()
    correct = int((logits.argmax(1) == test_y).sum())
    accuracy = correct / HELD_OUT
    print(f"held-out accuracy {accuracy:.4f} ({correct} of {HELD_OUT})")
    if accuracy < 0.97:
        raise SystemExit("less than 97 %: nothing written")

    export(net, args.output / "digits.onnx")
    np.save(args.output / "digits_images.npy", np.ascontiguousarray(test_x, "<f4"))
    np.save(args.output / "digits_labels.npy", np.ascontiguousarray(test_y, "<i8"))
    np.save(args.output / "digits_logits.npy", np.ascontiguousarray(logits, "<f4"))
    (args.output / "labels.txt").write_text("".join(word + "\n" for word in WORDS))


if __name__ == "__main__":
    main()
